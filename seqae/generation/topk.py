"""Argmax and top-k of many values, found through the maxima of blocks.

On a CPU torch's `argmax` and `topk` compare one value at a time, while the maxima of blocks take
one pass of vector instructions. At ten thousand words torch's take a twentieth of a greedy step and
a tenth of a beam's.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
CACHEFUL = 2**17  # float32, half a MiB
MIN_VALUES, MIN_ALL_VALUES = 2**8, 2**14  # of a row and of all; fewer are not worth the detour


def fast_argmax(values: Tensor) -> Tensor:
    """Compute `values.argmax(dim=1)` of (rows, N), (rows,); of equal values the first."""
    size = values.shape[1] // BLOCK * BLOCK  # the values that fill whole blocks
    if size < MIN_VALUES or values.numel() < MIN_ALL_VALUES:
        return values.argmax(dim=1)
    blocks = values[:, :size].reshape(len(values), -1, BLOCK)
    highest, block = blocks.amax(dim=2).max(dim=1)
    block_values = blocks[torch.arange(len(values), device=values.device), block]
    index = block * BLOCK + block_values.argmax(dim=1)
    if size == values.shape[1]:
        return index
    highest_rest, rest_index = values[:, size:].max(dim=1)
    return index.where(highest >= highest_rest, rest_index + size)


def log_sum_exp(values: Tensor) -> Tensor:
    """Compute `values.logsumexp(dim=1)` of (rows, N), (rows,), a cacheful of rows at a time."""
    rows = max(1, CACHEFUL // values.shape[1]) if values.device.type == "cpu" else len(values)
    return torch.cat([part.logsumexp(dim=1) for part in torch.split(values, max(1, rows))])


def fast_topk_of_beams(values: Tensor, offset: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the top k of `values + offset` over all beams of a sentence, adding only where due.

    Args:
        values: (R, W, N), W beams of R sentences.
        offset: (R, W).
        count: k; at most W * N are found.

    Returns:
        Values, beams and indices, (R, k) each.
    """
    sentences, width, size = values.shape
    count, whole = min(count, width * size), size // BLOCK * BLOCK
    if width * whole // BLOCK <= 4 * count:
        top = (values + offset[..., None]).flatten(1).topk(count)
        return top.values, top.indices // size, top.indices % size
    blocks = values[..., :whole].reshape(sentences, width, whole // BLOCK, BLOCK)
    highest = blocks.amax(dim=3) + offset[..., None]  # rounding keeps the order, so of the sum
    best = highest.flatten(1).topk(count).indices
    beam, block = best // highest.shape[2], best % highest.shape[2]
    sentence = torch.arange(sentences, device=values.device)[:, None]
    found = blocks[sentence, beam, block] + offset.gather(1, beam)[..., None]  # (R, k, BLOCK)
    rest = values[..., whole:] + offset[..., None]
    top = torch.cat([found.flatten(1), rest.flatten(1)], dim=1).topk(count)
    rank, place = top.indices // BLOCK, top.indices % BLOCK
    is_whole, rank = rank < count, rank.clamp(max=count - 1)
    index = block.gather(1, rank) * BLOCK + place
    if whole == size:
        return top.values, beam.gather(1, rank), index
    left = (top.indices - count * BLOCK).clamp(min=0)
    rest_beam, rest_index = left // (size - whole), whole + left % (size - whole)
    return (
        top.values,
        beam.gather(1, rank).where(is_whole, rest_beam),
        index.where(is_whole, rest_index),
    )


def fast_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Compute `values.topk(min(count, N), dim=1)` of (rows, N).

    The k largest values lie in the k blocks with the largest maxima.

    Returns:
        Values and indices, (rows, k) each.
    """
    count = min(count, values.shape[1])
    size = values.shape[1] // BLOCK * BLOCK  # the values that fill whole blocks
    if size // BLOCK <= 4 * count:
        top = values.topk(count, dim=1)
        return top.values, top.indices
    blocks = values[:, :size].reshape(len(values), -1, BLOCK)
    best_blocks = blocks.amax(dim=2).topk(count, dim=1).indices
    block_values = blocks.gather(1, best_blocks[..., None].expand(-1, -1, BLOCK)).flatten(1)
    top = torch.cat([block_values, values[:, size:]], dim=1).topk(count, dim=1)
    rank, offset = top.indices // BLOCK, top.indices % BLOCK
    block_index = best_blocks.gather(1, rank.clamp(max=count - 1)) * BLOCK + offset
    rest_index = size + top.indices - count * BLOCK
    return top.values, block_index.where(rank < count, rest_index)
