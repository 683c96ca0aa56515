"""What all ranks do together with tensors."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn


def gather_ranks(values: Tensor) -> Tensor:
    """Gather (...) of each rank, on all ranks: (ranks, ...)."""
    gathered = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, values.contiguous())
    return torch.stack(gathered)


def average_buffers(module: nn.Module) -> None:
    """Set each floating-point buffer, such as a moving average, to its mean over the ranks."""
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(gather_ranks(buffer).mean(dim=0))


def token_weight(loss: Tensor, num_targets: int, strategy: Strategy) -> tuple[Tensor, Tensor]:
    """Weigh the loss of this rank, so that DDP's mean over ranks is the mean over their tokens.

    Args:
        loss: (), the mean over this rank's target tokens.
        num_targets: how many there are.
        strategy: reduces over the ranks.

    Returns:
        The weight, (), and a number, (), that is NaN on all ranks if the loss of any is not finite.
    """
    tokens = torch.full((), num_targets, dtype=loss.dtype, device=loss.device)
    mean = strategy.reduce(torch.stack([tokens, loss.detach() * 0]), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return tokens / mean[0], mean[1]
