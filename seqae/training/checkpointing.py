"""Checkpoints: the state of training, saved so that `--resume` goes on exactly where it was.

A checkpoint is written beside its place and takes it when it is whole; `last.ckpt` points to the
newest, and moves only after that. What is due at the last batch of an epoch is saved after the
epoch's validation: a resume from between the two would leave that validation out.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from seqae.component import check_range

LAST = "last.ckpt"


class CheckpointWriter(Checkpoint):
    """Save the state of training every so many steps, and keep the newest few.

    Args:
        folder: where to.
        every_n_steps: optimizer steps between saves.
        keep: how many are kept.
    """

    def __init__(self, folder: Path, every_n_steps: int = 500, keep: int = 2) -> None:
        check_range("checkpoint.every_n_steps", every_n_steps, 1, 10**9)
        check_range("checkpoint.keep", keep, 1, 10**6)
        self.folder, self.every_n_steps, self.keep = folder, every_n_steps, keep
        self._saved_step = 0
        self._is_due = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time."""
        step = trainer.global_step
        # Within an accumulation window the step does not move: it is saved once.
        if step % self.every_n_steps or step == self._saved_step:
            return
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._is_due = True
        else:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was due at the epoch's last batch."""
        if self._is_due:
            self._is_due = False
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that training can go on with more epochs or steps."""
        if trainer.global_step != self._saved_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._saved_step = trainer.global_step
        path = self.folder / f"step={trainer.global_step}.ckpt"
        unfinished = path.with_suffix(".unfinished")
        trainer.save_checkpoint(unfinished)  # on all ranks: each adds what is its own
        if not trainer.is_global_zero:
            return
        _sync(unfinished)
        os.replace(unfinished, path)
        link = self.folder / f"{LAST}.unfinished"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        os.replace(link, self.folder / LAST)
        _sync(self.folder)
        for old in sorted(self.folder.glob("step=*.ckpt"), key=_step_of)[: -self.keep]:
            old.unlink()


def _step_of(path: Path) -> int:
    return int(path.stem.partition("=")[2])


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def resume_arguments(args: list[str]) -> list[str]:
    """Replace `--resume RUN` by the run's configuration, folder and newest checkpoint.

    Raises:
        ValueError: if there is no such run, or it has no checkpoint.
    """
    args = list(args)
    for index, arg in enumerate(args):
        if arg == "--resume" and index + 1 < len(args):
            run_dir, rest = Path(args[index + 1]), args[:index] + args[index + 2 :]
            break
        if arg.startswith("--resume="):
            run_dir, rest = Path(arg.partition("=")[2]), args[:index] + args[index + 1 :]
            break
    else:
        raise ValueError("`resume` must name the folder of a run. Write `--resume runs/NAME/TIME`.")
    config, last = run_dir / "config.yaml", run_dir / "checkpoints" / LAST
    for path in (config, last):
        if not path.exists():
            raise ValueError(
                f"`resume` must be the folder of a run with a checkpoint, but there is no {path}. "
                f"Choose another run, or start anew without `--resume`."
            )
    return ["-c", str(config), "--run_dir", str(run_dir), "--ckpt_path", str(last), *rest]


def check_checkpoint(path: Path) -> None:
    """Refuse what is no checkpoint; a folder is one of a sharded training.

    Raises:
        ValueError: in one line, with the way out.
    """
    if not path.is_dir() and not (path.is_file() and zipfile.is_zipfile(path)):
        reason = "is damaged or none" if path.exists() else "is not there"
        raise ValueError(
            f"`ckpt_path` must be a checkpoint of Lightning's, but {path} {reason}. Choose another "
            f"one, such as RUN/checkpoints/{LAST}."
        )
