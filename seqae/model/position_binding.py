"""Layers that encoders and decoders share: dense and recurrent stacks, position binding."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn


@final
class PositionBinding(nn.Module):
    """A vector for each position, multiplied into what stands there, so that a sum keeps the order.

    Adding up `x_t * p_t` over a sentence superposes its tokens in one vector of fixed size, and
    multiplying that sum by `p_t` again gives back `x_t` plus noise that shrinks with the size: the
    multiply-add form of holographic reduced representations (Plate 1995, doi:10.1109/72.377968;
    Gayler 2004, arXiv:cs/0412059). It gives a gradient a path of length one from any token through
    the latent to its place in the output, where a recurrence needs one of the sentence's length.

    The vectors begin as random waves, sin(f t + phase) with f drawn evenly from 0 to pi, which are
    nearly orthogonal between positions (random Fourier features, Rahimi and Recht 2007); they are
    trained with the rest.

    Args:
        dim: size of a vector.
        max_length: number of positions; later ones share the last vector.
    """

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.dim, self.max_length = dim, max_length
        self.weight = nn.Parameter(torch.empty(max_length, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the waves."""
        if self.weight.is_meta:  # the weights of a bundle are read; see seqae.bundle.io
            return
        with torch.no_grad():
            frequency = torch.rand(self.dim) * math.pi
            phase = torch.rand(self.dim) * 2 * math.pi
            angle = torch.arange(self.max_length)[:, None] * frequency + phase
            self.weight.copy_(angle.sin() * math.sqrt(2))  # unit mean square

    def forward(self, positions: Tensor) -> Tensor:
        """(...) int64 positions to (..., dim) vectors."""
        return self.weight[positions.clamp(max=self.max_length - 1)]

    def bind(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Bind each real token of (B, T, dim) to its position and sum: (B, dim)."""
        places: Tensor = self(torch.arange(mask.shape[1], device=mask.device))
        # A sum of T independent terms grows with the root of T; 4 is the root of a long one.
        return (rows * places).masked_fill(~mask[..., None], 0.0).sum(dim=1) / 4.0
