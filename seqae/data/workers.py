"""map_in_order: a function over many items on all cores, with the results in order."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Items that are done here before processes are started, which costs more than a few are worth.
FIRST = 8

_function: list[Callable[[Any], Any]] = []  # of a worker process


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], processes: int
) -> Generator[tuple[T, R], None, None]:
    """Apply a function to items, on several processes where there are many items.

    Args:
        function: of one item; it is sent to each process once.
        items: read one by one, a few ahead of the results.
        processes: how many; 1 does everything here.

    Yields:
        Each item and its result, in order.

    Raises:
        OSError: if a process was killed.
        Exception: whatever `function` raises for an item, when the results before it were given.
    """
    items = iter(items)
    for item in items if processes < 2 else itertools.islice(items, FIRST):
        yield item, function(item)
    try:
        first = next(items)
    except StopIteration:
        return
    under_way: deque[tuple[T, Future[R]]] = deque()
    pool = ProcessPoolExecutor(processes, initializer=_start, initargs=(function,))
    try:
        for item in itertools.chain([first], items):
            under_way.append((item, pool.submit(_apply, item)))
            while len(under_way) > 2 * processes or (under_way and under_way[0][1].done()):
                done, future = under_way.popleft()
                yield done, future.result()
        for done, future in under_way:
            yield done, future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a process that tokenises was ended from outside, perhaps because memory ran out. "
            "What was done is kept: run the same command again, with fewer `data.prepare_workers`."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def num_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(function: Callable[[Any], Any]) -> None:
    """Set up a worker process: Ctrl-C is for the parent, and it does not outlive that one."""
    _function.append(function)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core for each process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _apply(item: Any) -> Any:
    return _function[0](item)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def ignore_group_signals(worker_id: int) -> None:
    """Begin a loader worker that the training alone may end; a DataLoader's `worker_init_fn`.

    SLURM, torchrun and a terminal send their signals to all processes of a group. Workers that
    died of them would take the training with them, before it has saved.

    Args:
        worker_id: its number, of no interest here.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_at_parents_wish, daemon=True).start()


def _end_at_parents_wish() -> None:
    """A DataLoader ends by SIGTERM what does not end by itself; that of others is dropped."""
    parent = os.getppid()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
