"""Checkpoints: the state of training, saved so that `--resume` goes on exactly where it was.

A checkpoint is in its place only when it is whole (storage.py); `last.ckpt` points to the newest,
and moves only after that. What is due at the last batch of an epoch is saved after the epoch's
validation: a resume from between the two would leave that validation out.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch.utils._pytree import tree_map

from seqae.component import check_range
from seqae.training.sharded_checkpoint import is_sealed, not_whole, read_whole, remove
from seqae.training.sharding import local
from seqae.training.storage import is_whole, sync_folder, write_file

LAST = "last.ckpt"

log = logging.getLogger(__name__)


class SafeCheckpointIO(CheckpointIO):
    """Writes each checkpoint beside its place and syncs it; reads none that is not whole.

    Args:
        is_asynchronous: write in a thread while the training goes on, from a copy in main memory.
            What goes wrong there is raised at the next save, or at the end. Shards are not written
            by this class, and always waited for.
        on_written: called with the path, in that thread, when a checkpoint is in its place.
    """

    def __init__(
        self, is_asynchronous: bool = False, on_written: Callable[[Path], None] | None = None
    ) -> None:
        self._pool = ThreadPoolExecutor(1, "checkpoint") if is_asynchronous else None
        self._on_written = on_written
        self._underway: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write it, or begin to; one at a time."""
        self.wait()
        if self._pool is None:
            self._write(checkpoint, Path(path))
        else:
            self._underway = self._pool.submit(self._write, _copied(checkpoint), Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, of a file or of shards: plain data and tensors, nothing that runs."""
        path = Path(path)
        if not (is_sealed(path) if path.is_dir() else is_whole(path)):
            raise not_whole(path)
        if path.is_dir():
            return read_whole(path)
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, or the folder of a sharded one."""
        remove(Path(path))

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong there."""
        underway, self._underway = self._underway, None
        if underway is not None:
            underway.result()

    def teardown(self) -> None:
        """Wait; the thread ends with the process."""
        self.wait()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_sealed(path):  # shards of a run that has gone on from an earlier step
            remove(path)
        write_file(path, lambda file: torch.save(checkpoint, cast("BinaryIO", file)))
        if self._on_written is not None:
            self._on_written(path)


class CheckpointWriter(Checkpoint):
    """Save the state of training every so many steps, and keep the newest few.

    Args:
        folder: where to.
        every_n_steps: optimizer steps between saves; 0 saves only when asked to.
        keep: how many are kept.
        is_asynchronous: write while the training goes on; see SafeCheckpointIO.
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
        self._saved_step = 0
        self._is_due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write and read through the safe way."""
        trainer.strategy.checkpoint_io = self.io

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time."""
        step = trainer.global_step
        # Within an accumulation window the step does not move: it is saved once.
        if not self.every_n_steps or step % self.every_n_steps or step == self._saved_step:
            return
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._is_due = True
        else:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was due at the epoch's last batch."""
        if self._is_due:
            self._is_due = False
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that training can go on with more epochs or steps."""
        if self.every_n_steps and trainer.global_step != self._saved_step:
            self.save(trainer)
        self.io.wait()

    def save(self, trainer: Trainer) -> None:
        """Save now; all ranks must call it at the same step."""
        self._saved_step = trainer.global_step
        check_finite(trainer.lightning_module, trainer.global_step)
        path = self.folder / f"step={trainer.global_step}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero and path.is_dir():  # shards; a file says so when it is written
            self._publish(path)

    def _publish(self, path: Path) -> None:
        """Point to the newest, and remove what is more than `keep`."""
        link = self.folder / f".{LAST}.unfinished"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        os.replace(link, self.folder / LAST)
        sync_folder(self.folder)
        for old in checkpoints(self.folder)[self.keep :]:
            remove(old)


def check_finite(pl_module: LightningModule, step: int) -> None:
    """Refuse to save weights that are of no use, in the place of older ones that are.

    Raises:
        ValueError: if any weight is NaN or infinite.
    """
    for name, weight in pl_module.named_parameters():
        if not torch.isfinite(local(weight)).all():
            raise ValueError(
                f"`{name}` must be finite to be saved, but it has NaN or infinity at step "
                f"{step:,}. Go on from the last checkpoint with a lower `model.learning_rate`."
            )


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    return sorted(folder.glob("step=*.ckpt"), key=_step_of, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """What `last.ckpt` points to, or the newest checkpoint that is whole; damage is named."""
    last = folder / LAST
    pointed = [folder / os.readlink(last)] if last.is_symlink() else []
    for path in dict.fromkeys([*pointed, *checkpoints(folder)]):
        if is_sealed(path) if path.is_dir() else is_whole(path):
            return path
        log.warning(f"{path} is cut short, changed or gone; another checkpoint is taken")
    return None


def _copied(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy in main memory that the training does not change."""

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", copy=True)
        return copy.deepcopy(value)

    found: dict[str, Any] = tree_map(copied, checkpoint)
    return found


def _step_of(path: Path) -> int:
    return int(path.stem.partition("=")[2])
