"""Nested dropout: numbers of a latent that are ordered by how much they say.

In training the decoder gets only the first numbers of some sentences' latents, and zeros for the
others (Rippel et al. 2014, arXiv:1402.0915). The encoder learns to write what matters most to the
front, and the decoder to make the most of what is there, so that a latent cut off anywhere is the
best latent of its size, and needs no decoder of its own.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from seqae.batch import to_device_of


def drop_last_numbers(latent: Tensor, share: float, generator: Generator) -> Tensor:
    """Keep the first k numbers of some latents, k being drawn evenly from 1 to Z for each.

    Args:
        latent: (B, Z).
        share: of the latents that are cut; the others stay whole.
        generator: on the CPU.

    Returns:
        (B, Z), zero where numbers are dropped.
    """
    size = latent.shape[1]
    is_cut, place = torch.rand((2, len(latent)), generator=generator)
    kept = torch.where(is_cut < share, 1 + (place * size).long(), size)
    return latent * to_device_of(latent, torch.arange(size) < kept[:, None])
