"""MetricsFile writes every metric to metrics.jsonl; GuardedLogger lets other loggers fail.

Since metrics.jsonl is complete, another logger is a convenience that must not end the training:
Weights & Biases may be out of reach, its disk full, or its login expired in the third week.
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
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seqae.bundle.sharing.address import ArtifactAddress
from seqae.bundle.sharing.wandb_upload import artifact_of, link
from seqae.extras import extra
from seqae.files import atomic_write, cannot_write
from seqae.untrusted import read_capped

MAX_FAILURES = 3  # in a row, before a logger is given up: each may take a minute
RUN_ID = "wandb_run_id"  # file in the run's folder

log = logging.getLogger(__name__)


def _forward(name: str) -> Any:
    """Make a method that calls the method of that name on the other logger."""

    def method(self: GuardedLogger, *args: Any, **kwargs: Any) -> Any:
        return self.attempt(lambda: getattr(self.logger, name)(*args, **kwargs))

    return method


def _forward_property(name: str) -> Any:
    return property(lambda self: self.attempt(lambda: getattr(self.logger, name)))


class GuardedLogger(Logger):
    """Forwards everything to another logger; if that fails, warns once and lets training continue.

    Args:
        logger: the other logger; after three failures in a row it is not called any more.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger: Any = logger  # W&B's has methods that Logger does not know
        self._failures = 0
        self._has_warned = False

    name = _forward_property("name")
    version = _forward_property("version")
    save_dir = _forward_property("save_dir")
    log_metrics = _forward("log_metrics")
    log_hyperparams = _forward("log_hyperparams")
    log_graph = _forward("log_graph")
    save = _forward("save")
    finalize = _forward("finalize")
    after_save_checkpoint = _forward("after_save_checkpoint")

    def attempt(self, call: Callable[[], Any], otherwise: Any = None) -> Any:
        """Return what `call` returns, or `otherwise` if it fails."""
        if self._failures >= MAX_FAILURES:
            return otherwise
        try:
            result = call()
        except Exception as error:  # whatever a logger raises
            self._failures += 1
            if not self._has_warned:
                self._has_warned = True
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                log.warning(
                    f"`trainer.logger`: {type(self.logger).__name__} failed ({reason}). The "
                    f"training goes on; metrics.jsonl has all metrics."
                )
            return otherwise
        self._failures = 0
        return result

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table to Weights & Biases."""
        self.attempt(lambda: self.logger.log_table(name, [*columns], [[*row] for row in rows]))

    def log_bundle(
        self, folder: Path, steps: int, collection: ArtifactAddress | None = None
    ) -> None:
        """Log a bundle to Weights & Biases as a model, which is uploaded, or kept offline.

        Args:
            folder: the bundle.
            steps: the optimizer steps after which it was written.
            collection: of a registry, to which it is linked.
        """
        self.attempt(lambda: _log_artifact(self.logger, folder, steps, collection))


def table_loggers(trainer: Trainer) -> list[GuardedLogger]:
    """List the loggers of a training that take tables and bundles: those of Weights & Biases."""
    guarded = (
        logger if isinstance(logger, GuardedLogger) else GuardedLogger(logger)
        for logger in trainer.loggers
    )
    return [each for each in guarded if isinstance(each.logger, WandbLogger)]


def remember_run(trainer: Trainer, folder: Path) -> None:
    """Write the id of the W&B run into the run's folder, so that a resumed run continues it."""
    for guarded in table_loggers(trainer):
        run_id = guarded.attempt(lambda logger=guarded.logger: logger.experiment.id)  # type: ignore[misc]
        if isinstance(run_id, str):
            atomic_write(folder / RUN_ID, f"{run_id}\n")


def remembered_run(folder: Path) -> str | None:
    """Return the id of the W&B run that a run's folder belongs to, if there is one."""
    try:
        run_id = read_capped(folder / RUN_ID).decode("utf-8").strip()
    except (OSError, ValueError):
        return None
    return run_id if re.fullmatch(r"[\w.-]{1,128}", run_id) else None


def use_run_folder(options: Any, folder: Path, is_resumed: bool) -> None:
    """Let the configured loggers write into the run's folder, and W&B continue its run.

    Args:
        options: `trainer.logger`: a logger's configuration, a list of them, or no logger.
        folder: the run's folder.
        is_resumed: whether the run has been there before.
    """
    for logger in options if isinstance(options, list) else [options]:
        if str(getattr(logger, "class_path", "")).endswith(".WandbLogger"):
            with extra("wandb"):
                import wandb  # noqa: F401 - the logger would say it in four lines
        arguments = getattr(logger, "init_args", None)
        if arguments is None:
            continue
        if "save_dir" in arguments and arguments["save_dir"] in (None, "."):
            arguments["save_dir"] = str(folder)
        if is_resumed and logger.class_path.endswith(".WandbLogger"):
            given = arguments.get("id") or arguments.get("version")
            arguments["id"] = given or remembered_run(folder)


def _log_artifact(
    logger: WandbLogger, folder: Path, steps: int, collection: ArtifactAddress | None
) -> None:
    run = logger.experiment
    artifact = artifact_of(folder, f"bundle-{run.id}")
    logged = run.log_artifact(artifact, aliases=["latest", "best", f"step-{steps}"])
    if collection is not None:
        logged.wait()
        link(run, logged, collection)


class MetricsFile(Logger):
    """Writes `metrics.jsonl`, with lines `{"step": ..., "time": ..., "train/loss": ..., ...}`.

    `step` is the number of optimizer steps taken and `time` is in seconds since 1970.

    Args:
        path: the file; its folder is made with the first line.

    Attributes:
        trainer: gives the number of steps. The `step` that Lightning passes to a logger is one
            less; it is written only if there is no trainer.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.trainer: Trainer | None = None

    @property
    @override
    def name(self) -> str:
        return "metrics"

    @property
    @override
    def version(self) -> str:
        return self.path.parent.name

    @property
    @override
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the run's `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line; numbers that are not finite become text, since JSON has none.

        Raises:
            StorageError: if it cannot be written; it names the path and the free space.
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
        """Wait until all lines are on the disk: a checkpoint must not be ahead of them."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop the rows after this step, which a resumed run will write again."""
        self._keep(lambda row: row["step"] <= step)

    @rank_zero_only
    def forget_validation(self, step: int) -> None:
        """Drop the rows of a validation at this step, which is about to be repeated."""
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
