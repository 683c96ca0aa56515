"""Loader workers that live as long as the training does, whatever signals their group is sent."""

from __future__ import annotations

import os
import signal
import sys
import threading


def heed_parent_only(worker_id: int) -> None:
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
