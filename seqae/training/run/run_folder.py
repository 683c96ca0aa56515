"""RunFolder: make the folder of a run once its data is checked, and keep its records right."""

from __future__ import annotations

import json
import os
import stat
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import Tokenizer
from seqae.files import atomic_write
from seqae.training.callbacks.preemption import Preempted
from seqae.training.checkpoints.callback import LAST
from seqae.training.logs.loggers import MetricsFile, remember_run
from seqae.training.run.remote_run import LOCK, STATE
from seqae.training.starting.given_tokenizer import KEPT
from seqae.untrusted import load_json, read_capped

OUTBOX = ".outbox"  # of a run elsewhere: what is being sent (run_mirror.py)
UNFINISHED = ".config.yaml.unfinished"

# A killed training may still hold the lock: its loader workers until they miss their parent, or a
# file server until it misses the node.
LOCK_TIMEOUT_SECONDS = 120.0

# What a run writes, and the kind that each must be: a link could lead out of the folder.
KINDS = {
    "config.yaml": stat.S_ISREG,
    KEPT: stat.S_ISREG,
    "metrics.jsonl": stat.S_ISREG,
    "checkpoints": stat.S_ISDIR,
    "bundle": stat.S_ISDIR,
    "report.html": stat.S_ISREG,
    LOCK: stat.S_ISREG,
}


class RunFolder(Callback):
    """Make the run's folder, lock it while the run writes to it, and keep its records right.

    Args:
        folder: the run's folder.
        config: the resolved configuration.
        is_resumed: whether this continues the run in that folder.
        url: of the run, if it is elsewhere and the folder stands for it.

    Attributes:
        has_trained: whether any step was left to do.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        is_resumed: bool = False,
        url: str | None = None,
    ) -> None:
        self.name = url or str(folder)
        self.folder, self.config, self.is_resumed = folder, config, is_resumed
        self.has_trained = False
        self._newest = self._newest_name()
        self._lock: FileLock | None = None

    def make(self, data_reports: Iterable[Path] = (), tokenizer: Tokenizer | None = None) -> None:
        """Make the folder and write `config.yaml`, before loggers write their files there.

        Args:
            data_reports: files to copy, each as `data_` and its name.
            tokenizer: that was given and not trained; it is kept.

        Raises:
            OSError: if it cannot be made, or another run has just made it.
            ValueError: if another training writes to it.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            # Two runs that start in the same second must not share a folder: only one makes it.
            self.folder.mkdir(exist_ok=self.is_resumed or is_empty(self.folder))
        except OSError as error:
            raise OSError(
                f"`run_dir` must be a folder that can be made and written, but {self.folder} "
                f"cannot: {error.strerror}. Name another one with `--run_dir`."
            ) from error
        self._acquire_lock()
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        atomic_write(self.folder / "config.yaml", text)
        for report in data_reports:
            atomic_write(self.folder / f"data_{report.name}", report.read_text(encoding="utf-8"))
        if tokenizer is not None:
            atomic_write(self.folder / KEPT, tokenizer.to_json())
        print(f"run folder: {self.name}")
        if self.name != str(self.folder):
            print(f"on this machine: {self.folder}")

    def _acquire_lock(self) -> None:
        """Keep other trainings out until `release`, or until this process ends."""
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except NotImplementedError:  # a file system without locks
            return
        except Timeout:
            print(f"waiting for another training, which holds {self.folder}", flush=True)
            try:
                lock.acquire(timeout=LOCK_TIMEOUT_SECONDS)
            except Timeout:
                raise ValueError(
                    f"`run_dir` must be a folder that no training writes to, but one writes to "
                    f"{self.folder}. Wait for its end, or name another one with `--run_dir`."
                ) from None
        self._lock = lock
        if self._newest_name() != self._newest:
            raise ValueError(
                f"`run_dir` must stay as it is while a training begins, but another one has saved "
                f"a checkpoint in {self.folder} meanwhile. Start again, to go on from there."
            )

    def release(self) -> None:
        """Let other trainings write to the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _newest_name(self) -> str | None:
        last = self.folder / "checkpoints" / LAST
        return os.readlink(last) if last.is_symlink() else None

    @rank_zero_only
    def write_stream(self, summary: dict[str, Any]) -> None:
        """Write what a stream has read, which is known only after the training."""
        path = self.folder / "data_stream.json"
        atomic_write(path, json.dumps(summary, indent=2) + "\n")

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print how to continue after a stop; keep the traceback of what nobody expects."""
        if not trainer.is_global_zero:
            return
        if isinstance(exception, Preempted):
            print(
                f"stopped at step {exception.step:,}, which is saved: {exception.reason}. "
                f"Go on with: seqae fit --resume {self.name}",
                flush=True,
            )
        elif isinstance(exception, KeyboardInterrupt):
            saved = (self.folder / "checkpoints" / LAST).exists()
            way_out = f"Go on with: seqae fit --resume {self.name}" if saved else "Nothing saved."
            print(f"interrupted at step {trainer.global_step:,}. {way_out}", flush=True)
        elif not isinstance(exception, (ValueError, OSError)) and (self.folder / LOCK).exists():
            # After days of training nobody wants to see it fail once more, with `--debug`.
            path = self.folder / "traceback.txt"
            lines = traceback.format_exception(exception)
            atomic_write(path, "".join(lines))
            print(f"traceback: {path}", flush=True)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell `metrics.jsonl` which trainer counts the steps."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.trainer = trainer

    def forget_validation(self, trainer: Trainer) -> None:
        """Drop rows of a final validation that is about to be repeated.

        A run that was killed after this validation, and is resumed, does it again. Only the rows of
        this step go.
        """
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.forget_validation(trainer.global_step)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the rows of steps that a resumed run repeats; log the configuration."""
        self.has_trained = True
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.forget_after(trainer.global_step)
            else:
                logger.log_hyperparams(self.config)
        if trainer.is_global_zero:
            remember_run(trainer, self.folder)


def check_run_dir(folder: Path, is_resumed: bool) -> None:
    """Refuse a folder that a new run cannot use, before anything is written.

    Args:
        folder: the run's folder.
        is_resumed: whether the run in it is continued; otherwise it must be new or empty.

    Raises:
        ValueError: if it is in use, cannot be written, or holds links where the run would write.
    """
    if not is_resumed and folder.is_dir() and not is_empty(folder):
        raise ValueError(
            f"`run_dir` must be a new or empty folder, but {folder} holds something. Name another "
            f"one; if it is a run, go on with it: `seqae fit --resume {folder}`."
        )
    for name, is_right in KINDS.items():
        path = folder / name
        if os.path.lexists(path) and not is_right(path.lstat().st_mode):
            raise ValueError(
                f"`run_dir` must hold files and folders of its own, but {path} is a link or no "
                f"regular file. Name another one, or move it away."
            )
        if path.exists() and not os.access(path, os.W_OK):
            raise ValueError(
                f"`run_dir` must be a folder that can be written, but {path} cannot. Change its "
                f"mode, or name another one with `--run_dir`."
            )
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "is not a folder" if not existing.is_dir() else "cannot be written"
        raise ValueError(
            f"`run_dir` must be a folder that can be made and written, but {existing} {reason} "
            f"(for {folder}). Name another one with `--run_dir`."
        )


def pin_revisions(data: TextDataModule, run_dir: Path) -> None:
    """Read the same commits of the hub's data sets as a run, if its folder has a data report.

    Args:
        data: reads them.
        run_dir: the run's folder.

    Raises:
        ValueError: if the report is damaged.
    """
    report = run_dir / "data_report.json"
    if not report.is_file():
        return
    try:
        data.pin_revisions(load_json(read_capped(report)))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{report} must be the data report of a run, but it is damaged. Remove it to read the "
            f"data sets of the hub as they are now."
        ) from error


def is_empty(folder: Path) -> bool:
    """Say whether a folder is empty, apart from what a killed process may have left."""
    names = (UNFINISHED, LOCK, STATE, OUTBOX)
    return folder.is_dir() and all(path.name in names for path in folder.iterdir())


def shorten_class_paths(config: Any) -> None:
    """Drop the module from the names of our own classes: it may change between versions."""
    for value in config.values() if isinstance(config, dict) else config:
        if isinstance(value, (dict, list)):
            shorten_class_paths(value)
    if isinstance(config, dict) and str(config.get("class_path", "")).startswith("seqae."):
        config["class_path"] = config["class_path"].rpartition(".")[2]
