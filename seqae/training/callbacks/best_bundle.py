"""Callbacks: throughput, sample reconstructions, the bundle of the best model, exact resume."""

from __future__ import annotations

import logging
import math
import os
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.bundle.io import write_bundle
from seqae.component import check_choice
from seqae.files import reporting, restore_folder
from seqae.training.callbacks.sample_reconstructions import sample_reconstructions
from seqae.training.callbacks.throughput import Throughput
from seqae.training.loggers import table_loggers
from seqae.training.module import AutoencoderModule

log = logging.getLogger(__name__)


class BundleWriter(Callback):
    """Keep the bundle of the best model so far; with W&B, hand it over as an artifact at the end.

    Args:
        folder: the bundle's folder.
        config: the run's resolved configuration, for `training.json`.
        monitor: the figure that says which model is the best; without validation the last model
            is kept.
        mode: whether the figure is best when it is `max` or `min`.
        samples: sentences for the self-test and the model card.
    """

    def __init__(
        self,
        folder: str | Path,
        config: dict[str, Any] | None = None,
        monitor: str = "val/token_accuracy",
        mode: str = "max",
        samples: int = 8,
    ) -> None:
        check_choice("mode", mode, ("max", "min"))
        self.folder, self.config, self.monitor, self.mode = Path(folder), config, monitor, mode
        self.samples = samples
        self.best: float | None = None
        self.is_schedule_finished = False  # what the best one was chosen under
        self.validated_step: int | None = None
        self._started = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far, and the step of the last validation."""
        return {
            "best": self.best,
            "is_schedule_finished": self.is_schedule_finished,
            "validated_step": self.validated_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.best, self.validated_step = state_dict["best"], state_dict["validated_step"]
        self.is_schedule_finished = state_dict["is_schedule_finished"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put right what a process that was killed has left: the best so far may not come again."""
        if stage == "fit" and trainer.is_global_zero:
            restore_folder(self.folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the stopwatch."""
        self._started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the bundle if this model is better."""
        if trainer.sanity_checking:
            return
        self.validated_step = trainer.global_step
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            raise ValueError(
                f"`monitor` must be a figure that validation logs, but it is {self.monitor} and "
                f"there are {', '.join(sorted(trainer.callback_metrics))}. Choose one of these."
            )
        assert isinstance(pl_module, AutoencoderModule)
        if self._is_better(
            float(value), pl_module.objective.is_schedule_finished(trainer.global_step)
        ):
            self.best = float(value)
            self.is_schedule_finished = pl_module.objective.is_schedule_finished(
                trainer.global_step
            )
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last model where no validation has chosen one."""
        if self.best is None:
            assert isinstance(pl_module, AutoencoderModule)
            pl_module.gather_weights()
            self._write(trainer, pl_module)

    def hand_over(self, trainer: Trainer) -> None:
        """Log the bundle as a W&B artifact, if a run is there; wandb uploads it, or keeps it."""
        if not trainer.is_global_zero or not self.folder.exists():
            return
        for logger in table_loggers(trainer):
            logger.log_bundle(self.folder)

    def _is_better(self, value: float, is_schedule_finished: bool) -> bool:
        if math.isnan(value):
            return False
        if self.best is None or is_schedule_finished > self.is_schedule_finished:
            return True
        return value > self.best if self.mode == "max" else value < self.best

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, AutoencoderModule)
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.startswith("train/")
        }
        throughput = [c for c in trainer.callbacks if isinstance(c, Throughput)]  # type: ignore[attr-defined]
        # Begun ones: the last may be a part, and the count stands still once training has ended.
        epochs = trainer.fit_loop.epoch_progress.current.started  # type: ignore[attr-defined]
        training = {
            "optimizer_steps": trainer.global_step,
            "epochs": epochs,
            "tokens": sum(c.tokens for c in throughput) * trainer.world_size,
            "seconds": round(time.perf_counter() - self._started, 1),
            "precision": str(trainer.precision),
            "processes": trainer.world_size,
            "device": pl_module.device.type,
            "threads": torch.get_num_threads(),
            "data": ", ".join(map(without_path, pl_module.datamodule.train_sources)),
            "config": shareable(self.config or {}),
        }
        selftest = [
            {"text": row["text"], "reconstruction": row["reconstruction"]}
            for row in sample_reconstructions(pl_module, self.samples)
        ]
        with reporting(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            write_bundle(
                self.folder,
                pl_module.unsharded.autoencoder,
                pl_module.datamodule.tokenizer,
                metrics,
                training,
                selftest,
                pl_module.datamodule.settings.cleaning.normalization,
            )


def shareable(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's configuration that others can use: no paths, nothing of this machine."""
    kept: dict[str, Any] = deepcopy(
        {key: config[key] for key in ("seed_everything", "model") if key in config}
    )
    if "trainer" in config:
        plain = (bool, int, float, str)
        told = {key: v for key, v in config["trainer"].items() if isinstance(v, plain)}
        kept["trainer"] = {key: v for key, v in told.items() if os.sep not in str(v)}
    if "data" in config:
        kept["data"] = {key: v for key, v in config["data"].items() if key != "cache_dir"}
        for split in ("train", "val", "test"):
            names = kept["data"].get(split)
            if isinstance(names, str):
                kept["data"][split] = without_path(names)
            elif names:
                kept["data"][split] = [without_path(name) for name in names]
    return kept


def without_path(source: str) -> str:
    """The name of a source as others may see it: of a file only the last part."""
    return source if source.startswith(("hf:", "nltk:")) else Path(source).name
