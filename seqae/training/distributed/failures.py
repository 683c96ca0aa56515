"""One line for what a training dies of from outside: a process of it that was killed."""

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

from seqae.lightning_internals import child_processes
from seqae.training.checkpoints.callback import LAST
from seqae.training.distributed.launchers import end_children

# What torch's errors name when a process of an exchange has gone; NCCL's have a class.
OF_A_PEER = "/gloo/"

PATIENCE = 5.0  # seconds until a process that has left an exchange has ended


@contextmanager
def report_dead_process(trainer: Trainer) -> Iterator[None]:
    """Say which process has died where that is what an error comes from, and end all others.

    Args:
        trainer: whose processes they are.

    Raises:
        OSError: with that line.
        SystemExit: if the process that has ended has said why.
    """
    try:
        yield
    except Exception as error:
        died = _what_died(error, trainer)
        end_children(trainer)
        if died is None:
            raise
        raise OSError(f"{died}. {_way_out(Path(trainer.default_root_dir))}") from error
    except BaseException as error:
        # Others that were told to stop end by themselves.
        if not isinstance(error, SystemExit):
            end_children(trainer)
        raise


def _what_died(error: Exception, trainer: Trainer) -> str | None:
    told = str(error)
    if _is_of_a_loader_worker(error):
        return (
            f"a loader worker of process {trainer.global_rank} was ended from outside, perhaps "
            f"because memory ran out; fewer `data.num_workers` need less"
        )
    if not isinstance(error, torch.distributed.DistError) and OF_A_PEER not in told:
        return None
    children = child_processes(trainer)
    # Without children this waits for the program that has, which names the dead and ends the rest.
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not any(child.poll() for child in children):
        time.sleep(0.05)
    for rank, child in enumerate(children, start=1):
        if child.returncode is not None and child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            return f"process {rank} was ended by {name}, perhaps because memory ran out"
        if child.returncode:
            raise SystemExit(1)  # it has said why
    return "another process of this training has ended, or does not answer"


def _is_of_a_loader_worker(error: Exception) -> bool:
    if str(error).startswith("DataLoader worker"):
        return True
    # It may die between the offer of a batch and its delivery, too.
    modules = (frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__))
    is_of_delivery = "torch.multiprocessing.reductions" in modules
    return isinstance(error, (ConnectionError, EOFError)) and is_of_delivery


def _way_out(run_dir: Path) -> str:
    if os.path.lexists(run_dir / "checkpoints" / LAST):
        return f"Go on with: seqae fit --resume {run_dir}"
    return "Give the same command again."
