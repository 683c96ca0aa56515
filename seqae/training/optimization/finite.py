"""Refuse NaN and infinity: a loss stops the training before the update, weights are not saved.

Asking a GPU for a number waits until it has done everything that was asked of it before. So a loss
is copied when the forward pass ends and looked at just before the optimizer steps: by then the
backward pass has been queued, and the GPU has work while this process waits for the forward pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from seqae.training.distributed.fsdp import local


def check_finite(trainer: Trainer) -> None:
    """Refuse to save useless weights over older ones that are good.

    Raises:
        ValueError: on all ranks, if a weight or a moving average of any is NaN or infinite.
    """
    module = trainer.lightning_module
    tensors = itertools.chain(module.named_parameters(), module.named_buffers())
    name = first_non_finite(tensors)
    if not trainer.strategy.reduce_boolean_decision(name is None, all=True):
        raise ValueError(
            f"`{name or 'a weight of another process'}` must be finite to be saved, but it has "
            f"NaN or infinity at step {trainer.global_step:,}. Go on from the last checkpoint with "
            f"a lower `model.learning_rate`."
        )


def first_non_finite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """Return the name of the first tensor that has a NaN or an infinity, if any has."""
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and not torch.isfinite(local(tensor)).all():
            return name
    return None


class _PendingLoss(NamedTuple):
    loss: Tensor  # () on its device
    is_finite: Tensor  # () on the CPU, perhaps still on its way there
    arrival: torch.Event | None
    batch_idx: int
    is_shared: bool  # whether all ranks know of it


class LossCheck:
    """Notes losses without waiting for them, and checks them before the optimizer steps."""

    def __init__(self) -> None:
        self._pending: list[_PendingLoss] = []

    def note(self, loss: Tensor, batch_idx: int, indicator: Tensor | None = None) -> None:
        """Note a loss, without waiting for the device.

        Args:
            loss: ().
            batch_idx: number of its batch.
            indicator: (), the same on all ranks, not finite if the loss of any rank is not; by
                default the loss itself.
        """
        loss = loss.detach()
        is_finite, arrival = torch.isfinite(loss if indicator is None else indicator), None
        if loss.device.type != "cpu":
            is_finite = is_finite.to("cpu", non_blocking=True)
            arrival = torch.Event(loss.device.type)
            arrival.record()
        is_shared = indicator is not None
        self._pending.append(_PendingLoss(loss, is_finite, arrival, batch_idx, is_shared))

    def check(
        self, step: int, epoch: int, rank: int, gather_ranks: Callable[[Tensor], Tensor]
    ) -> None:
        """Check the losses noted since the last call.

        Args:
            step: optimizer steps taken.
            epoch: number of the epoch.
            rank: of this process.
            gather_ranks: gathers a tensor of all ranks.

        Raises:
            ValueError: naming step, batch and rank, if a loss is not finite.
        """
        pending, self._pending = self._pending, []
        for noted in pending:
            if noted.arrival is not None:
                noted.arrival.synchronize()
            if noted.is_finite:
                continue
            loss = float(noted.loss)
            if noted.is_shared:
                losses = gather_ranks(noted.loss)
                rank = int(losses.isfinite().logical_not().nonzero()[0])
                loss = float(losses[rank])
            raise ValueError(
                f"`loss` must be finite, but it is {loss:g} at step {step:,}, batch "
                f"{noted.batch_idx:,} of epoch {epoch}, on process {rank}. Go on from the last "
                f"checkpoint with a lower `model.learning_rate`."
            )
