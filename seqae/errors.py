"""How the program says that something is wrong: in one line, with an exit status."""

from __future__ import annotations

import sys
from typing import NoReturn


def fail(message: str, status: int) -> NoReturn:
    """Say in one line what is wrong, and end.

    Args:
        message: its lines are joined.
        status: 1 for a command that failed, 2 for wrong usage.
    """
    print(f"seqae: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)
