"""Who has started the processes of a training: Lightning, torchrun or SLURM's srun; how many."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from seqae.lightning_internals import child_processes
from seqae.processes import exiting_when_orphaned

GIVING_WAY = 5.0  # seconds; longer than any launcher takes to end the others when one has failed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launcher:
    """A program that has started this process, and others of the training.

    Attributes:
        name: of the program.
        nodes: hosts on which it did.
        processes: how many on each.
    """

    name: str
    nodes: int
    processes: int

    @property
    def world_size(self) -> int:
        """All processes of the training."""
        return self.nodes * self.processes


def find_launcher() -> Launcher | None:
    """What started this process; None where Lightning starts the others.

    Raises:
        ValueError: if SLURM has not been told how many processes each host gets.
    """
    if TorchElasticEnvironment.detect():
        nodes, processes = (int(os.environ[f"{of}_WORLD_SIZE"]) for of in ("GROUP", "LOCAL"))
        return Launcher("torchrun", nodes, processes)
    if SLURMEnvironment.detect():
        tasks, nodes = (int(os.environ.get(f"SLURM_{of}", 1)) for of in ("NTASKS", "NNODES"))
        if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ or tasks % nodes:
            raise ValueError(
                f"`--ntasks-per-node` must be given to SLURM, the same on each node, but there "
                f"are {tasks} tasks on {nodes} nodes instead. Give it to sbatch, in place of "
                f"`--ntasks`."
            )
        return Launcher("SLURM", nodes, tasks // nodes)
    return None


def follow_launcher(trainer: dict[str, Any], launcher: Launcher) -> dict[str, Any]:
    """The trainer's options for as many processes as there are.

    Args:
        trainer: its options.
        launcher: what started them.

    Raises:
        ValueError: if the options ask for another number: either could be meant.
    """
    for key, given, found in (
        ("devices", _number_of(trainer["devices"]), launcher.processes),
        ("num_nodes", None if trainer["num_nodes"] == 1 else trainer["num_nodes"], launcher.nodes),
    ):
        if given not in (None, found):
            what = "processes on each host" if key == "devices" else "hosts"
            raise ValueError(
                f"`trainer.{key}` must be {found}, the number of {what} that {launcher.name} has "
                f"started, but it is {given} instead. Leave it to {launcher.name}: "
                f"`--trainer.{key} {'auto' if key == 'devices' else 1}`."
            )
    if launcher.world_size > 1 and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        hosts = f"each of {launcher.nodes} hosts" if launcher.nodes > 1 else "this host"
        log.info(f"processes: {launcher.processes} on {hosts}, started by {launcher.name}")
    followed = trainer | {"devices": launcher.processes, "num_nodes": launcher.nodes}
    if launcher.name == "SLURM":
        # Lightning's own requeue saves within the signal, where anything may be under way.
        plugins = trainer["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        followed["plugins"] = [*plugins, SLURMEnvironment(auto_requeue=False)]
    return followed


def wait_for_rank_zero() -> None:
    """Let process 0 tell of an error first.

    Where it has the same one, this process is ended before it says it again.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        time.sleep(GIVING_WAY)


@contextmanager
def ending_with_rank_zero() -> Iterator[None]:
    """End this process when the one in which Lightning started it is killed.

    Without this, ranks that wait for a dead peer hang until the collective times out after 30
    minutes, or forever.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if not local_rank or find_launcher() is not None:
        yield
        return
    message = "seqae: error: process 0 was killed from outside, so all processes end"
    with exiting_when_orphaned(message if local_rank == 1 else None):
        yield


def end_children(trainer: Trainer) -> None:
    """End the processes that Lightning has started from this one."""
    for child in child_processes(trainer):
        child.kill()


def _number_of(devices: Any) -> int | None:
    """How many devices an option names; None for all that there are."""
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        return None
    return len(devices.split(",")) if "," in str(devices) else int(devices)
