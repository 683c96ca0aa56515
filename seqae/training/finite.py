"""What is NaN or infinite is neither saved nor loaded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from seqae.training.distributed.fsdp import local


def check_finite(trainer: Trainer) -> None:
    """Refuse to save weights that are of no use, in the place of older ones that are.

    Raises:
        ValueError: on all ranks, if a weight or a moving average of any is NaN or infinite.
    """
    module = trainer.lightning_module
    found = not_finite(itertools.chain(module.named_parameters(), module.named_buffers()))
    if not trainer.strategy.reduce_boolean_decision(found is None, all=True):
        raise ValueError(
            f"`{found or 'a weight of another process'}` must be finite to be saved, but it has "
            f"NaN or infinity at step {trainer.global_step:,}. Go on from the last checkpoint with "
            f"a lower `model.learning_rate`."
        )


def not_finite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """The name of the first tensor that has a NaN or an infinity, if there is one."""
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and not torch.isfinite(local(tensor)).all():
            return name
    return None


class _Noted(NamedTuple):
    loss: Tensor  # () on its device
    is_finite: Tensor  # () on the CPU, perhaps still on its way there
    arrived: torch.Event | None
    batch_idx: int
    is_shared: bool  # whether all processes know


class LossCheck:
    """Takes note of losses, and looks at them later."""

    def __init__(self) -> None:
        self._noted: list[_Noted] = []

    def note(self, loss: Tensor, batch_idx: int, sign: Tensor | None = None) -> None:
        """Remember a loss; waits for nothing.

        Args:
            loss: ().
            batch_idx: of which batch.
            sign: (), not finite if the loss of any process is not, the same on all of them; by
                default the loss itself.
        """
        loss = loss.detach()
        is_finite, arrived = torch.isfinite(loss if sign is None else sign), None
        if loss.device.type != "cpu":
            is_finite = is_finite.to("cpu", non_blocking=True)
            arrived = torch.Event(loss.device.type)
            arrived.record()
        self._noted.append(_Noted(loss, is_finite, arrived, batch_idx, sign is not None))

    def check(
        self, step: int, epoch: int, rank: int, over_ranks: Callable[[Tensor], Tensor]
    ) -> None:
        """Look at what was noted since the last call.

        Args:
            step: optimizer steps taken.
            epoch: the epoch.
            rank: of this process.
            over_ranks: gathers a tensor of all processes.

        Raises:
            ValueError: naming the place, if a loss is not finite.
        """
        noted, self._noted = self._noted, []
        for one in noted:
            if one.arrived is not None:
                one.arrived.synchronize()
            if one.is_finite:
                continue
            loss = float(one.loss)
            if one.is_shared:
                losses = over_ranks(one.loss)
                rank = int(losses.isfinite().logical_not().nonzero()[0])
                loss = float(losses[rank])
            raise ValueError(
                f"`loss` must be finite, but it is {loss:g} at step {step:,}, batch "
                f"{one.batch_idx:,} of epoch {epoch}, on process {rank}. Go on from the last "
                f"checkpoint with a lower `model.learning_rate`."
            )
