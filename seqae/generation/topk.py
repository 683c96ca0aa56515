"""The largest of many values, found through the maxima of blocks: one pass of vector instructions.

On a CPU torch's `argmax` and `topk` compare one value at a time. At ten thousand words that takes
a twentieth of a greedy step and a tenth of a beam's.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
MANY = 2**10  # values, from which on the detour pays


def fast_argmax(values: Tensor) -> Tensor:
    """`values.argmax(dim=1)` of (rows, N); of equals the first."""
    whole = values.shape[1] // BLOCK * BLOCK
    if whole < MANY:
        return values.argmax(dim=1)
    blocks = values[:, :whole].reshape(len(values), -1, BLOCK)
    highest, block = blocks.amax(dim=2).max(dim=1)
    inside = blocks[torch.arange(len(values), device=values.device), block]
    index = block * BLOCK + inside.argmax(dim=1)
    if whole == values.shape[1]:
        return index
    rest, place = values[:, whole:].max(dim=1)
    return index.where(highest >= rest, place + whole)


def fast_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`values.topk(count, dim=1)` of (rows, N), or of all N; on a CPU faster than it.

    The k largest values lie in the k blocks with the largest maxima, and a maximum takes one pass
    of vector instructions.
    """
    count = min(count, values.shape[1])
    whole = values.shape[1] // BLOCK * BLOCK
    if whole // BLOCK <= 4 * count:
        found = values.topk(count, dim=1)
        return found.values, found.indices
    blocks = values[:, :whole].reshape(len(values), -1, BLOCK)
    best = blocks.amax(dim=2).topk(count, dim=1).indices
    inside = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
    found = torch.cat([inside, values[:, whole:]], dim=1).topk(count, dim=1)
    block = found.indices // BLOCK
    index = best.gather(1, block.clamp(max=count - 1)) * BLOCK + found.indices % BLOCK
    behind = whole + found.indices - count * BLOCK
    return found.values, index.where(block < count, behind)
