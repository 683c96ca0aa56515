"""torchrun for `seqae fit`: the same, but its exit status says why the training has ended.

    python -m seqae.training.distributed.elastic --nproc-per-node 2 -m seqae fit ... --resume auto

It takes torchrun's options. Processes that die are started again; those that were told to stop, by
a signal or the clock, and those that have refused their options, are not. It ends as `seqae fit`
does: with 0, 1, 2, 75 where everything is saved and may go on, or 130 after Ctrl-C.
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
from seqae.training.distributed.exit_status import INTERRUPTED, REQUEUE, STATUS_FILE, told_status

DEFAULTS = (
    # Those that torchrun hands on by itself, and what SLURM is asked to send before the time is up.
    "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    "--shutdown-timeout=300",  # seconds that a process has to finish its step and to save
)

PATIENCE = 60.0  # seconds that processes have to end when one has said how


def main(args: list[str]) -> int:
    """Start the processes, and start them again when they die.

    Args:
        args: as of torchrun.

    Returns:
        The exit status.
    """
    # Without this, a restart under gloo may meet the store of those that have died (torch 2.13).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    # All processes name the run's folder alike.
    os.environ.setdefault("SEQAE_RUN_TIME", time.strftime("%Y-%m-%dT%H-%M-%S"))
    with tempfile.TemporaryDirectory(prefix="seqae-") as folder:
        path = Path(folder) / "status"
        os.environ[STATUS_FILE] = str(path)
        threading.Thread(target=_leave_in_time, args=[path], daemon=True).start()
        try:
            options = get_args_parser().parse_args([*DEFAULTS, *args])
            run(options)  # type: ignore[no-untyped-call]
            status = 0
        except SignalException as stop:
            status = INTERRUPTED if stop.sigval == signal.SIGINT else REQUEUE
        except ChildFailedError as error:
            if (told := told_status(path)) is not None:
                return told
            _tell_failure(error)
            status = 1
        except RendezvousError as error:
            reason = str(error).partition(".")[0] or "the others have ended"
            way_out = "Give the same command again, on all hosts."
            fail(f"the hosts must meet where `HEAD` says, but they do not: {reason}. {way_out}", 1)
        told = told_status(path)
        return status if told is None else told


def _leave_in_time(path: Path) -> None:
    """Wait no five minutes for a host that was told to stop, whose torchrun has left by then."""
    while (told := told_status(path)) is None:
        time.sleep(1.0)
    time.sleep(PATIENCE)
    shutil.rmtree(path.parent, ignore_errors=True)
    os._exit(told)  # torch waits where no signal and no exception reaches it


def _tell_failure(error: ChildFailedError) -> None:
    """Name a process that was killed; one that failed has said why."""
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        fail(
            f"process {rank} was ended by {failure.signal_name()}, perhaps because memory ran "
            f"out, and there are no restarts left. Give the same command again to go on.",
            status=1,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
