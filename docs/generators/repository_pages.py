"""The repository's own pages as pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

from generators.write import write_if_changed

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING", "CHANGELOG")


def write_repository_pages(folder: Path) -> None:
    """Copy CONTRIBUTING.md and CHANGELOG.md, with their links as they are from here.

    Args:
        folder: of what is generated.
    """
    for name in PAGES:
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        text = re.sub(r"\]\((?:docs/)([^)]+)\)", r"](../\1)", text)
        text = re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md", lambda m: f"]({m[1].lower()}.md", text)
        write_if_changed(folder / f"{name.lower()}.md", text)


def link_to_repository_pages(page: str, text: str) -> str:
    """Point links to the repository's own pages to their copies.

    Args:
        page: the name of the page that has the links, such as `tutorials/search`.
        text: of the page.
    """
    up = "../" * page.count("/")
    for name in PAGES:
        text = text.replace(f"]({up}../{name}.md", f"]({up}generated/{name.lower()}.md")
    return text
