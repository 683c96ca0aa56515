"""MetricsFile: every logged figure as a line of JSON, whatever other loggers do."""

from __future__ import annotations

import json
import math
import os
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from seqae.training.storage import cannot_write, write_text


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
            write_text(self.path, "".join(kept))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        return row if isinstance(row["step"], int) and line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        return None  # a line cut off by a crash
