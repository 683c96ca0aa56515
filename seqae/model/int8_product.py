"""A matrix in 8 bits and its products; int8.py says what they are for."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

AnyEmbedding: TypeAlias = "nn.Embedding | Int8Embedding"

STEPS = 127  # on either side of zero
SMALLEST = 1e-30  # largest value of a row of zeros


class Int8Matrix(nn.Module):
    """A matrix of whole numbers from -127 to 127, and a scale for each of its rows.

    Args:
        weight: (out, in) float32.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        weight = weight.detach()
        scale = weight.abs().amax(dim=1).clamp(min=SMALLEST) / STEPS
        steps = (weight / scale[:, None]).round_().to(torch.int8)
        # Parameters, so that what counts weights or asks for their device finds them.
        self.steps = nn.Parameter(steps, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)

    def dequantised(self) -> Tensor:
        """Return (out, in) float32."""
        return self.steps * self.scale[:, None]

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply (..., in) float32 with the matrix: (..., out)."""
        rows = inputs.reshape(inputs.shape[:-1].numel(), inputs.shape[-1])
        size = rows.abs().amax(dim=1, keepdim=True).clamp_(min=SMALLEST).div_(STEPS)
        whole = (rows / size).round_().to(torch.int8)
        # Private, but what torchao computes the same with; there is no public one.
        sums = torch._int_mm(whole, self.steps.t())
        return (sums * self.scale).mul_(size).reshape(*inputs.shape[:-1], len(self.scale))


class Int8Embedding(nn.Module):
    """Embeddings in 8 bits, which are also the output layer if that is tied to them.

    Args:
        weight: (V, E).
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.matrix = Int8Matrix(weight)

    @property
    def weight(self) -> Tensor:
        """The embeddings (V, E) in float32, rounded as they are."""
        return self.matrix.dequantised()

    @override
    def forward(self, token_ids: Tensor) -> Tensor:
        """Look up (...) int64 ids: (..., E)."""
        return self.matrix.steps[token_ids] * self.matrix.scale[token_ids][..., None]
