"""Report in one line that a process of the training died, instead of its peers' tracebacks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import torch.distributed
from lightning.pytorch import Trainer

from seqae.training.checkpoints.callback import LAST
from seqae.training.distributed.launchers import end_children
from seqae.training.lightning_internals import child_processes

# torch's errors contain this path when a peer has left a gloo exchange; NCCL has its own class.
GLOO_PATH = "/gloo/"

PEER_EXIT_SECONDS = 5.0  # for a process that has left an exchange to end
PEER_POLL_SECONDS = 0.05


@contextmanager
def report_dead_process(trainer: Trainer) -> Iterator[None]:
    """Say which process has died if that caused an error, and end all others.

    Args:
        trainer: of this process.

    Raises:
        OSError: with a line that names the dead process.
        SystemExit: if the process that ended has printed its own error.
    """
    try:
        yield
    except Exception as error:
        cause = _cause_of_death(error, trainer)
        end_children(trainer)
        if cause is None:
            raise
        raise OSError(f"{cause}. {_way_out(Path(trainer.default_root_dir))}") from error
    except BaseException as error:
        # After a SystemExit, such as Preempted, the other processes end on their own.
        if not isinstance(error, SystemExit):
            end_children(trainer)
        raise


def out_of_memory(device: torch.device) -> ValueError:
    """Make the error for a batch that does not fit the memory of a device."""
    return ValueError(
        f"`data.batch_tokens` must be lower: a batch does not fit the memory of {device}. Halve it "
        f"and double `trainer.accumulate_grad_batches`; the last checkpoint is intact."
    )


def _cause_of_death(error: Exception, trainer: Trainer) -> str | None:
    """Say which process has died, if one has; None if the error has another cause."""
    if _is_from_loader_worker(error):
        return (
            f"a loader worker of process {trainer.global_rank} was ended from outside, perhaps "
            f"because memory ran out; fewer `data.num_workers` need less"
        )
    if not isinstance(error, torch.distributed.DistError) and GLOO_PATH not in str(error):
        return None
    children = child_processes(trainer)
    # Another launcher has the children: it names the dead one and ends the rest while this waits.
    deadline = time.monotonic() + PEER_EXIT_SECONDS
    while time.monotonic() < deadline and not any(child.poll() for child in children):
        time.sleep(PEER_POLL_SECONDS)
    for rank, child in enumerate(children, start=1):
        if child.returncode is not None and child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            return f"process {rank} was ended by {name}, perhaps because memory ran out"
        if child.returncode:
            raise SystemExit(1)  # it has printed its own error
    return "another process of this training has ended, or does not answer"


def _is_from_loader_worker(error: Exception) -> bool:
    """Say whether a loader worker has died, also between offering and delivering a batch."""
    if str(error).startswith("DataLoader worker"):
        return True
    modules = (frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__))
    is_in_delivery = "torch.multiprocessing.reductions" in modules
    return isinstance(error, (ConnectionError, EOFError)) and is_in_delivery


def _way_out(run_dir: Path) -> str:
    if os.path.lexists(run_dir / "checkpoints" / LAST):
        return f"Go on with: seqae fit --resume {run_dir}"
    return "Give the same command again."
