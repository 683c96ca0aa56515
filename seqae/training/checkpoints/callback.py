"""Checkpoints: the state of training, saved so that `--resume` goes on exactly where it was.

A checkpoint is in its place only when it is whole (storage.py); `last.ckpt` points to the newest,
and moves only after that. What is due after a batch is saved before the next one, or at the end of
the epoch: behind the batch's row of figures and behind the validation that may follow it. A resume
from a moment before would leave these out.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from seqae.component import check_range
from seqae.files import atomic_symlink
from seqae.lightning_internals import rewind_stepped_batches
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import is_intact
from seqae.training.checkpoints.sharded import remove
from seqae.training.finite import check_finite
from seqae.training.loggers import MetricsFile

LAST = "last.ckpt"
NAME = re.compile(r"step=[0-9]+\.ckpt")  # a person may put other files beside

log = logging.getLogger(__name__)


class CheckpointWriter(Checkpoint):
    """Save the state of training every so many steps, and keep the newest few.

    Args:
        folder: where to.
        every_n_steps: optimizer steps between saves; 0 saves only when asked to.
        keep: how many are kept.
        is_asynchronous: write while the training goes on; see SafeCheckpointIO. Sharded checkpoints
            are always waited for.
    """

    def __init__(
        self,
        folder: Path,
        every_n_steps: int = 500,
        keep: int = 2,
        is_asynchronous: bool = False,
    ) -> None:
        check_range("checkpoint.every_n_steps", every_n_steps, 0, 10**9)
        check_range("checkpoint.keep", keep, 1, 10**6)
        self.folder, self.every_n_steps, self.keep = folder, every_n_steps, keep
        self.io = SafeCheckpointIO(is_asynchronous, self._publish)
        self._saved_step: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write and read through the safe way; clear what a process that was killed has left."""
        trainer.strategy.checkpoint_io = self.io
        if stage == "fit" and trainer.is_global_zero:
            for left_over in self.folder.glob(".*.unfinished"):
                remove(left_over)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save before this batch what was due after the one before."""
        # Within an accumulation window the step has not moved since it was saved.
        if self._is_due(trainer.global_step):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was due after the epoch's last batch."""
        if self._is_due(trainer.global_step):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that training can go on with more epochs or steps."""
        if self.every_n_steps:
            self.save_for_good(trainer)
        self.io.wait()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave out the batch that has been fetched and not begun."""
        rewind_batch_progress(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """What is loaded need not be saved again, unless it is another run's."""
        step = checkpoint["global_step"]
        if (self.folder / _name_of(step)).exists():
            self._saved_step = step

    def save_for_good(self, trainer: Trainer) -> None:
        """Save unless this step is saved, and wait until it is on the disk."""
        if trainer.global_step != self._saved_step:
            self.save(trainer)
        self.io.wait()

    def save(self, trainer: Trainer) -> None:
        """Save now, between two batches; all ranks must call it at the same step."""
        self._saved_step = trainer.global_step
        check_finite(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.sync()
        path = self.folder / _name_of(trainer.global_step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero and path.is_dir():  # shards; a file says so when it is written
            self._publish(path)

    def _is_due(self, step: int) -> bool:
        every = self.every_n_steps
        return every > 0 and step > 0 and step % every == 0 and step != self._saved_step

    def _publish(self, path: Path) -> None:
        """Point to the newest, and remove what is more than `keep`."""
        saved = checkpoints(self.folder)
        if path not in saved:
            return  # another callback has saved it for a purpose of its own
        atomic_symlink(self.folder / LAST, path.name)
        # A run that went on from an earlier step comes by those of a later one, which it has given
        # up, or which are damaged: they must not crowd out what is good.
        earlier = saved[saved.index(path) :]
        for old in {*saved} - {*earlier[: self.keep]}:
            try:
                remove(old)
            except OSError as error:  # a disk that fills up is told of by the next save
                log.warning(f"{old} cannot be removed: {error.strerror}")


def rewind_batch_progress(fit_loop: dict[str, Any]) -> None:
    """Make Lightning's counts between two batches those of the moment behind the last one.

    A checkpoint that is saved there goes on as it should; of one that is saved when the next batch
    has been fetched, Lightning (2.6) takes that one for trained.

    Args:
        fit_loop: the loop's state in a checkpoint, changed in place.
    """
    progress = fit_loop["epoch_loop.batch_progress"]
    trained = progress["current"]["processed"]
    if progress["current"]["ready"] == trained:
        return
    is_within = trained > 0  # the epoch; else it begins anew, and nothing is to be caught up with
    for count in (progress["total"], progress["current"]):
        count["ready"] = count["processed"]
        count["completed"] = count["processed"] - is_within
    progress["is_last_batch"] = False
    rewind_stepped_batches(fit_loop, int(is_within))


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    named = (path for path in folder.glob("step=*.ckpt") if NAME.fullmatch(path.name))
    return sorted(named, key=_step_of, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """What `last.ckpt` points to, or the newest checkpoint that is whole; damage is named."""
    last = folder / LAST
    pointed = [folder / Path(os.readlink(last)).name] if last.is_symlink() else []
    for path in dict.fromkeys([*pointed, *checkpoints(folder)]):
        if is_intact(path):
            return path
        log.warning(f"{path} is cut short, changed or gone; another checkpoint is taken")
    return None


def _name_of(step: int) -> str:
    return f"step={step}.ckpt"


def _step_of(path: Path) -> int:
    return int(path.stem.partition("=")[2])
