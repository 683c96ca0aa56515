"""Write a generated page only if it changed, so that Sphinx reads no page twice for nothing."""

from __future__ import annotations

from pathlib import Path


def write_if_changed(path: Path, text: str) -> None:
    """Write a text file, unless it already says so.

    Args:
        path: of the file; its folder is made.
        text: what it holds.
    """
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
