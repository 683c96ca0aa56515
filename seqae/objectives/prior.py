"""What the objectives have in common that draw all latents together to the prior."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from seqae.batch import to_device_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import DeterministicLatent, StochasticLatent


def check_prior(model: SequenceAutoencoder, name: str) -> None:
    """Refuse a latent whose distribution cannot become that of a prior.

    Raises:
        ValueError: if the latents lie on a sphere, or are the vectors of a codebook.
    """
    latent = model.latent
    if not isinstance(latent, (DeterministicLatent, StochasticLatent)):
        raise ValueError(
            f"`model.autoencoder.latent` must be a DeterministicLatent or have a posterior under "
            f"{name}, but it is {type(latent).__name__} instead. Set "
            f"`model.autoencoder.latent: DeterministicLatent`."
        )
    if isinstance(latent, DeterministicLatent) and latent.normalize != "none":
        raise ValueError(
            f"`normalize` must be none under {name}, whose prior is a normal one, but it is "
            f"{latent.normalize} instead. Set `model.autoencoder.latent.normalize: none`."
        )


def sample_prior(model: SequenceAutoencoder, latent: Tensor, generator: Generator) -> Tensor:
    """As many draws from the prior as there are latents, (B, Z): the latent layer's, or N(0, I)."""
    if isinstance(model.latent, StochasticLatent):
        return model.latent.sample_prior(len(latent), generator)
    return to_device_of(latent, torch.randn(latent.shape, generator=generator))
