"""Position binding: a sum of tokens that keeps their order."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override


@final
class PositionBinding(nn.Module):
    """A vector for each position, multiplied into the token there, so that a sum keeps the order.

    Adding up `x_t * p_t` over a sentence superposes its tokens in one vector of fixed size, and
    multiplying that sum by `p_t` again gives back `x_t` plus noise that shrinks with the size: the
    multiply-add form of holographic reduced representations (Plate 1995, doi:10.1109/72.377968;
    Gayler 2004, arXiv:cs/0412059). It gives a gradient a path of length one from any token through
    the latent to its position in the output, where a recurrence needs one of the sentence's length.

    The vectors begin as random waves, sin(f t + phase) with f drawn evenly from 0 to pi, which are
    nearly orthogonal between positions (random Fourier features, Rahimi and Recht 2007). They are
    trained like all other weights.

    Args:
        dim: D, size of a vector.
        max_length: number of positions; later ones share the last vector.
    """

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.dim, self.max_length = dim, max_length
        self.weight = nn.Parameter(torch.empty(max_length, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the waves."""
        if self.weight.is_meta:  # a bundle's weights will replace them; see seqae.bundle.io
            return
        with torch.no_grad():
            frequency = torch.rand(self.dim) * math.pi
            phase = torch.rand(self.dim) * 2 * math.pi
            angle = torch.arange(self.max_length)[:, None] * frequency + phase
            self.weight.copy_(angle.sin() * math.sqrt(2))  # unit mean square

    @override
    def forward(self, positions: Tensor) -> Tensor:
        """Look up (...) int64 positions: (..., D) vectors."""
        return self.weight[positions.clamp(max=self.max_length - 1)]

    def bind(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Bind each real token of (B, T, D) to its position, and sum them: (B, D)."""
        vectors: Tensor = self(torch.arange(mask.shape[1], device=mask.device))
        # A sum of T independent terms grows with the root of T; 4 is the root of a long one.
        return (rows * vectors).masked_fill(~mask[..., None], 0.0).sum(dim=1) / 4.0


class PositionUnbinding(nn.Module):
    """Base of decoders that unbind the latent at each position; see PositionBinding.

    A base class rather than a submodule, because bundles have its weights in the decoder itself.

    Attributes:
        position_dim: size of the vector that is unbound; with 0 there are no weights, and unbinding
            adds nothing.
    """

    position_dim: int

    def build_unbinding(self, latent_dim: int, output_dim: int, max_length: int) -> None:
        """Make the weights, from Z to E = `output_dim`."""
        if self.position_dim:
            self.bound = nn.Linear(latent_dim, self.position_dim)
            self.unbound = nn.Linear(self.position_dim, output_dim, bias=False)
            self.positions = PositionBinding(self.position_dim, max_length)

    def bound_vector(self, latent: Tensor) -> Tensor:
        """Map (B, Z) to the vector that `unbind` takes, (B, position_dim)."""
        bound: Tensor = self.bound(latent) if self.position_dim else latent[:, :0]
        return bound

    def unbind(self, bound: Tensor, positions: Tensor) -> Tensor | float:
        """Unbind at (T,) or (B or 1, T) int64 positions: (B, T, E), or 0."""
        if not self.position_dim:
            return 0.0
        unbound: Tensor = self.unbound(bound[:, None] * self.positions(positions))
        return unbound
