"""A training on a stream, wired to Lightning as TextDataModule does it; a program of its own.

    python stream_training.py FOLDER TEXT DEVICES WORKERS STEPS [CHECKPOINT]

Each rank writes down the sentences of its steps; a checkpoint is saved after every step.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small import Recorder
from test_stream import make, use_small_blocks
from torch.utils.data import DataLoader

from seqae.batch import Batch
from seqae.data.streaming.stream import StreamBatch, merge_states


class StreamData(LightningDataModule):
    """Hands over a stream's batches, and keeps its state."""

    def __init__(self, text: str, num_workers: int) -> None:
        super().__init__()
        self.stream, self.num_workers = make(text), num_workers

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        return self.stream.loader(trainer.global_rank, trainer.world_size, self.num_workers)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.stream.consumed(batch) if isinstance(batch, StreamBatch) else batch

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        state = self.stream.rank_state(without_last=progress.ready > progress.processed)
        states = [state]
        if torch.distributed.is_initialized():
            states = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(states, state)
        return merge_states(states)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stream.load_state_dict(state_dict)


class Model(LightningModule):
    """The smallest model that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(300, 1)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.embedding(batch.token_ids).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(
    folder: str,
    text: str,
    devices: int,
    num_workers: int,
    steps: int,
    path: str | None = None,
    steps_per_epoch: int | None = None,
) -> None:
    """Train up to so many steps in all, from the begin or from a checkpoint."""
    every_step = ModelCheckpoint(
        folder,
        filename="{step}",
        save_top_k=-1,
        every_n_train_steps=1,
        save_on_train_epoch_end=False,
    )
    Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_steps=steps,
        limit_train_batches=steps_per_epoch,
        callbacks=[Recorder(folder), every_step],
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Model(), datamodule=StreamData(text, num_workers), ckpt_path=path, weights_only=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, text, devices, num_workers, steps, *path = sys.argv[1:]
    Path(folder).mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        use_small_blocks(patch)
        train(folder, text, int(devices), int(num_workers), int(steps), *path)
