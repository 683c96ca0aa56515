"""Latents: what stands between encoder and decoder. The contracts, and the deterministic one.

An encoder gives K vectors of a sentence, mostly one; the latent layer maps each, and joins them to
one vector of Z numbers, which is all that the decoder reads.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.component import Component, check_choice, check_range

Normalization = Literal["none", "layer", "sphere"]


@dataclass
class LatentOutput:
    """What a latent layer gives.

    Attributes:
        latent: (B, Z), what the decoder reads.
        mean: (B, Z), of the posterior, where there is one.
        logvar: (B, Z), of the posterior, where it has one for each dimension.
        loss: (), a term that the layer itself adds to the loss, in nats per sentence.
        codes: (B, C) int64, which vectors of a codebook were taken, where there is one.
    """

    latent: Tensor
    mean: Tensor | None = None
    logvar: Tensor | None = None
    loss: Tensor | None = None
    codes: Tensor | None = None


class Latent(Component, nn.Module):
    """(B, H) or (B, K, H) encoder output to the latent, (B, Z).

    Attributes:
        output_dim: Z, of all K vectors together; known once `build` has run.
    """

    output_dim: int

    @property
    def needs_whole_batch(self) -> bool:
        """Whether a latent depends on the other sentences of its batch, in training."""
        return False

    @abstractmethod
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        """Make the weights.

        Args:
            input_dim: H, size of each of the encoder's vectors.
            num_latents: K, how many there are of a sentence.
        """

    @abstractmethod
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        """Make the latent.

        Args:
            hidden: (B, H), or (B, K, H) where K > 1.
            generator: source of all randomness, on the CPU; without one nothing is drawn, and a
                posterior gives its mean.
        """

    def figures(self) -> dict[str, Tensor]:
        """What the layer can say of itself without seeing a sentence, by name: () each."""
        return {}


class StochasticLatent(Latent):
    """A latent that is drawn from a posterior q(z|x), beside a prior p(z).

    In all of these the leading dimensions of `output`'s tensors and of `latent` broadcast.
    """

    # Whether the KL follows from the settings alone, so that no objective can change it.
    has_constant_kl: ClassVar[bool] = False

    @property
    def prior_variance(self) -> float:
        """The variance of each dimension of the prior."""
        return 1.0

    @abstractmethod
    def kl(self, output: LatentOutput) -> Tensor:
        """KL(q(z|x) || p(z)) in nats: (B, D) by dimension, or (B, K) where it does not factorise.

        Its sum over the last dimension is that of the sentence.
        """

    @abstractmethod
    def log_posterior(self, output: LatentOutput, latent: Tensor) -> Tensor:
        """Log q(z|x), (...), of latents (..., Z)."""

    @abstractmethod
    def log_prior(self, latent: Tensor) -> Tensor:
        """Log p(z), (...), of latents (..., Z)."""

    @abstractmethod
    def sample_posterior(self, output: LatentOutput, generator: Generator) -> Tensor:
        """(B, Z), one more draw from each posterior, with gradients to its parameters."""

    @abstractmethod
    def sample_prior(self, count: int, generator: Generator) -> Tensor:
        """(count, Z), draws from the prior, on the weights' device."""


@final
class DeterministicLatent(Latent):
    """A linear map to the latent, or the encoder's output as it is.

    Args:
        latent_dim: Z; null takes the encoder's output without a map.
        normalize: `layer` brings each vector to zero mean and unit variance over its dimensions
            (layer normalisation without weights), which keeps the scale that the decoder sees the
            same throughout training; `sphere` to length 1; `none` leaves it.
    """

    def __init__(self, latent_dim: int | None = 256, normalize: Normalization = "none") -> None:
        super().__init__()
        if latent_dim is not None:
            check_range("latent_dim", latent_dim, 1, 2**16)
        check_choice("normalize", normalize, ("none", "layer", "sphere"))
        self.latent_dim, self.normalize = latent_dim, normalize

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        size = input_dim if self.latent_dim is None else self.latent_dim
        self.output_dim = num_latents * size
        self.projection = (
            nn.Identity() if self.latent_dim is None else nn.Linear(input_dim, self.latent_dim)
        )

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        latent = self.projection(hidden)
        if self.normalize == "layer":
            latent = nn.functional.layer_norm(latent, latent.shape[-1:])
        elif self.normalize == "sphere":
            latent = nn.functional.normalize(latent, dim=-1)
        return LatentOutput(latent.flatten(1))
