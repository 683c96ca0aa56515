"""Callbacks: throughput, sample reconstructions, the bundle of the best model, exact resume."""

from __future__ import annotations

import logging
import math
import os
import random
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from seqae.batch import Batch
from seqae.bundle.folder import write_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_choice, check_range
from seqae.terminal import visible
from seqae.training.module import AutoencoderModule
from seqae.training.precision import in_float32

SHOWN_WIDTH = 60  # characters of a sample sentence on the terminal

log = logging.getLogger(__name__)


class Throughput(Callback):
    """Log `train/tokens_per_second`: target tokens of all ranks over time spent in training.

    Time spent in validation is not counted; waiting for data and saving checkpoints is.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._tokens = 0
        self._seconds = 0.0
        self._mark: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The tokens seen so far, by this rank."""
        return {"tokens": self.tokens}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.tokens = state_dict["tokens"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the stopwatch."""
        self._mark = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start it again."""
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the batch; log every `log_every_n_steps`."""
        self.tokens += batch.num_targets
        self._tokens += batch.num_targets
        every = getattr(trainer, "log_every_n_steps", 0)
        if every and trainer.global_step % every == 0 and self._mark is not None:
            self._stop()
            speed = torch.tensor(self._tokens / max(self._seconds, 1e-9), device=pl_module.device)
            total = trainer.strategy.reduce(speed, reduce_op="sum")
            pl_module.log("train/tokens_per_second", total)
            self._tokens, self._seconds, self._mark = 0, 0.0, time.perf_counter()

    def _stop(self) -> None:
        if self._mark is not None:
            self._seconds += time.perf_counter() - self._mark
            self._mark = None


class SampleReconstructions(Callback):
    """Show, after each validation, what the model writes back for a few sentences.

    The sentences are spread evenly over the validation set and stay the same, so that one can
    watch them come right. To the terminal, and to W&B as the table `reconstructions`.

    Args:
        count: how many sentences; 0 shows none.
    """

    def __init__(self, count: int = 4) -> None:
        check_range("count", count, 0, 1000)
        self.count = count

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them back and show them."""
        if trainer.sanity_checking or not trainer.is_global_zero or not self.count:
            return
        rows = sample_reconstructions(pl_module, self.count)
        width = min(SHOWN_WIDTH, max(len(row["expected"]) for row in rows))
        for row in rows:
            same = "=" if row["expected"] == row["reconstruction"] else "≠"
            sides = ("expected", "reconstruction")
            text, written = (visible(row[side], SHOWN_WIDTH) for side in sides)
            log.info(f"  {text:{width}} {same} {written}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                names = ["text", "expected", "reconstruction"]
                if all(row["text"] == row["expected"] for row in rows):
                    names.remove("expected")
                cells = [[trainer.global_step, *(row[name] for name in names)] for row in rows]
                logger.log_table("reconstructions", ["step", *names], cells)


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
        self.is_settled = False  # what the best one was chosen under
        self.validated_step: int | None = None
        self._started = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far, and the step of the last validation."""
        return {
            "best": self.best,
            "is_settled": self.is_settled,
            "validated_step": self.validated_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.best, self.validated_step = state_dict["best"], state_dict["validated_step"]
        self.is_settled = state_dict["is_settled"]

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
        if self._is_better(float(value), pl_module.objective.is_settled(trainer.global_step)):
            self.best = float(value)
            self.is_settled = pl_module.objective.is_settled(trainer.global_step)
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last model where no validation has chosen one."""
        if self.best is None:
            self._write(trainer, pl_module)

    def hand_over(self, trainer: Trainer) -> None:
        """Log the bundle as a W&B artifact, if a run is there; wandb uploads it, or keeps it."""
        if not trainer.is_global_zero or not self.folder.exists():
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                import wandb

                artifact = wandb.Artifact(f"bundle-{logger.experiment.id}", type="bundle")
                artifact.add_dir(str(self.folder))
                logger.experiment.log_artifact(artifact)

    def _is_better(self, value: float, is_settled: bool) -> bool:
        if math.isnan(value):
            return False
        if self.best is None or is_settled > self.is_settled:
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
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_bundle(
            self.folder,
            in_float32(pl_module.autoencoder),
            pl_module.datamodule.tokenizer,
            metrics,
            training,
            [
                {"text": row["text"], "reconstruction": row["reconstruction"]}
                for row in sample_reconstructions(pl_module, self.samples)
            ],
            pl_module.datamodule.settings.cleaning.normalization,
        )


class RandomState(Callback):
    """Save the state of every rank's random number generators, and restore it on resume.

    Lightning's checkpoints hold none, so that dropout goes another way after a resume.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """The states of all ranks; every rank must call this, as Lightning does."""
        numpy = np.random.get_state()
        state = {
            "torch": torch.get_rng_state(),
            "python": random.getstate(),
            "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy],
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        states: list[Any] = [state]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, state)
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until the first step: what comes before it may draw numbers too."""
        self._restored = state_dict["ranks"]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore this rank's state, once; on another number of ranks there is none to restore."""
        if len(self._restored) == trainer.world_size:
            state = self._restored[trainer.global_rank]
            torch.set_rng_state(state["torch"])
            random.setstate(_as_tuple(state["python"]))
            name, key, *rest = state["numpy"]
            np.random.set_state((name, np.asarray(key, np.uint32), *rest))
            if state["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda"])
        self._restored = []


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


def sample_reconstructions(pl_module: LightningModule, count: int) -> list[dict[str, str]]:
    """Sentences spread over the validation set (or the training set), and what is written back.

    `expected` is the text itself, or for paired text what is to be written for it.
    """
    assert isinstance(pl_module, AutoencoderModule)
    datamodule = pl_module.datamodule
    corpus = datamodule.corpora["val" if len(datamodule.corpora["val"]) else "train"]
    chosen = np.unique(np.linspace(0, len(corpus) - 1, count, dtype=np.int64))
    sides = [
        datamodule.tokenizer.decode([side[int(index)].tolist() for index in chosen])
        for side in (corpus, corpus.target or corpus)
    ]
    model = TextAutoencoder(in_float32(pl_module.autoencoder), datamodule.tokenizer)
    written = model.reconstruct(sides[0], too_long="truncate")
    names = ("text", "expected", "reconstruction")
    return [dict(zip(names, row, strict=True)) for row in zip(*sides, written, strict=True)]


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value
