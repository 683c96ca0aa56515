"""What the program says on a terminal: errors in one line, text without control characters."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PATIENCE = 2.0  # seconds without a bar: what takes less needs none

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


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while a block runs, if it takes long and that is a terminal.

    Args:
        title: what is going on.
        total: of the amounts; None if it is not known.

    Yields:
        A function that takes the amount done since the last call.
    """
    columns = [TextColumn("{task.description}"), BarColumn()]
    times = [TimeElapsedColumn(), *([TimeRemainingColumn()] if total else [])]
    counted = [] if total else [MofNCompleteColumn()]
    console = Console(stderr=True)
    with_bar = console.is_terminal
    bar = Progress(*columns, *counted, *times, console=console, transient=True)
    task, started, amount = bar.add_task(title, total=total), time.monotonic(), 0

    def advance(done: int) -> None:
        nonlocal amount
        amount += done
        if with_bar and not bar.live.is_started and time.monotonic() - started > PATIENCE:
            bar.start()
        if bar.live.is_started:
            bar.update(task, completed=amount)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def _acts(character: str) -> bool:
    """Whether a character does something to a terminal or a line, in place of standing there."""
    # Control characters, surrogates, line and paragraph separators; and what turns the direction
    # of the text around it. Joiners and no-break spaces belong to the text.
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or character in DIRECTIONS
