"""What the program says on a terminal: errors in one line, text without control characters."""

from __future__ import annotations

import sys
from typing import NoReturn


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
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if width is None or len(shown) <= width else shown[: width - 1] + "…"
