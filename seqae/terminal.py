"""What the program says on a terminal: errors in one line, text without control characters."""

from __future__ import annotations

import sys
import unicodedata
from typing import NoReturn

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def fail(message: str, status: int) -> NoReturn:
    """Say in one line what is wrong, and end.

    Args:
        message: its lines are joined.
        status: 1 for a command that failed, 2 for wrong usage.
    """
    print(f"seqae: error: {visible(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(status)


def visible(text: str, width: int | None = None) -> str:
    """Escape line ends and control characters, which could take over a terminal.

    Args:
        text: any text.
        width: characters at most; a longer text is cut, and ends in an ellipsis.
    """
    shown = "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)
    return shown if width is None or len(shown) <= width else shown[: width - 1] + "…"


def _acts(character: str) -> bool:
    """Whether a character does something to a terminal or a line, in place of standing there."""
    # Control characters, surrogates, line and paragraph separators; and what turns the direction
    # of the text around it. Joiners and no-break spaces belong to the text.
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or character in DIRECTIONS
