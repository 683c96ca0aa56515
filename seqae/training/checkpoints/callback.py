"""CheckpointWriter: save the state of training, so that `--resume` continues exactly.

A checkpoint gets its name only when it is complete and on the disk (integrity.py). `last.ckpt`
points to the newest one and moves only after that. A save at a step happens before the next batch,
or at the end of the epoch: by then the batch's metrics are logged, and the validation that may
follow the batch is over. A resume from an earlier moment would lose both.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from seqae.batch import Vocabulary
from seqae.component import check_range
from seqae.files import atomic_symlink
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import is_intact, is_sealed
from seqae.training.checkpoints.sharded import remove_checkpoint
from seqae.training.lightning_internals import rewind_stepped_batches
from seqae.training.logs.loggers import MetricsFile
from seqae.training.optimization.finite import check_finite

LAST = "last.ckpt"

# Of a checkpoint, in addition to its tensors: names, counts, random states; 51 kB were measured.
OVERHEAD_BYTES = 2**16

NAME = re.compile(r"step=[0-9]+\.ckpt")  # users may keep other files in the folder

log = logging.getLogger(__name__)


class CheckpointWriter(Checkpoint):
    """Save the state of training every few steps, and keep the newest checkpoints.

    Args:
        folder: holds the checkpoints.
        every_n_steps: optimizer steps between saves; 0 saves only on request.
        keep: number of checkpoints to keep.
        is_asynchronous: write while training continues; see SafeCheckpointIO. Training always waits
            for sharded checkpoints.

    Attributes:
        on_published: called with the path of each new checkpoint, when `last.ckpt` points to it.
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
        self.io = SafeCheckpointIO(is_asynchronous)
        self.io.on_written = self._publish
        self._saved_step: int | None = None
        self.on_published: Callable[[Path], None] | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = self.io
        if stage == "fit" and trainer.is_global_zero:
            for leftover in self.folder.glob(".*.unfinished"):  # of a process that was killed
                remove_checkpoint(leftover)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._save_on_schedule(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save_on_schedule(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that the run can be extended by more epochs or steps."""
        if self.every_n_steps:
            self.save_and_wait(trainer)
        self.io.wait()

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        rewind_batch_progress(checkpoint["loops"]["fit_loop"])

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        step = checkpoint["global_step"]
        if (self.folder / _name_of(step)).exists():  # it may have been loaded from another run
            self._saved_step = step

    def save_and_wait(self, trainer: Trainer) -> None:
        """Save this step unless it is saved already, and wait until it is on the disk."""
        if trainer.global_step != self._saved_step:
            self.save(trainer)
        self.io.wait()

    def save(self, trainer: Trainer) -> None:
        """Save now, between two batches; all ranks must call this at the same step."""
        self._saved_step = trainer.global_step
        check_finite(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.sync()
        path = self.folder / _name_of(trainer.global_step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero and path.is_dir():  # `self.io` publishes files, but not shards
            self._publish(path)

    def _save_on_schedule(self, trainer: Trainer) -> None:
        step, every = trainer.global_step, self.every_n_steps
        # Within an accumulation window the step stays the one that was saved.
        if every > 0 and step > 0 and step % every == 0 and step != self._saved_step:
            self.save(trainer)

    def _publish(self, path: Path) -> None:
        """Point `last.ckpt` to a new checkpoint, and remove all but the newest `keep`."""
        saved = checkpoints(self.folder)
        if path not in saved:
            return  # another callback has saved it for its own purpose
        last = self.folder / LAST
        if not last.is_symlink() and is_sealed(last):
            # A copy of the run that has followed the link; step=N.ckpt is the same checkpoint.
            remove_checkpoint(last)
        atomic_symlink(last, path.name)
        if self.on_published is not None:
            self.on_published(path)
        # After a resume from an earlier step, checkpoints of later steps are stale or damaged; they
        # must not count towards `keep`.
        kept = saved[saved.index(path) :][: self.keep]
        for old in {*saved} - {*kept}:
            try:
                remove_checkpoint(old)
            except OSError as error:  # if this fills the disk, the next save reports it
                log.warning(f"{old} cannot be removed: {error.strerror}")


def rewind_batch_progress(fit_loop: dict[str, Any]) -> None:
    """Take back what Lightning has counted since the end of the last trained batch.

    Lightning (2.6) resumes correctly from a checkpoint that was saved right after a batch. If it
    was saved after the next batch had been fetched, Lightning takes that one for trained.

    Args:
        fit_loop: the loop's state in a checkpoint, changed in place.
    """
    progress = fit_loop["epoch_loop.batch_progress"]
    trained = progress["current"]["processed"]
    if progress["current"]["ready"] == trained:
        return
    is_within_epoch = trained > 0  # otherwise the epoch starts from its first batch
    for count in (progress["total"], progress["current"]):
        count["ready"] = count["processed"]
        count["completed"] = count["processed"] - is_within_epoch
    progress["is_last_batch"] = False
    rewind_stepped_batches(fit_loop, int(is_within_epoch))


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, the newest first."""
    named = (path for path in folder.glob("step=*.ckpt") if NAME.fullmatch(path.name))
    return sorted(named, key=_step_of, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint that `last.ckpt` points to, or the newest intact one; log damage."""
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


def checkpoint_bytes(
    autoencoder: SequenceAutoencoder,
    objective: Objective,
    vocabulary: Vocabulary,
    max_length: int,
) -> int:
    """Estimate the size of a checkpoint: the weights and AdamW's two numbers for each.

    The model is built without memory, which also refuses parts whose sizes do not fit together.

    Args:
        autoencoder: not built yet.
        objective: not built yet.
        vocabulary: of the tokenizer.
        max_length: most tokens of a sentence, bos and eos included.

    Raises:
        ValueError: if the parts do not fit together.
    """
    with torch.device("meta"):
        model = SequenceAutoencoder.from_config(autoencoder.config())
        model.build(vocabulary, max_length)
        loss = Objective.from_config(objective.config())
        loss.build(model)
    weights = [*model.state_dict().values(), *loss.state_dict().values()]
    return 3 * sum(int(weight.nbytes) for weight in weights) + OVERHEAD_BYTES
