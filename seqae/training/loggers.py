"""GuardedLogger: a logger that may fail, and does not take the training with it.

metrics.jsonl holds every figure, so that another logger is a convenience: Weights & Biases may be
out of reach, the disk of its files full, its login expired in the third week.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.nn import Module

from seqae.files import atomic_write, cannot_write

PATIENCE = 3  # failures in a row, after which a logger is left alone: some wait a minute for each
RUN_ID = "wandb_run_id"  # the file in a run's folder

log = logging.getLogger(__name__)


class GuardedLogger(Logger):
    """Hands all to another logger; what goes wrong there is told once, and nothing else.

    Args:
        logger: it is given up after three failures in a row.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger = logger
        self._failures = 0
        self._has_told = False

    def attempt(self, call: Callable[[], Any], otherwise: Any = None) -> Any:
        """Return what `call` returns, or `otherwise` if it fails."""
        if self._failures >= PATIENCE:
            return otherwise
        try:
            found = call()
        except Exception as error:  # whatever a logger raises
            self._failures += 1
            if not self._has_told:
                self._has_told = True
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                log.warning(
                    f"`trainer.logger`: {type(self.logger).__name__} failed ({reason}). The "
                    f"training goes on; metrics.jsonl has all figures."
                )
            return otherwise
        self._failures = 0
        return found

    @property
    def name(self) -> str | None:
        """Of the other logger."""
        return self.attempt(lambda: self.logger.name)  # type: ignore[no-any-return]

    @property
    def version(self) -> int | str | None:
        """Of the other logger."""
        return self.attempt(lambda: self.logger.version)  # type: ignore[no-any-return]

    @property
    def save_dir(self) -> str | None:
        """Of the other logger."""
        return self.attempt(lambda: self.logger.save_dir)  # type: ignore[no-any-return]

    @property
    def takes_tables(self) -> bool:
        """Whether tables and bundles can be logged: to Weights & Biases."""
        return isinstance(self.logger, WandbLogger)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log figures."""
        self.attempt(lambda: self.logger.log_metrics(metrics, step))

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log the configuration."""
        self.attempt(lambda: self.logger.log_hyperparams(params, *args, **kwargs))

    def log_graph(self, model: Module, input_array: Tensor | None = None) -> None:
        """Log the graph of the model."""
        self.attempt(lambda: self.logger.log_graph(model, input_array))

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table, where there is a place for one."""
        logger = self.logger
        if isinstance(logger, WandbLogger):
            self.attempt(lambda: logger.log_table(name, list(columns), [list(r) for r in rows]))

    def log_bundle(self, folder: Path) -> None:
        """Log a bundle as an artifact; wandb uploads it, or keeps it."""
        logger = self.logger
        if isinstance(logger, WandbLogger):
            self.attempt(lambda: _log_artifact(logger, folder))

    def save(self) -> None:
        """Write what is waiting."""
        self.attempt(self.logger.save)

    def finalize(self, status: str) -> None:
        """End."""
        self.attempt(lambda: self.logger.finalize(status))

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Tell of a checkpoint of Lightning's own callback."""
        self.attempt(lambda: self.logger.after_save_checkpoint(checkpoint_callback))


def table_loggers(trainer: Trainer) -> list[GuardedLogger]:
    """Those of a training that take tables and bundles."""
    guarded = (
        GuardedLogger(logger) if isinstance(logger, WandbLogger) else logger
        for logger in trainer.loggers
    )
    return [g for g in guarded if isinstance(g, GuardedLogger) and g.takes_tables]


def remember_run(trainer: Trainer, folder: Path) -> None:
    """Write the id of the W&B run into the run's folder, so that a resume goes on with it."""
    for guarded in table_loggers(trainer):
        logger = guarded.logger
        if not isinstance(logger, WandbLogger):
            continue
        found = guarded.attempt(lambda logger=logger: logger.experiment.id)  # type: ignore[misc]
        if isinstance(found, str):
            atomic_write(folder / RUN_ID, f"{found}\n")


def remembered_run(folder: Path) -> str | None:
    """The id of a run's W&B run, if it has one."""
    try:
        found = (folder / RUN_ID).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return found if re.fullmatch(r"[\w.-]{1,128}", found) else None


def use_run_folder(options: Any, folder: Path, is_resumed: bool) -> None:
    """Let the configured loggers write into the run's folder, and W&B continue its run.

    Args:
        options: `trainer.logger`: a logger's configuration, a list of them, or no logger.
        folder: the run's folder.
        is_resumed: whether the run has been there before.
    """
    for logger in options if isinstance(options, list) else [options]:
        arguments = getattr(logger, "init_args", None)
        if arguments is None:
            continue
        if "save_dir" in arguments and arguments["save_dir"] in (None, "."):
            arguments["save_dir"] = str(folder)
        if is_resumed and logger.class_path.endswith(".WandbLogger"):
            given = arguments.get("id") or arguments.get("version")
            arguments["id"] = given or remembered_run(folder)


def _log_artifact(logger: WandbLogger, folder: Path) -> None:
    import wandb

    artifact = wandb.Artifact(f"bundle-{logger.experiment.id}", type="bundle")
    artifact.add_dir(str(folder))
    logger.experiment.log_artifact(artifact)


class MetricsFile(Logger):
    """Writes `metrics.jsonl`: `{"step": ..., "time": ..., "train/loss": ..., ...}` a line.

    `step` is the number of optimizer steps taken and `time` is in seconds since 1970.

    Args:
        path: the file; its folder is made with the first line.

    Attributes:
        trainer: where the number of steps is read. What Lightning hands to a logger as `step` is
            one less; without a trainer, that is what is written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.trainer: Trainer | None = None

    @property
    def name(self) -> str:
        """The name of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """The name of the run's folder."""
        return self.path.parent.name

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: the run's `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line; figures that are not finite are written as text, since JSON has none.

        Raises:
            StorageError: with the path and the room on its disk.
        """
        if self.trainer is not None:
            step = self.trainer.global_step
        row: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
        for name, value in metrics.items():
            row[name] = value if math.isfinite(value) else str(value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @rank_zero_only
    def sync(self) -> None:
        """Wait until its lines are on the disk: a checkpoint must not be ahead of them."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that a resumed run will take again."""
        self._keep(lambda row: row["step"] <= step)

    @rank_zero_only
    def forget_validation(self, step: int) -> None:
        """Drop what a validation of this step, which will be done again, has logged."""
        self._keep(lambda row: row["step"] < step or not any(k.startswith("val/") for k in row))

    def _keep(self, is_kept: Callable[[dict[str, Any]], bool]) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if (row := _parse(line)) is not None and is_kept(row)]
        if len(kept) < len(lines):
            atomic_write(self.path, "".join(kept))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        return row if isinstance(row["step"], int) and line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        return None  # a line cut off by a crash
