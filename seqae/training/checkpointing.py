"""Checkpoints: the state of training, saved so that `--resume` goes on exactly where it was.

A checkpoint is in its place only when it is whole (storage.py); `last.ckpt` points to the newest,
and moves only after that. What is due after a batch is saved before the next one, or at the end of
the epoch: behind the batch's row of figures and behind the validation that may follow it. A resume
from a moment before would leave these out.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.utils._pytree import tree_map

from seqae.component import check_range
from seqae.training.metrics_file import MetricsFile
from seqae.training.module import not_finite
from seqae.training.storage import (
    CHUNK,
    TRAILER_BYTES,
    cannot_write,
    is_whole,
    sync_folder,
    write_file,
    write_link,
)

LAST = "last.ckpt"
COMPLETE = "complete.json"  # the last file of a sharded checkpoint: what the others must be

log = logging.getLogger(__name__)


class SafeCheckpointIO(CheckpointIO):
    """Writes each checkpoint beside its place and syncs it; reads none that is not whole.

    Args:
        is_asynchronous: write in a thread while the training goes on, from a copy in main memory.
            What goes wrong there is raised at the next save, or at the end.
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
        """Read what `save_checkpoint` wrote: plain data and tensors, nothing that runs."""
        if Path(path).is_dir():
            raise ValueError(
                f"`trainer.strategy` must be ShardedStrategy for a checkpoint of sharded weights, "
                f"but {path} is one. Add `-c configs/overlays/fsdp.yaml`."
            )
        if not is_whole(Path(path)):
            raise ValueError(
                f"`ckpt_path` must be a checkpoint as it was written, but {path} is cut short or "
                f"changed: its hash is another. Choose another one."
            )
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, or the folder of a sharded one."""
        _remove(Path(path))

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong there."""
        underway, self._underway = self._underway, None
        if underway is not None:
            underway.result()

    def teardown(self) -> None:
        """Wait; the thread ends with the process."""
        self.wait()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        write_file(path, lambda file: torch.save(checkpoint, cast("BinaryIO", file)))
        if self._on_written is not None:
            self._on_written(path)


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
                _remove(left_over)

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
        count_back(checkpoint["loops"]["fit_loop"])

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
        if isinstance(trainer.strategy, ModelParallelStrategy):
            self._save_sharded(trainer, path)
        else:
            trainer.save_checkpoint(path)

    def _save_sharded(self, trainer: Trainer, path: Path) -> None:
        """A folder that takes its name when the files of all ranks are in it and synced."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        if trainer.is_global_zero:
            _remove(unfinished)
        trainer.strategy.barrier("a place for the shards")
        trainer.save_checkpoint(unfinished)
        if trainer.is_global_zero and unfinished.is_dir():
            seal(unfinished)
            _remove(path)
            os.replace(unfinished, path)
            sync_folder(path.parent)
            self._publish(path)
        trainer.strategy.barrier("the shards are in their place")

    def _is_due(self, step: int) -> bool:
        every = self.every_n_steps
        return every > 0 and step > 0 and step % every == 0 and step != self._saved_step

    def _publish(self, path: Path) -> None:
        """Point to the newest, and remove what is more than `keep`."""
        saved = checkpoints(self.folder)
        if path not in saved:
            return  # another callback has saved it for a purpose of its own
        write_link(self.folder / LAST, path.name)
        # A run that went on from an earlier step comes by those of a later one, which it has given
        # up, or which are damaged: they must not crowd out what is good.
        earlier = saved[saved.index(path) :]
        for old in {*saved} - {*earlier[: self.keep]}:
            try:
                _remove(old)
            except OSError as error:  # a disk that fills up is told of by the next save
                log.warning(f"{old} cannot be removed: {error.strerror}")


def check_finite(trainer: Trainer) -> None:
    """Refuse to save weights that are of no use, in the place of older ones that are.

    Raises:
        ValueError: on all ranks, if a weight or a moving average of any is NaN or infinite.
    """
    module = trainer.lightning_module
    found = not_finite(itertools.chain(module.named_parameters(), module.named_buffers()))
    if not trainer.strategy.reduce_boolean_decision(found is None, all=True):
        raise ValueError(
            f"`{found or 'a weight of another process'}` must be finite to be saved, but it has "
            f"NaN or infinity at step {trainer.global_step:,}. Go on from the last checkpoint with "
            f"a lower `model.learning_rate`."
        )


def count_back(fit_loop: dict[str, Any]) -> None:
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
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= is_within


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    return sorted(folder.glob("step=*.ckpt"), key=_step_of, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """What `last.ckpt` points to, or the newest checkpoint that is whole; damage is named."""
    last = folder / LAST
    pointed = [folder / Path(os.readlink(last)).name] if last.is_symlink() else []
    for path in dict.fromkeys([*pointed, *checkpoints(folder)]):
        if is_sealed(path) if path.is_dir() else is_whole(path):
            return path
        log.warning(f"{path} is cut short, changed or gone; another checkpoint is taken")
    return None


def seal(folder: Path) -> None:
    """Sync all files of a sharded checkpoint, and write last what they must be."""
    hashes = {}
    for path in sorted(folder.iterdir()):
        _sync_file(path)
        hashes[path.name] = _hash_of(path)
    text = json.dumps(hashes, indent=2).encode()
    write_file(folder / COMPLETE, lambda file: file.write(text))


def is_sealed(folder: Path) -> bool:
    """Whether a sharded checkpoint has all its files, as they were written."""
    try:
        if not is_whole(folder / COMPLETE):
            return False
        hashes = json.loads((folder / COMPLETE).read_bytes()[:-TRAILER_BYTES])
        return all(_hash_of(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _copied(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy in main memory that the training does not change."""

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", copy=True)
        return copy.deepcopy(value)

    found: dict[str, Any] = tree_map(copied, checkpoint)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_of(step: int) -> str:
    return f"step={step}.ckpt"


def _step_of(path: Path) -> int:
    return int(path.stem.partition("=")[2])
