"""How a training ends, and telling it to the program that has started its processes.

torchrun starts all processes again when one ends with another status than 0, also after they were
told to stop, or when the user has made a mistake. So a process that `elastic.py` has
started writes its status into a file, where starting again is of no use.
"""

from __future__ import annotations

import os
from pathlib import Path

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again. A job script requeues on it.
REQUEUE = 75
INTERRUPTED = 130  # what shells give for Ctrl-C

STATUS_FILE = "SEQAE_STATUS_FILE"  # the variable that names it


def tell_launcher(status: int) -> bool:
    """Say that this is how the training ends.

    Returns:
        Whether there is a launcher to tell it to.
    """
    path = os.environ.get(STATUS_FILE)
    if path is not None:
        Path(path).write_text(str(status), encoding="utf-8")
    return path is not None


def prevent_restart(status: int) -> None:
    """Let torchrun not start again what would fail again; on several hosts only it can end all."""
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        tell_launcher(status)


def status_of_process(rank: int, status: int) -> int:
    """With what a process ends when all of the training are to end together.

    Its launcher would take another status than 0 for a failure and end the others, or start all
    again; so the first process alone has it, or the launcher's file.

    Args:
        rank: of the process.
        status: of the training.
    """
    if tell_launcher(status):
        return 0
    return status if rank == 0 or is_started_by_torchrun() else 0


def is_started_by_torchrun() -> bool:
    """Whether torchrun has started this process, itself or as `elastic.py`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def told_status(path: str | Path | None = None) -> int | None:
    """What a process of this host has told its launcher, if one has.

    Args:
        path: of the file; by default the launcher's.
    """
    path = os.environ.get(STATUS_FILE) if path is None else path
    text = Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else ""
    return int(text) if text else None
