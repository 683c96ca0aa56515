"""Launchers: find out what started the processes, Lightning, torchrun or srun, and follow it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.utilities import rank_zero_only

from seqae.processes import available_cores, exiting_when_orphaned
from seqae.training.lightning_internals import child_processes

# Longer than any launcher takes to end the other processes when one has failed.
RANK_ZERO_HEAD_START_SECONDS = 5.0

CPU_PROCESSES = 2  # for a strategy of several processes on CPUs, if nothing says how many

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launcher:
    """A program that has started this process and the others of the training.

    Lightning's ClusterEnvironment knows the world size too, but not how many hosts there are.

    Attributes:
        name: of the program.
        num_nodes: hosts of the training.
        processes_per_node: processes on each host.
    """

    name: str
    num_nodes: int
    processes_per_node: int

    @property
    def world_size(self) -> int:
        """All processes of the training."""
        return self.num_nodes * self.processes_per_node


def find_launcher() -> Launcher | None:
    """Say what started this process; None if Lightning starts the others.

    Raises:
        ValueError: if SLURM was not given the number of processes on each host.
    """
    if TorchElasticEnvironment.detect():
        nodes, processes = (int(os.environ[f"{of}_WORLD_SIZE"]) for of in ("GROUP", "LOCAL"))
        return Launcher("torchrun", nodes, processes)
    if SLURMEnvironment.detect():
        tasks, nodes = (int(os.environ.get(f"SLURM_{of}", 1)) for of in ("NTASKS", "NNODES"))
        if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ or tasks % nodes:
            raise ValueError(
                f"`--ntasks-per-node` must be given to SLURM, the same on each node, but there "
                f"are {tasks} tasks on {nodes} nodes instead. Give it to sbatch instead of "
                f"`--ntasks`."
            )
        return Launcher("SLURM", nodes, tasks // nodes)
    return None


def check_processes(accelerator: Any, devices: Any) -> None:
    """Refuse more processes on CPUs than cores, before Lightning starts them.

    Args:
        accelerator: `trainer.accelerator`.
        devices: `trainer.devices`.

    Raises:
        ValueError: if there are too many; two can be tried out on any machine.
    """
    is_started = "LOCAL_RANK" in os.environ or find_launcher() is not None
    if not _is_on_cpu(accelerator) or is_started or isinstance(devices, list):
        return
    number, limit = _number_of(devices) or 1, max(available_cores(), 2)
    if number > limit:
        raise ValueError(
            f"`trainer.devices` must be at most {limit} on the CPUs of this machine, one process "
            f"for each core, but it is {number:,} instead. Lower it, or leave it out: one process "
            f"uses all cores."
        )


def set_processes(trainer: dict[str, Any]) -> dict[str, Any]:
    """Set the trainer's options to as many processes as there will be.

    The launcher says how many there are. Without one, `devices: auto` means all GPUs, or on CPUs
    one process, or CPU_PROCESSES under a strategy of several, of which Lightning would start one.

    Args:
        trainer: its options, in which the strategy may be a name or an object.

    Raises:
        ValueError: if the options contradict the launcher.
    """
    if (launcher := find_launcher()) is not None:
        return follow_launcher(trainer, launcher)
    strategy, devices = trainer["strategy"], trainer["devices"]
    is_of_several = isinstance(strategy, ParallelStrategy) or str(strategy).startswith("ddp")
    if devices != "auto" or not is_of_several or not _is_on_cpu(trainer["accelerator"]):
        return trainer
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        log.info(f"processes: {CPU_PROCESSES} on CPUs; `--trainer.devices N` starts N")
    return trainer | {"devices": CPU_PROCESSES}


def follow_launcher(trainer: dict[str, Any], launcher: Launcher) -> dict[str, Any]:
    """Set the trainer's options to the number of processes that a launcher has started.

    Args:
        trainer: its options.
        launcher: what started the processes.

    Raises:
        ValueError: if the options ask for another number.
    """
    per_node, num_nodes = launcher.processes_per_node, launcher.num_nodes
    for key, given, started, what, default in (
        ("devices", _number_of(trainer["devices"]), per_node, "processes on each host", "auto"),
        ("num_nodes", trainer["num_nodes"], num_nodes, "hosts", 1),
    ):
        if trainer[key] != default and given not in (None, started):
            raise ValueError(
                f"`trainer.{key}` must be {started}, the number of {what} that {launcher.name} has "
                f"started, but it is {given} instead. Leave it to {launcher.name}: "
                f"`--trainer.{key} {default}`."
            )
    if launcher.world_size > 1 and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        hosts = f"each of {num_nodes} hosts" if num_nodes > 1 else "this host"
        log.info(f"processes: {per_node} on {hosts}, started by {launcher.name}")
    followed = trainer | {"devices": per_node, "num_nodes": num_nodes}
    if launcher.name == "SLURM":
        # Lightning's own requeue would save inside the signal handler, in the middle of anything.
        plugins = trainer["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        followed["plugins"] = [*plugins, SLURMEnvironment(auto_requeue=False)]
    return followed


def wait_for_rank_zero() -> None:
    """Let process 0 report an error first.

    If it has the same error, it ends this process before this one can repeat the report.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        time.sleep(RANK_ZERO_HEAD_START_SECONDS)


@contextmanager
def ending_with_rank_zero() -> Iterator[None]:
    """End this process when rank 0, from which Lightning started it, is killed.

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
    """Kill the processes that Lightning has started from this one."""
    for child in child_processes(trainer):
        child.kill()


def _number_of(devices: Any) -> int | None:
    """Return how many devices an option names; None for all of them."""
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        return None
    try:
        return len(devices.split(",")) if "," in str(devices) else int(devices)
    except ValueError:
        raise ValueError(
            f"`trainer.devices` must be a number, a list of numbers or auto, but it is {devices} "
            f"instead. Write `--devices 2`."
        ) from None


def _is_on_cpu(accelerator: Any) -> bool:
    """Say whether the trainer will be on CPUs."""
    return bool(accelerator == "cpu" or accelerator == "auto" and not torch.cuda.is_available())
