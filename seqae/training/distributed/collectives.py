"""What all ranks do together with tensors."""

from __future__ import annotations

import torch
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
