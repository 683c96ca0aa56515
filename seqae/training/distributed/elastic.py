"""torchrun for `seqae fit`, with an exit status that says why the training ended.

    python -m seqae.training.distributed.elastic --nproc-per-node 2 -m seqae fit ... --resume auto

It takes torchrun's options. It restarts processes that die, but not those that were asked to stop,
by a signal or the clock, or that have refused their options. Its exit status is that of
`seqae fit`: 0, 1, 2, 75 if everything is saved and a resume is possible, or 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.run import get_args_parser, run

from seqae.terminal import fail
from seqae.training.distributed.exit_status import (
    INTERRUPTED,
    REQUEUE,
    STATUS_FILE,
    reported_status,
)

DEFAULTS = (
    # torchrun's own, and USR1, which SLURM is asked to send before the time is up.
    "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    "--shutdown-timeout=300",  # seconds for a process to finish its step and save
)

STATUS_POLL_SECONDS = 1.0
EXIT_TIMEOUT_SECONDS = 60.0  # for the processes to end, once one of them has reported a status


def main(args: list[str]) -> int:
    """Start the processes, and restart them when they die.

    Args:
        args: torchrun's arguments.

    Returns:
        The exit status.
    """
    # Otherwise a restart under gloo may meet the store of the processes that died (torch 2.13).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    # All processes name the run's folder by this time.
    os.environ.setdefault("SEQAE_RUN_TIME", time.strftime("%Y-%m-%dT%H-%M-%S"))
    with tempfile.TemporaryDirectory(prefix="seqae-") as folder:
        status_file = Path(folder) / "status"
        os.environ[STATUS_FILE] = str(status_file)
        threading.Thread(target=_exit_after_report, args=[status_file], daemon=True).start()
        try:
            options = get_args_parser().parse_args([*DEFAULTS, *args])
            run(options)  # type: ignore[no-untyped-call]
            status = 0
        except SignalException as stop:
            status = INTERRUPTED if stop.sigval == signal.SIGINT else REQUEUE
        except ChildFailedError as error:
            if (reported := reported_status(status_file)) is not None:
                return reported
            _fail_if_killed(error)
            status = 1
        except RendezvousError as error:
            reason = str(error).partition(".")[0] or "the others have ended"
            way_out = "Give the same command again, on all hosts."
            fail(f"the hosts must meet where `HEAD` says, but they do not: {reason}. {way_out}", 1)
        reported = reported_status(status_file)
        return status if reported is None else reported


def _exit_after_report(status_file: Path) -> None:
    """End this process soon after a status was reported, even if torchrun still waits.

    torchrun waits five minutes for a host that was asked to stop and whose torchrun has left.
    """
    while (status := reported_status(status_file)) is None:
        time.sleep(STATUS_POLL_SECONDS)
    time.sleep(EXIT_TIMEOUT_SECONDS)
    shutil.rmtree(status_file.parent, ignore_errors=True)
    os._exit(status)  # neither a signal nor an exception reaches torch where it waits


def _fail_if_killed(error: ChildFailedError) -> None:
    """Name a process that was killed; one that failed has printed its own error."""
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        fail(
            f"process {rank} was ended by {failure.signal_name()}, perhaps because memory ran "
            f"out, and there are no restarts left. Give the same command again to continue.",
            status=1,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
