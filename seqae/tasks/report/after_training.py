"""The report that `fit` makes by itself at its end."""

from __future__ import annotations

import sys
from pathlib import Path

from seqae.tasks.report.model_report import Choices
from seqae.tasks.report.report_command import REPORT, collected, default_output, write_report
from seqae.terminal import visible


def report_of(run: Path) -> Path | None:
    """Write report.html into a run's folder, and say where; a failure never fails the training.

    Args:
        run: whose bundle is complete.

    Returns:
        The file, or None: then one line on standard error says why.
    """
    target = run / REPORT
    try:
        target = default_output(str(run))
        write_report(collected([str(run)], Choices()), str(target))
    except Exception as error:  # a training that has ended must not fail by its report
        reason = visible(" ".join(str(error).split()), 300) or type(error).__name__
        print(
            f"seqae: no {REPORT} was made ({reason}); the training is complete. To see more: "
            f"seqae report {run} --debug",
            file=sys.stderr,
        )
        return None
    print(f"report: {target}")
    return target
