"""Throughput: log the tokens per second of all ranks.

Lightning's ThroughputMonitor (2.6) assumes that all batches have the same size, waits for the GPU
at every batch, and extrapolates from rank 0.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.batch import Batch


class Throughput(Callback):
    """Log `train/tokens_per_second`: target tokens of all ranks over time spent in training.

    Time spent in validation is not counted; waiting for data and saving checkpoints is.
    """

    def __init__(self) -> None:
        self.tokens = 0  # of this rank, in the whole training
        self._tokens = 0  # of this rank, since the last log
        self._seconds = 0.0  # spent in training since the last log
        self._started: float | None = None

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"tokens": self.tokens}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.tokens = state_dict["tokens"]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    @override
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
        if every and trainer.global_step % every == 0 and self._started is not None:
            self._stop()
            speed = torch.tensor(self._tokens / max(self._seconds, 1e-9), device=pl_module.device)
            total = trainer.strategy.reduce(speed, reduce_op="sum")
            pl_module.log("train/tokens_per_second", total)
            self._tokens, self._seconds = 0, 0.0
            self._start()

    def _start(self) -> None:
        self._started = time.perf_counter()

    def _stop(self) -> None:
        if self._started is not None:
            self._seconds += time.perf_counter() - self._started
            self._started = None
