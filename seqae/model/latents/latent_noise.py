"""Latent noise: perturb latents in training, and tell the decoder by how much.

A latent z of unit scale that is perturbed by noise of standard deviation σ becomes

    u = (z + σ ε) / √(1 + σ²) = cos(θ) z + sin(θ) ε,    ε ~ N(0, I),  σ = tan(θ),

which is of unit scale again. A decoder that is told σ can be exact where it is zero, trust only the
gist where it is one, and be a language model where nothing of z is left: the rate of the latent,
Z/2 log2(1 + 1/σ²) bits, is a knob that is turned at decoding time. The angle is that of
trigonometric flow matching (Lu and Song 2024, arXiv:2410.11081); perturbed latents make latent
spaces that can be sampled (Shabalin et al. 2024, arXiv:2402.19097).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import final
from zlib import crc32

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.batch import Batch, to_device_of
from seqae.component import Component, check_range
from seqae.model.layers import in_float32

# At this σ a millionth of a latent's variance is its own.
MAX_NOISE = 1e3

FEATURES = 64


@final
class LatentNoise(Component):
    """Perturb some sentences' latents in training.

    Of a perturbed sentence the angle θ is drawn evenly from 0 to 90 degrees, so that σ = tan(θ)
    has a median of 1 and no upper limit.

    Args:
        share: of the sentences whose latents are perturbed; others keep theirs, at a noise of 0,
            unless they are blanked.
        blank: share of the sentences whose latents are replaced by noise, at the highest σ: on
            these the decoder learns to be a language model, which takes it longer than to copy.
    """

    def __init__(self, share: float = 0.5, blank: float = 0.0) -> None:
        check_range("share", share, 0.0, 1.0)
        check_range("blank", blank, 0.0, 1.0)
        if share + blank > 1.0:
            raise ValueError(
                f"`share` and `blank` must be at most 1 together, but they are {share + blank} "
                f"instead. Lower one of them."
            )
        self.share, self.blank = share, blank

    def perturb(self, latent: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw σ for each sentence, and perturb its latent.

        Args:
            latent: (B, Z) of unit scale.
            generator: on the CPU.

        Returns:
            (B, Z) of unit scale, and σ, (B,) float32.
        """
        kind, place = torch.rand((2, len(latent)), generator=generator)
        angle = torch.where(kind < self.share, place * (math.pi / 2), 0.0)
        angle = torch.where(kind >= 1 - self.blank, math.pi / 2, angle)
        # In float32 the tangent of half pi is negative.
        noise = angle.clamp(max=math.atan(MAX_NOISE)).tan()
        noise = to_device_of(latent, noise)
        return perturbed(latent, noise, generator), noise


def perturbed(latent: Tensor, noise: Tensor, generator: Generator) -> Tensor:
    """Compute (z + σ ε) / √(1 + σ²) for latents (B, Z) of unit scale and σ of (B,)."""
    drawn = torch.randn(latent.shape, generator=generator, dtype=torch.float32)
    return _mixed(latent, noise, drawn)


def perturbed_by_text(latent: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Perturb latents for a measurement: each sentence always in the same way.

    Its angle, from 0 to 90 degrees, and its noise are drawn from a seed that is a checksum of its
    tokens. So models can be compared, and neither step, batch nor rank matters.

    Args:
        latent: (B, Z) of unit scale.
        batch: the B sentences.

    Returns:
        (B, Z) of unit scale, and σ, (B,) float32.
    """
    rows = zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
    texts = (array("q", row[:length]).tobytes() for row, length in rows)
    generators = [Generator().manual_seed(crc32(text)) for text in texts]
    shares = [float(torch.rand((), generator=generator)) for generator in generators]
    drawn = [torch.randn(latent.shape[1:], generator=generator) for generator in generators]
    angle = torch.tensor(shares) * (math.pi / 2)
    noise = to_device_of(latent, angle.clamp(max=math.atan(MAX_NOISE)).tan())
    return _mixed(latent, noise, torch.stack(drawn)), noise


def _mixed(latent: Tensor, noise: Tensor, drawn: Tensor) -> Tensor:
    sigma = noise[:, None]
    mixed = (latent + sigma * to_device_of(latent, drawn)) / (1 + sigma**2).sqrt()
    return mixed.to(latent.dtype)


@final
class NoiseReading(nn.Module):
    """What a decoder makes of σ: a shrunk latent, and an offset or a gate for each of its inputs.

    The latent is multiplied by 1/√(1 + σ²): of all multiples of u, this is the nearest to z on
    average. All else begins at zero.

    Args:
        sizes: of the vectors to make of σ, by name; those of size 0 are left out.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(2, FEATURES), nn.SiLU())
        self.outputs = nn.ModuleDict(
            {name: nn.Linear(FEATURES, size) for name, size in sizes.items() if size}
        )
        for output in self.outputs.values():
            assert isinstance(output, nn.Linear)
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)

    @override
    def forward(self, latent: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Shrink latents (B, Z) perturbed by σ of (B,), and make a vector for each name."""
        angle = in_float32(noise).atan()[:, None]
        features = self.features(torch.cat([angle.cos(), angle.sin()], dim=1).to(latent.dtype))
        made = {name: output(features) for name, output in self.outputs.items()}
        return latent * angle.cos().to(latent.dtype), made


def gate(logits: Tensor) -> Tensor:
    """Map what begins at zero to a factor from 0 to 2, which begins at one."""
    return 2.0 * torch.sigmoid(logits)
