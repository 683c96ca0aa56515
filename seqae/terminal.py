"""Write to a terminal: errors in one line, text without control characters, tables, bars."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BEFORE_BAR = 2.0
WIDTH = 100  # of a table if standard output is no terminal

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def fail(message: str, status: int) -> NoReturn:
    """Print in one line what is wrong, and end the program.

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
        width: most characters to return; a longer text is cut, and ends in an ellipsis.
    """
    escaped = "".join(c.encode("unicode_escape").decode() if _is_control(c) else c for c in text)
    return escaped if width is None or len(escaped) <= width else escaped[: width - 1] + "…"


def table_console() -> Console:
    """Make a console for tables, as wide as the terminal or COLUMNS; else of a fixed width."""
    is_known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()  # rich reads both
    return Console(highlight=False, width=None if is_known else WIDTH)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while a block runs, if it takes long and standard error is a terminal.

    Args:
        title: of the work.
        total: of the amounts; None if it is unknown.

    Yields:
        A function to call with the amount done since the last call.
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
        if with_bar and not bar.live.is_started and time.monotonic() - started > SECONDS_BEFORE_BAR:
            bar.start()
        if bar.live.is_started:
            bar.update(task, completed=amount)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def working(title: str) -> Iterator[None]:
    """Show what is being done and since when, if it takes long and standard error is a terminal.

    Args:
        title: of work that cannot say how far it is.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    status = Progress(*columns, console=console, transient=True)
    status.add_task(title, total=None)
    timer = Timer(SECONDS_BEFORE_BAR, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may just have begun to show
        status.stop()


def _is_control(character: str) -> bool:
    """Tell whether a character acts on a terminal or a line instead of showing there."""
    # Control characters, surrogates, line and paragraph separators, and characters that change the
    # direction of text around them. Joiners and no-break spaces belong to the text.
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or character in DIRECTIONS
