"""BundleWriter: keep the bundle of the best model so far, and complete it when training ends."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.bundle.io import load, write_bundle
from seqae.bundle.prior_draws import fit_priors, usual_priors
from seqae.bundle.probe_sentences import probe_rows
from seqae.bundle.rewriting import replace_training
from seqae.bundle.stored_priors import add_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_choice
from seqae.data.datamodule import TextDataModule
from seqae.data.sources.discovery import without_path
from seqae.files import reporting, restore_folder
from seqae.priors import NeighbourhoodPrior
from seqae.priors.base import can_fit
from seqae.training.callbacks.latent_tables import spread
from seqae.training.callbacks.sample_reconstructions import sample_reconstructions
from seqae.training.callbacks.throughput import Throughput
from seqae.training.logs.loggers import table_loggers
from seqae.training.logs.wandb_options import WandbOptions
from seqae.training.module import AutoencoderModule
from seqae.training.run.bundle_record import CardOptions, describe_corpus, describe_hardware

FEWEST_FITTED = 1000  # sentences to which priors are fitted after however short a training


class BundleWriter(Callback):
    """Write the bundle whenever a validation finds a better model; after training, complete it.

    Args:
        folder: the bundle's folder.
        config: the run's resolved configuration, for `training.json`.
        monitor: the metric that chooses the best model; without validation the last model is kept.
        mode: whether `max` or `min` of the metric is best.
        samples: number of sentences for the self-test and the model card.
        card: licence and language as given, and whether the sentences are those of the data.

    Attributes:
        on_written: called with the folder when the bundle is new or has changed.
    """

    def __init__(
        self,
        folder: str | Path,
        config: dict[str, Any] | None = None,
        monitor: str = "val/token_accuracy",
        mode: str = "max",
        samples: int = 8,
        card: CardOptions | None = None,
    ) -> None:
        check_choice("mode", mode, ("max", "min"))
        self.folder, self.config, self.monitor, self.mode = Path(folder), config, monitor, mode
        self.samples, self.card = samples, card or CardOptions()
        self._said = self.card.to_plain()
        self._is_resumed = False
        self.best: float | None = None
        self.is_schedule_finished = False  # when the best model was chosen
        self.validated_step: int | None = None
        self.on_written: Callable[[Path], None] | None = None
        self._started = time.perf_counter()

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "is_schedule_finished": self.is_schedule_finished,
            "validated_step": self.validated_step,
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.validated_step = state_dict["best"], state_dict["validated_step"]
        self.is_schedule_finished = state_dict["is_schedule_finished"]
        self._is_resumed = True

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Recover the bundle after a kill in the middle of a replacement; it may stay the best."""
        if stage == "fit" and trainer.is_global_zero:
            restore_folder(self.folder)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.perf_counter()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.validated_step = trainer.global_step
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            raise ValueError(
                f"`monitor` must be a metric that validation logs, but it is {self.monitor} and "
                f"there are {', '.join(sorted(trainer.callback_metrics))}. Choose one of these."
            )
        assert isinstance(pl_module, AutoencoderModule)
        is_finished = pl_module.objective.is_schedule_finished(trainer.global_step)
        if self._is_better(float(value), is_finished):
            self.best, self.is_schedule_finished = float(value), is_finished
            self._write(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last model if no validation has chosen one."""
        if self.best is None:
            assert isinstance(pl_module, AutoencoderModule)
            pl_module.trained.copy_weights()
            self._write(trainer, pl_module)

    def attach_priors(self, trainer: Trainer, datamodule: TextDataModule, limit: int) -> None:
        """Fit priors to training latents and add them to the bundle, if there is one.

        A short training is not followed by minutes of fitting: no more sentences are taken than it
        has read, counted in tokens, but FEWEST_FITTED where there are so many.

        Args:
            trainer: has counted the tokens.
            datamodule: provides the training sentences.
            limit: number of sentences to encode at most, spread evenly; 0 adds none.
        """
        if not limit or not self.folder.exists():
            return
        corpus = datamodule.corpora["train"]
        targets = max(1, corpus.num_tokens - len(corpus))  # all tokens but each bos
        read = _trained_tokens(trainer) * len(corpus) // targets
        limit = min(limit, max(FEWEST_FITTED, read))
        # A run that was killed here may have left half a prior.
        model = load(self.folder, with_priors=False)
        if model.autoencoder.reads_memory:
            return  # a latent of its own cannot be decoded
        latents = model.encode(spread(datamodule, "train", limit), "truncate")
        if can_fit(latents):
            usual = usual_priors(model.autoencoder)
            if not self.card.examples:
                usual = [prior for prior in usual if not isinstance(prior, NeighbourhoodPrior)]
            priors = fit_priors(usual, latents)
            with reporting(self.folder):
                add_priors(self.folder, priors)
            self._tell()

    def record_run(self, trainer: Trainer) -> None:
        """Write into the bundle what the whole run took: its best model may be an early one."""
        if not self.folder.exists():
            return
        whole = {
            "optimizer_steps": trainer.global_step,
            "seconds": round(time.perf_counter() - self._started, 1),
        }
        with reporting(self.folder):
            replace_training(self.folder, {"whole_run": whole})
        self._tell()

    def log_artifact(
        self, trainer: Trainer, datamodule: TextDataModule, options: WandbOptions
    ) -> None:
        """Log the bundle as a W&B artifact, and latents, if the run has a W&B logger.

        Args:
            trainer: has the loggers.
            datamodule: provides the validation sentences.
            options: what beside the bundle is logged.
        """
        loggers = table_loggers(trainer)
        if not trainer.is_global_zero or not self.folder.exists() or not loggers:
            return
        model = load(self.folder, with_priors=False)
        steps = model.details["training"]["optimizer_steps"]
        split: Literal["val", "train"] = "val" if len(datamodule.corpora["val"]) else "train"
        texts = spread(datamodule, split, options.latents) if options.latents else []
        latents = model.encode(texts, "truncate") if texts else None
        for logger in loggers:
            logger.log_bundle(self.folder, steps, options.collection)
            if latents is not None:
                columns = ["text", *(f"latent_{i}" for i in range(latents.shape[1]))]
                rows = zip(texts, latents.tolist(), strict=True)
                logger.log_table("latents", columns, [[text, *row] for text, row in rows])

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
        # Started, not completed, epochs: the last may be partial. Training's end changes no count.
        epochs = trainer.fit_loop.epoch_progress.current.started  # type: ignore[attr-defined]
        training = {
            "optimizer_steps": trainer.global_step,
            "epochs": epochs,
            "tokens": _trained_tokens(trainer),
            "seconds": round(time.perf_counter() - self._started, 1),
            "precision": str(trainer.precision),
            "processes": trainer.world_size,
            "device": pl_module.device.type,
            "threads": torch.get_num_threads(),
            "hardware": describe_hardware(pl_module.device),
            "data": ", ".join(map(without_path, pl_module.datamodule.source_names["train"])),
            "corpus": describe_corpus(pl_module.datamodule),
            **({"is_paired": True} if pl_module.datamodule.is_paired else {}),
            **({"resumed": True} if self._is_resumed else {}),
            **({"card": self._said} if self._said else {}),
            "config": shareable(self.config or {}),
        }
        if pl_module.started_from is not None:
            training["init"] = pl_module.started_from
        selftest = self._sentences(pl_module)
        with reporting(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            write_bundle(
                self.folder,
                pl_module.unsharded.autoencoder,
                pl_module.datamodule.tokenizer,
                metrics,
                training,
                selftest,
                pl_module.datamodule.cleaning.normalization,
            )
        self._tell()

    def _tell(self) -> None:
        if self.on_written is not None:
            self.on_written(self.folder)

    def _sentences(self, pl_module: AutoencoderModule) -> list[dict[str, str]]:
        """Reconstruct sentences of the data for the self-test, or of our own."""
        if self.card.examples:
            rows = sample_reconstructions(pl_module, self.samples)
            return [{key: row[key] for key in ("text", "reconstruction")} for row in rows]
        data, model = pl_module.datamodule, pl_module.unsharded.autoencoder
        normalization = data.cleaning.normalization
        return probe_rows(TextAutoencoder(model, data.tokenizer, None, normalization))


def shareable(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a run's configuration that others can use: no paths of this machine."""
    kept: dict[str, Any] = deepcopy(
        {key: config[key] for key in ("seed_everything", "model") if key in config}
    )
    if "trainer" in config:
        plain = (bool, int, float, str)
        kept["trainer"] = {
            key: value
            for key, value in config["trainer"].items()
            if isinstance(value, plain) and os.sep not in str(value)
        }
    if "data" in config:
        kept["data"] = {key: v for key, v in config["data"].items() if key != "cache_dir"}
        for split in ("train", "val", "test"):
            names = kept["data"].get(split)
            if isinstance(names, str):
                kept["data"][split] = without_path(names)
            elif names:
                kept["data"][split] = [without_path(name) for name in names]
        tokenizer = kept["data"].get("tokenizer")
        if isinstance(tokenizer, dict) and "path" in tokenizer:  # a TokenizerFile
            kept["data"]["tokenizer"] = tokenizer | {"path": without_path(tokenizer["path"])}
    return kept


def _trained_tokens(trainer: Trainer) -> int:
    """Count the target tokens that all ranks have trained on, as far as the callback saw them."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    counted = [callback.tokens for callback in callbacks if isinstance(callback, Throughput)]
    return sum(counted) * trainer.world_size
