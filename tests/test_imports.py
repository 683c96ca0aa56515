"""What is imported when: the light things stay light."""

from __future__ import annotations

import ast
import json
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small import COMMAND

import seqae

PUBLIC = tuple(seqae._HOME)
HEAVY = ("torch", "lightning", "wandb", "datasets", "jsonargparse", "sklearn", "numpy")


def modules_after(code: str) -> set[str]:
    """The top-level modules of a fresh process that has run this."""
    tell = "import json, sys; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    command = [sys.executable, "-c", f"{code}\n{tell}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_seqae_imports_nothing_heavy() -> None:
    assert not modules_after("import seqae").intersection(HEAVY)


def test_help_imports_nothing_heavy() -> None:
    code = "from seqae.cli import main\nassert main(['--help']) == 0"
    assert not modules_after(code).intersection(HEAVY)


def test_recipes_are_listed_without_anything_heavy() -> None:
    code = "from seqae.cli import main\nassert main(['recipes']) == 0"
    assert not modules_after(code).intersection(HEAVY)


def test_a_model_is_used_without_lightning() -> None:
    after = modules_after("import seqae\nseqae.load\nimport seqae.tasks.encode_decode")
    assert "torch" in after
    assert not after & {"lightning", "wandb", "datasets"}


@pytest.mark.slow  # by default a whole training shows it, in test_wandb.py
def test_training_does_not_import_wandb() -> None:
    code = "import runpy, seqae.training.command.lightning_cli as c\nc.TrainingCLI"
    assert not modules_after(code) & {"wandb", "datasets"}


def test_public_names_resolve() -> None:
    assert seqae.__version__
    for name in PUBLIC:
        assert name in dir(seqae)
        assert getattr(seqae, name).__name__ == name


def test_public_names_are_known_to_type_checkers() -> None:
    """`py.typed` promises types; a name that is imported `as` itself is exported."""
    source = ast.parse(Path(seqae.__file__).read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: node.module for node in imported for alias in node.names}
    assert {name: home for name, home in homes.items() if name in PUBLIC} == seqae._HOME
    assert (Path(seqae.__file__).parent / "py.typed").exists()


def test_help_is_one_page_that_names_them_all() -> None:
    page = pydoc.plain(pydoc.render_doc(seqae))
    assert len(page.splitlines()) < 110
    assert all(re.search(rf"^ +{name} ", page, re.MULTILINE) for name in PUBLIC)


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seqae.nothing  # noqa: B018


def test_the_command_is_installed() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, timeout=100)
    assert done.stdout == f"seqae {seqae.__version__}\n"
