"""Latents: the layers between encoder and decoder."""

from seqae.model.latents.base import (
    DeterministicLatent,
    Latent,
    LatentOutput,
    StochasticLatent,
)
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent

__all__ = [
    "DeterministicLatent",
    "GaussianLatent",
    "Latent",
    "LatentOutput",
    "StochasticLatent",
    "VectorQuantisedLatent",
    "VonMisesFisherLatent",
]
