"""Run the command on several ranks in forks of this process, which import nothing again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities import rank_zero as of_fabric
from lightning.pytorch.utilities import rank_zero as of_lightning
from small import CONFIGS, run_seqae

# Python 3.12 warns of threads that may exist when a process forks.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def run_on_ranks(
    folder: Path, *arguments: object, ranks: int = 2, seconds: float = 100.0
) -> list[int]:
    """Run the command on each rank, and kill the ranks that do not end in time.

    Each rank writes its output to `folder/rankN.txt`.

    Returns:
        The exit statuses, negative for a signal.
    """
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [*arguments, "-c", CONFIGS / "overlays" / "ddp.yaml", "--trainer.devices", ranks]
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            try:
                os._exit(_be_rank(folder, rank, ranks, port, options))
            finally:
                os._exit(1)
        children.append(child)
    return _statuses(children, time.monotonic() + seconds)


def _be_rank(folder: Path, rank: int, ranks: int, port: int, options: list[object]) -> int:
    # What torchrun and Lightning's own launcher set.
    os.environ.update(
        RANK=f"{rank}",
        LOCAL_RANK=f"{rank}",
        WORLD_SIZE=f"{ranks}",
        NODE_RANK="0",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=f"{port}",
    )
    for module in (of_fabric, of_lightning):
        module.rank_zero_only.rank = rank  # read at import, from the environment
    torch.set_num_threads(1)
    with (folder / f"rank{rank}.txt").open("w", buffering=1) as out:
        sys.stdout = sys.stderr = out
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        try:
            return run_seqae(*options)
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            out.flush()


def _statuses(children: list[int], deadline: float) -> list[int]:
    statuses: dict[int, int] = {}
    while len(statuses) < len(children):
        for child in set(children) - set(statuses):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [statuses[child] for child in children]
