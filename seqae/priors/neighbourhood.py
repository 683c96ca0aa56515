"""NeighbourhoodPrior: training latents with noise, for a decoder that is told how much.

It fits nothing: it keeps the latents of some training sentences. A draw is one of them, perturbed
as in training (seqae/model/latents/latent_noise.py), so that the decoder sees what it knows. From a
latent without noise a training sentence can be decoded to the letter: a bundle that holds this
prior holds these sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.component import check_whole
from seqae.model.latents.latent_noise import perturbed
from seqae.priors.base import (
    DEFAULT_NOISE,
    Drawing,
    Prior,
    check_fit,
    check_found,
    check_noise,
    noise_of,
    shaped,
)

MAX_LATENTS = 2_000  # of 384 dimensions they take 1.5 MB


@final
class NeighbourhoodPrior(Prior):
    """One of some training latents, with noise.

    Args:
        noise: σ: how much noise a draw gets, and at which σ it is decoded.
    """

    kind: ClassVar[str] = "neighbourhood"
    needs_noise: ClassVar[bool] = True

    latents: Tensor  # (at most MAX_LATENTS, Z) float16

    def __init__(self, noise: float = DEFAULT_NOISE) -> None:
        check_noise(noise)
        self.noise = noise

    @override
    def fit(
        self,
        latents: Tensor,
        lengths: Tensor | None = None,
        labels: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_fit(latents, seed)
        generator = Generator().manual_seed(seed)
        chosen = torch.randperm(len(latents), generator=generator)[:MAX_LATENTS]
        self.latents = latents.detach().cpu()[chosen].half()

    @override
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        """Take each latent once before any is taken again."""
        rounds = -(-count // len(self.latents))
        orders = [torch.randperm(len(self.latents), generator=generator) for _ in range(rounds)]
        chosen = torch.cat([torch.zeros(0, dtype=torch.int64), *orders])[:count]
        noise = self.noise if drawing.noise is None else drawing.noise
        return perturbed(self.latents[chosen].float(), noise_of(count, noise), generator)

    @override
    def tensors(self) -> dict[str, Tensor]:
        return {"latents": self.latents}

    @override
    def found(self) -> dict[str, Any]:
        return {"count": len(self.latents)}

    @override
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        check_found(found, ("count",))
        return {"latents": shaped(check_whole("count", found["count"], 1, MAX_LATENTS), latent_dim)}

    @override
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        self.latents = tensors["latents"].half()
        if not self.latents.isfinite().all():
            raise ValueError("`latents` must be numbers of 16 bits, but one is too large.")
