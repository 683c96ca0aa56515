"""Kill a process at random moments of a loop that saves, many times in one folder.

One process imports torch once, forks the processes to kill, and checks what they leave. To run many
rounds: `python tests/crashes.py --rounds 200 --folder F [--asynchronous]`.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from seqae.training.checkpoints.callback import (
    LAST,
    CheckpointWriter,
    checkpoints,
    newest_checkpoint,
)
from seqae.training.checkpoints.integrity import is_intact


class OneWeight(LightningModule):
    """A module whose weights equal the step.

    Args:
        size: number of weights.
    """

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([0, 1])  # type: ignore[arg-type]


class Saver:
    """A trainer that has trained, and can save as if it were at any step."""

    def __init__(
        self, folder: Path, is_asynchronous: bool = False, keep: int = 2, size: int = 1000
    ) -> None:
        self.writer = CheckpointWriter(folder, 0, keep, is_asynchronous)
        self.trainer = Trainer(
            max_steps=1,
            logger=False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[self.writer],
        )
        self.trainer.fit(OneWeight(size))

    def begin(self, step: int) -> None:
        """Save a step; an asynchronous save may still be running."""
        progress: Any = self.trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress
        progress.optimizer.step.total.completed = step
        with torch.no_grad():
            self.trainer.lightning_module.weight.fill_(step)
        self.writer.save(self.trainer)

    def save(self, step: int) -> None:
        """Save a step, and wait until it is on the disk."""
        self.begin(step)
        self.writer.io.wait()


def loaded_step(path: Path) -> int:
    """Return the step of a checkpoint, on which its name and its weights must agree."""
    loaded = torch.load(path, weights_only=True)
    assert (loaded["state_dict"]["weight"] == loaded["global_step"]).all(), path
    assert path.name == f"step={loaded['global_step']}.ckpt", path
    return int(loaded["global_step"])


def save_until_killed(saver: Saver, first: int, out: int) -> None:
    """Save without a pause, and report each step that is on the disk; never returns."""
    writer = saver.writer
    writer.setup(saver.trainer, saver.trainer.lightning_module, "fit")
    assert not list(writer.folder.glob(".*")), "a start removes leftovers"
    publish = writer.io.on_written
    assert publish is not None

    def published(path: Path) -> None:
        publish(path)
        os.write(out, path.name.encode().ljust(32))

    writer.io.on_written = published
    step = first
    while True:
        saver.begin(step)
        step += 1


def one_round(saver: Saver, first: int, seconds: float) -> tuple[int, bool]:
    """Let a process save for some time after its first checkpoint, and kill it.

    Returns:
        The newest step that it left, and whether it was killed within a save.
    """
    folder = saver.writer.folder
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_until_killed(saver, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    reported = os.read(reading, 32)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process was not killed"
    while more := os.read(reading, 32):
        reported = more
    os.close(reading)
    was_writing = bool(list(folder.glob(".*")))
    newest = newest_checkpoint(folder)
    assert newest is not None, "no checkpoint is intact"
    saved = int(reported.decode().strip().partition("=")[2].partition(".")[0])
    step = loaded_step(newest)
    assert step in (saved, saved + 1), f"step {saved} had been saved, but the newest is {step}"
    assert is_intact(folder / LAST), f"{LAST} points to no intact checkpoint"
    assert all(is_intact(path) for path in checkpoints(folder)), "a checkpoint is damaged"
    return step, was_writing


def main() -> None:
    """Kill `--rounds` processes; end with an error at the first checkpoint that is lost."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--asynchronous", action="store_true")
    options.add_argument("--keep", type=int, default=1)
    options.add_argument(
        "--size", type=int, default=100_000, help="weights; a file holds 3 numbers for each"
    )
    options.add_argument(
        "--seconds", type=float, default=0.06, help="at most, until a process is killed"
    )
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    random.seed(arguments.seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    saver = Saver(arguments.folder, arguments.asynchronous, arguments.keep, arguments.size)
    step = interrupted = 0
    for _ in range(arguments.rounds):
        step, was_writing = one_round(saver, step + 1, random.uniform(0.0, arguments.seconds))
        interrupted += was_writing
    way = "asynchronous" if arguments.asynchronous else "at once"
    print(
        f"{arguments.rounds} kills, {interrupted} of them within a save, {step} saves, keep "
        f"{arguments.keep}, {way}: none was lost"
    )


if __name__ == "__main__":
    main()
