"""The exit status of a training, and how to report it to the program that started the processes.

torchrun restarts all processes when one ends with a status other than 0, even if they were asked to
stop or the user made a mistake. So when a restart would be of no use, a process that `elastic.py`
or the SLURM script has started writes its status into a file.
"""

from __future__ import annotations

import os
from pathlib import Path

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. A job script requeues on it.
REQUEUE = 75
INTERRUPTED = 130  # as shells report Ctrl-C

STATUS_FILE = "SEQAE_STATUS_FILE"  # the environment variable that names the file


def report_status(status: int) -> bool:
    """Report the status of the training to the launcher.

    Returns:
        Whether a launcher waits for the report.
    """
    path = os.environ.get(STATUS_FILE)
    if path is not None:
        Path(path).write_text(str(status), encoding="utf-8")
    return path is not None


def reported_status(path: str | Path | None = None) -> int | None:
    """Return the status that a process of this host has reported to the launcher, if any.

    Args:
        path: the status file; by default the one that the environment names.
    """
    path = os.environ.get(STATUS_FILE) if path is None else path
    text = Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else ""
    return int(text) if text else None


def prevent_restart(status: int) -> None:
    """Keep torchrun from repeating a failure; with several hosts only torchrun can end them all."""
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        report_status(status)


def status_of_rank(rank: int, status: int) -> int:
    """Return the exit status of a process when the whole training ends together.

    A launcher takes any status but 0 for a failure, and ends or restarts the other processes. So
    the training's status is reported to the launcher, or only the first process ends with it.

    Args:
        rank: of the process.
        status: of the training.
    """
    if report_status(status):
        return 0
    return status if rank == 0 or is_started_by_torchrun() else 0


def is_started_by_torchrun() -> bool:
    """Say whether torchrun, or `elastic.py`, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ
