"""Callbacks: throughput, sample reconstructions, the bundle of the best model, exact resume."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.batch import Batch


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
