"""map_in_order: apply a function to many items on all cores, with the results in order."""

from __future__ import annotations

import itertools
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from seqae.processes import exit_with_parent

T = TypeVar("T")
R = TypeVar("R")

# Items to do here before starting processes, which costs more than a few items are worth.
ITEMS_WITHOUT_POOL = 8

_function: list[Callable[[Any], Any]] = []  # in a worker process, the function to apply


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], processes: int
) -> Generator[tuple[T, R], None, None]:
    """Apply a function to items, in several processes if there are many items.

    Args:
        function: of one item; each process gets it once.
        items: read one by one, a few ahead of the results.
        processes: how many; 1 does everything here.

    Yields:
        Each item and its result, in order.

    Raises:
        OSError: if a process was killed.
        Exception: whatever `function` raises for an item, after the results before it.
    """
    items = iter(items)
    for item in items if processes < 2 else itertools.islice(items, ITEMS_WITHOUT_POOL):
        yield item, function(item)
    try:
        first = next(items)
    except StopIteration:
        return
    pending: deque[tuple[T, Future[R]]] = deque()
    pool = ProcessPoolExecutor(processes, initializer=_start, initargs=(function,))
    try:
        for item in itertools.chain([first], items):
            pending.append((item, pool.submit(_apply, item)))
            while len(pending) > 2 * processes or (pending and pending[0][1].done()):
                done, future = pending.popleft()
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a process that tokenises was ended from outside, perhaps because memory ran out. "
            "What was done is kept: run the same command again, with fewer `data.prepare_workers`."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(function: Callable[[Any], Any]) -> None:
    """Set up a worker process, which ignores Ctrl-C and does not outlive its parent."""
    _function.append(function)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core for each process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()


def _apply(item: Any) -> Any:
    return _function[0](item)
