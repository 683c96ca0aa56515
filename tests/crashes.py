"""Kill a process at random moments of a loop that saves, again and again in one folder.

One process imports torch once; it forks those that are killed, and looks at what they leave. Run it
by itself for many rounds: `python tests/crashes.py --rounds 200 --folder F [--asynchronous]`.
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
    """A module whose weights say which step it is.

    Args:
        size: of the weights.
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
    """A trainer that has trained, and saves as if it were at any step."""

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
        """Save that step; asynchronously, it may be under way."""
        progress: Any = self.trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress
        progress.optimizer.step.total.completed = step
        with torch.no_grad():
            self.trainer.lightning_module.weight.fill_(step)
        self.writer.save(self.trainer)

    def save(self, step: int) -> None:
        """Save that step, and wait until it is on the disk."""
        self.begin(step)
        self.writer.io.wait()


def loaded_step(path: Path) -> int:
    """The step of a checkpoint, which its name and its weights must agree on."""
    loaded = torch.load(path, weights_only=True)
    assert (loaded["state_dict"]["weight"] == loaded["global_step"]).all(), path
    assert path.name == f"step={loaded['global_step']}.ckpt", path
    return int(loaded["global_step"])


def save_until_killed(saver: Saver, first: int, out: int) -> None:
    """Save back to back, and report each step that is on the disk; this never returns."""
    writer = saver.writer
    writer.setup(saver.trainer, saver.trainer.lightning_module, "fit")
    assert not list(writer.folder.glob(".*")), "a start clears what was left"
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
    """Let a process save for some time and kill it; the newest step that it left, and if it wrote.

    The time begins with its first checkpoint.
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
    assert os.WIFSIGNALED(status), "the process ended by itself"
    while more := os.read(reading, 32):
        reported = more
    os.close(reading)
    was_writing = bool(list(folder.glob(".*")))
    newest = newest_checkpoint(folder)
    assert newest is not None, "no checkpoint is whole"
    told = int(reported.decode().strip().partition("=")[2].partition(".")[0])
    step = loaded_step(newest)
    assert step in (told, told + 1), f"step {told} had been saved, but the newest is {step}"
    assert is_intact(folder / LAST), f"{LAST} leads to no whole checkpoint"
    assert all(is_intact(path) for path in checkpoints(folder)), "a name holds half a checkpoint"
    return step, was_writing


def main() -> None:
    """Kill so many processes; end with an error at the first checkpoint that was lost."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--asynchronous", action="store_true")
    options.add_argument("--keep", type=int, default=1)
    options.add_argument("--size", type=int, default=100_000, help="numbers; a file has 3 for each")
    options.add_argument("--seconds", type=float, default=0.06, help="at most, until it is killed")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    random.seed(given.seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    saver = Saver(given.folder, given.asynchronous, given.keep, given.size)
    step = interrupted = 0
    for _ in range(given.rounds):
        step, was_writing = one_round(saver, step + 1, random.uniform(0.0, given.seconds))
        interrupted += was_writing
    print(
        f"{given.rounds} kills, {interrupted} of them within a save, {step} saves, keep "
        f"{given.keep}, {'asynchronous' if given.asynchronous else 'at once'}: none was lost"
    )


if __name__ == "__main__":
    main()
