"""Processes of this machine: how many cores they may use, and how a child ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

PARENT_POLL_SECONDS = 1.0


def available_cores() -> int:
    """Count the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def exit_with_parent() -> None:
    """End this child of multiprocessing when its parent ends, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def exiting_when_orphaned(message: str | None) -> Iterator[None]:
    """While the block runs, end this process with status 1 when its parent is killed.

    It serves processes that were started as programs, which multiprocessing does not know.

    Args:
        message: to print on standard error first; None prints nothing.
    """
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(PARENT_POLL_SECONDS):
            if os.getppid() != parent:
                if message is not None:
                    print(message, file=sys.stderr, flush=True)
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def ignore_group_signals(worker_id: int) -> None:
    """Let only the training end a loader worker; the `worker_init_fn` of a DataLoader.

    SLURM, torchrun and a terminal send their signals to every process of a group. If a worker died
    of one, the training would end before it has saved.

    Args:
        worker_id: number of the worker; not used.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_obey_sigterm_of_parent, daemon=True).start()


def _obey_sigterm_of_parent() -> None:
    """Exit on a SIGTERM from the parent, which a DataLoader sends; ignore those from others."""
    parent = os.getppid()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
