"""Read docstrings as they are written: single backquotes are code, and a bar is a bar."""

from __future__ import annotations

import re
from collections.abc import Iterator

SECTION = re.compile(r"[A-Z][a-z]+:")


def as_restructured_text(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText reads them.

    Args:
        lines: of the docstring.
    """
    parts = re.split(r"(?<!`)`([^`]+)`(?!`)", "\n".join(lines))
    for i, part in enumerate(parts):
        parts[i] = f"``{' '.join(part.split())}``" if i % 2 else part.replace("|", r"\|")
    return list(with_blocks_of_code("".join(parts).split("\n")))


def with_blocks_of_code(lines: list[str]) -> Iterator[str]:
    """Yield the lines, with what marks indented paragraphs below plain ones as code.

    Args:
        lines: of the docstring; those below a title such as `Args:` stay.
    """
    last, after_blank = "", False
    for line in lines:
        is_indented = line.startswith("    ")
        is_new = after_blank and is_indented and last != "" and not last.startswith("    ")
        if is_new and not SECTION.fullmatch(last) and ">>>" not in line:
            yield from ("::", "")
        yield line
        after_blank = not line.strip()
        last = last if after_blank else line
