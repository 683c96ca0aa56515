"""What the processes of a training tell one another: the few collectives that it calls itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed
from lightning.pytorch import Trainer
from torch import Tensor, nn


class RankWeight(NamedTuple):
    """The weight of a rank's loss in the mean over ranks.

    Attributes:
        weight: (), or a number.
        sign: (), NaN if the loss of any rank is NaN or infinite, and the same on all ranks; None
            for a single process.
    """

    weight: Tensor | float
    sign: Tensor | None


def rank_weight(loss: Tensor, num_targets: int, trainer: Trainer) -> RankWeight:
    """Weight the loss of a batch, so that every target token of all ranks counts the same.

    DDP takes the plain mean over ranks; with this weight it is the mean over all their tokens.

    Args:
        loss: (), of this rank's batch.
        num_targets: target tokens of this rank's batch.
        trainer: knows the ranks.
    """
    if trainer.world_size == 1:
        return RankWeight(1.0, None)
    tokens = torch.full((), num_targets, dtype=loss.dtype, device=loss.device)
    sign = loss.detach() * 0  # NaN if the loss is NaN or infinite, and then so is the mean
    mean = trainer.strategy.reduce(torch.stack([tokens, sign]), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return RankWeight(tokens / mean[0], mean[1])


def gather_ranks(values: Tensor) -> Tensor:
    """Gather (...) from each rank, on all ranks: (ranks, ...)."""
    gathered = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, values.contiguous())
    return torch.stack(gathered)


def average_buffers(module: nn.Module) -> None:
    """Give all ranks the mean of their moving averages; each has collected its own."""
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(gather_ranks(buffer).mean(dim=0))
