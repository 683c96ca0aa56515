"""docs/api.md is what scripts/dev/api_page writes, and has every public name."""

from __future__ import annotations

import re
import runpy
from importlib import import_module

from small import ROOT

import seqae

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PACKAGES = ("generation", "objectives", "model.latents", "data.tokenizers")


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "dev" / "api_page"))
    assert script["page"]() == PAGE, "run: scripts/dev/api_page > docs/api.md"


def test_every_public_name_is_there() -> None:
    for name in seqae._HOME:
        assert re.search(rf"^### `seqae\.{name}[(`]", PAGE, re.MULTILINE), name
    for package in PACKAGES:
        module = import_module(f"seqae.{package}")
        for name in module.__all__:
            if callable(getattr(module, name)):
                assert re.search(rf"\b{name}[(`]", PAGE), f"{package}.{name}"
