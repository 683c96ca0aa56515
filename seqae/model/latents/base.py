"""Latent layers, between encoder and decoder: their contracts, and the deterministic layer.

An encoder makes K vectors of a sentence, mostly one. The latent layer maps each and joins them to
one vector of Z numbers, which is all that the decoder reads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.component import Component, check_literal, check_range
from seqae.model.memory.cross_attention import Memory

Normalization = Literal["none", "layer", "sphere"]


@dataclass
class LatentOutput:
    """Output of a latent layer.

    Attributes:
        latent: (B, Z), which the decoder reads.
        mean: (B, Z), of the posterior, if there is one.
        logvar: (B, Z), of the posterior, if it has one for each dimension.
        loss: (), a term that the layer itself adds to the loss, in nats per sentence.
        codes: (B, C) int64, indices of the chosen codes, if there is a codebook.
        memory: what the model adds for a decoder that looks back at the text; or None.
    """

    latent: Tensor
    mean: Tensor | None = None
    logvar: Tensor | None = None
    loss: Tensor | None = None
    codes: Tensor | None = None
    memory: Memory | None = None


class Latent(Component, nn.Module):
    """(B, H) or (B, K, H) encoder output to the latent, (B, Z).

    Attributes:
        output_dim: Z, of all K vectors together; known once `build` has run.
    """

    output_dim: int

    @abstractmethod
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        """Make the weights.

        Args:
            input_dim: H, size of each of the encoder's vectors.
            num_latents: K, how many vectors each sentence has.
        """

    @abstractmethod
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        """Make the latent.

        Args:
            hidden: (B, H), or (B, K, H) if K > 1.
            generator: source of all randomness, on the CPU; without one nothing is drawn, and a
                posterior gives its mean.
        """

    @property
    def has_unit_scale(self) -> bool:
        """Whether every vector has a mean of zero and a variance of one over its dimensions."""
        return False

    def metrics(self) -> dict[str, Tensor]:
        """Measure the layer itself, without a sentence: scalars by name."""
        return {}

    def set_all_gather(self, all_gather: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 - optional
        """Let a layer that keeps statistics of its inputs do so over all devices.

        Training with several devices calls this once. By default nothing is kept, and nothing
        changes.

        Args:
            all_gather: from (...) on each device to (devices, ...) on all.
        """


class StochasticLatent(Latent):
    """A latent that is drawn from a posterior q(z|x), beside a prior p(z).

    In all methods the leading dimensions of the tensors in `output` and of `latent` broadcast.

    Attributes:
        has_constant_kl: whether the KL follows from the settings alone, so that no objective can
            change it.
    """

    has_constant_kl: ClassVar[bool] = False

    @property
    def prior_variance(self) -> float:
        """Variance of each dimension of the prior."""
        return 1.0

    @abstractmethod
    def kl(self, output: LatentOutput) -> Tensor:
        """KL(q(z|x) || p(z)) in nats: (B, Z) by dimension, or (B, K) if it does not factorise.

        Summed over the last dimension it is the KL of the sentence.
        """

    @abstractmethod
    def log_posterior(self, output: LatentOutput, latent: Tensor) -> Tensor:
        """Log q(z|x), (...), of latents (..., Z)."""

    @abstractmethod
    def log_prior(self, latent: Tensor) -> Tensor:
        """Log p(z), (...), of latents (..., Z)."""

    @abstractmethod
    def sample_posterior(self, output: LatentOutput, generator: Generator) -> Tensor:
        """Draw once more from each posterior, with gradients to its parameters: (B, Z)."""

    @abstractmethod
    def sample_prior(self, count: int, generator: Generator) -> Tensor:
        """Draw from the prior: (count, Z), on the device of the weights."""


@final
class DeterministicLatent(Latent):
    """A linear map to the latent, or the encoder's output as it is.

    Args:
        latent_dim: Z; null takes the encoder's output without a map.
        normalize: `layer` brings each vector to zero mean and unit variance over its dimensions
            (layer normalisation without weights), which keeps the scale that the decoder sees the
            same throughout training; `sphere` scales each vector to length 1.
    """

    def __init__(self, latent_dim: int | None = 256, normalize: Normalization = "none") -> None:
        super().__init__()
        if latent_dim is not None:
            check_range("latent_dim", latent_dim, 1, 2**16)
        check_literal("normalize", normalize, Normalization)
        self.latent_dim, self.normalize = latent_dim, normalize

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        size = input_dim if self.latent_dim is None else self.latent_dim
        self.output_dim = num_latents * size
        self.projection = (
            nn.Identity() if self.latent_dim is None else nn.Linear(input_dim, self.latent_dim)
        )

    @property
    @override
    def has_unit_scale(self) -> bool:
        return self.normalize == "layer"

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        latent = self.projection(hidden)
        if self.normalize == "layer":
            latent = nn.functional.layer_norm(latent, latent.shape[-1:])
        elif self.normalize == "sphere":
            latent = nn.functional.normalize(latent, dim=-1)
        return LatentOutput(latent.flatten(1))
