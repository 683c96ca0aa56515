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

    For a process that was started as a program of its own, which multiprocessing does not know.

    Args:
        message: printed on standard error before; None prints nothing.
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
    """Leave it to the training to end a loader worker; a DataLoader's `worker_init_fn`.

    SLURM, torchrun and a terminal send their signals to every process of a group. A worker that
    died of one would end the training before it has saved.

    Args:
        worker_id: its number, not used.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_heed_sigterm_of_parent, daemon=True).start()


def _heed_sigterm_of_parent() -> None:
    """Exit on a SIGTERM of the parent, which a DataLoader sends; drop that of anyone else."""
    parent = os.getppid()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
