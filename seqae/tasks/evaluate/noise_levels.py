"""Latents with more and more noise, of which the robustness curve is made."""

from __future__ import annotations

import torch
from torch import Generator

from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.text_autoencoder import TextAutoencoder

NOISE = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)  # in standard deviations of the latent

TOLD = "told the noise"


def noisy_latents(model: TextAutoencoder, latents: Latents, seed: int) -> list[Latents]:
    """Add noise to latents.

    The noise is normal, and in proportion to the standard deviation of each dimension over these
    latents; each has one draw, which grows. The latents of a model with `latent_noise` have unit
    scale, and keep it as in training: (z + σ ε) / √(1 + σ²).

    Args:
        model: that encoded them.
        latents: (n, Z).
        seed: of the noise.

    Returns:
        (n, Z) for each of `NOISE`.
    """
    drawn = torch.randn(latents.shape, generator=Generator().manual_seed(seed)).numpy()
    if model.autoencoder.latent_noise is not None:
        return [(latents + sigma * drawn) / (1 + sigma**2) ** 0.5 for sigma in NOISE]
    return [latents + sigma * latents.std(axis=0) * drawn for sigma in NOISE]
