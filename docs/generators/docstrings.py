"""Read docstrings as they are written: single backquotes are code, and a bar is a bar."""

from __future__ import annotations

import re


def as_restructured_text(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText reads them.

    Args:
        lines: of the docstring.
    """
    parts = re.split(r"(?<!`)`([^`]+)`(?!`)", "\n".join(lines))
    for i, part in enumerate(parts):
        parts[i] = f"``{' '.join(part.split())}``" if i % 2 else part.replace("|", r"\|")
    return "".join(parts).split("\n")
