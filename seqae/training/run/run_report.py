"""The report at the end of a training, which a room above this one makes."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

NEVER = "SEQAE_REPORT"  # set to 0, no training makes one


def report_at_end(run_dir: Path) -> Path | None:
    """Write report.html into the folder of a run; it never fails the training.

    It is asked for by name, because `seqae.tasks` builds on this package.

    Args:
        run_dir: whose bundle is complete.

    Returns:
        The file; None if none was made.
    """
    if os.environ.get(NEVER) == "0":
        return None
    made: Path | None = import_module("seqae.tasks.report.after_training").report_of(run_dir)
    return made
