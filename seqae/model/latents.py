"""Latents: what stands between encoder and decoder. Here the deterministic one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from seqae.component import Component, check_range


@dataclass
class LatentOutput:
    """What a latent layer gives.

    Attributes:
        latent: (B, Z), what the decoder reads.
        mean: (B, Z), of the posterior, where there is one.
        logvar: (B, Z), of the posterior, where there is one.
    """

    latent: Tensor
    mean: Tensor | None = None
    logvar: Tensor | None = None


class Latent(Component, nn.Module):
    """(B, H) encoder output to the latent, (B, Z).

    Attributes:
        output_dim: Z, known once `build` has run.
    """

    output_dim: int

    @abstractmethod
    def build(self, input_dim: int) -> None:
        """Make the weights for an encoder output of size `input_dim`, H."""

    @abstractmethod
    def forward(self, hidden: Tensor) -> LatentOutput:
        """(B, H) float to a LatentOutput whose `latent` is (B, Z)."""


@final
class DeterministicLatent(Latent):
    """A linear map to the latent, or the encoder's output as it is.

    Args:
        latent_dim: Z; null takes the encoder's output without a map.
        normalize: whether each latent is brought to zero mean and unit variance over its
            dimensions (layer normalisation without weights), which keeps the scale that the
            decoder sees the same throughout training.
    """

    def __init__(self, latent_dim: int | None = 256, normalize: bool = False) -> None:
        super().__init__()
        if latent_dim is not None:
            check_range("latent_dim", latent_dim, 1, 2**16)
        self.latent_dim, self.normalize = latent_dim, normalize

    def build(self, input_dim: int) -> None:  # noqa: D102
        self.output_dim = input_dim if self.latent_dim is None else self.latent_dim
        self.projection = (
            nn.Identity() if self.latent_dim is None else nn.Linear(input_dim, self.latent_dim)
        )
        self.norm = (
            nn.LayerNorm(self.output_dim, elementwise_affine=False)
            if self.normalize
            else nn.Identity()
        )

    def forward(self, hidden: Tensor) -> LatentOutput:  # noqa: D102
        return LatentOutput(self.norm(self.projection(hidden)))
