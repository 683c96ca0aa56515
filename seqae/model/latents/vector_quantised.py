"""VectorQuantisedLatent: each vector, or each part of it, is replaced by the nearest of a codebook.

A sentence becomes C whole numbers, at most `C log2(num_codes)` bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.batch import to_device_of
from seqae.component import check_range
from seqae.model.latents.base import Latent, LatentOutput
from seqae.model.layers import in_float32

# A code counts as used above this share of even usage: under a decay of 0.99, a code that was
# used as often as the average one falls below it after 460 batches without use.
USED = 0.01


def alone(values: Tensor) -> Tensor:
    """Gather over the devices of a training that has one: (...) to (1, ...)."""
    return values[None]


@final
class VectorQuantisedLatent(Latent):
    """The codebook's vector nearest to the encoder's (van den Oord et al. 2017, arXiv:1711.00937).

    The latent is `e_k` with k = argmin |z - e_k| (their equations 1 and 2); its gradient goes to z
    unchanged (straight-through). To the loss it adds `commitment * |z - e_k|^2` for each sentence,
    with a gradient to z only. The codebook is no weight: each code is the moving mean of the
    vectors that took it (their appendix A.1), counted in training only.

    A code that is hardly taken is dead, and starts again at one of the batch's vectors, drawn at
    random (Jukebox, Dhariwal et al. 2020, arXiv:2005.00341, section 3.1); so begins the whole
    codebook. Jukebox counts takings per batch; here the count is relative to that of the average
    code, because a batch may hold fewer sentences than there are codes. Without a generator
    nothing is drawn and no code starts again.

    Args:
        latent_dim: Z of each of the encoder's vectors.
        num_codes: size of a codebook.
        num_groups: G, equal parts that each vector is cut into, each with a codebook of its own; a
            sentence of K vectors has C = K G codes.
        commitment: weight of the commitment loss.
        decay: of the moving means, per batch.
        restart_below: a code is dead when it is taken less than this many times as often as the
            average one; at 0 only codes that were never taken start again.

    Attributes:
        over_ranks: gathers a tensor of the same shape from all devices, (...) to (devices, ...),
            so that all count together and keep equal codebooks; training sets it.
    """

    codebook: Tensor  # (G, num_codes, Z / G)
    usage: Tensor  # (G, num_codes), moving mean of takings per batch; the average at a restart
    frequency: Tensor  # (G, num_codes), the same without restarts

    def __init__(
        self,
        latent_dim: int = 256,
        num_codes: int = 512,
        num_groups: int = 8,
        commitment: float = 0.25,
        decay: float = 0.99,
        restart_below: float = 0.1,
    ) -> None:
        super().__init__()
        check_range("latent_dim", latent_dim, 1, 2**16)
        check_range("num_codes", num_codes, 2, 2**16)
        check_range("num_groups", num_groups, 1, 2**12)
        check_range("commitment", commitment, 0.0, 1e3)
        check_range("decay", decay, 0.0, 0.9999)
        check_range("restart_below", restart_below, 0.0, 0.9)
        if latent_dim % num_groups:
            raise ValueError(
                f"`latent_dim` must be a multiple of `num_groups`, {num_groups}, but it is "
                f"{latent_dim} instead. Choose another size or another number of groups."
            )
        self.latent_dim, self.num_codes, self.num_groups = latent_dim, num_codes, num_groups
        self.commitment, self.decay, self.restart_below = commitment, decay, restart_below
        self.over_ranks: Callable[[Tensor], Tensor] = alone

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        self.output_dim = num_latents * self.latent_dim
        self.projection = nn.Linear(input_dim, self.latent_dim)
        shape = (self.num_groups, self.num_codes, self.latent_dim // self.num_groups)
        self.register_buffer("codebook", torch.empty(shape))
        self.register_buffer("usage", torch.zeros(shape[:2]))
        self.register_buffer("frequency", torch.zeros(shape[:2]))
        nn.init.normal_(self.codebook)

    @property
    def needs_whole_batch(self) -> bool:
        """The codebook follows the means of a batch."""
        return True

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        # Else the nearest code would be a matter of rounding.
        rows, mapped = len(hidden), in_float32(self.projection(hidden))
        parts = mapped.reshape(-1, self.num_groups, self.codebook.shape[2])
        codes = self._nearest(parts.detach())
        chosen = self._chosen(codes)
        loss = self.commitment * (parts - chosen).pow(2).sum() / rows
        latent = chosen + (parts - parts.detach())
        if self.training:
            with torch.no_grad(), torch.autocast(parts.device.type, enabled=False):
                self._count(parts, codes)
                self._restart(parts, generator)
        return LatentOutput(latent.reshape(rows, -1), loss=loss, codes=codes.reshape(rows, -1))

    def lookup(self, codes: Tensor) -> Tensor:
        """(B, C) int64 codes to their latents (B, Z)."""
        return self._chosen(codes.reshape(-1, self.num_groups)).reshape(len(codes), -1)

    @override
    def figures(self) -> dict[str, Tensor]:
        return {
            "codebook_usage": self.codebook_usage(),
            "codebook_perplexity": self.codebook_perplexity(),
        }

    def codebook_perplexity(self) -> Tensor:
        """How many codes of a codebook would be as uncertain if all were taken equally often.

        The exponential of the entropy of the recent frequencies, the mean over groups: ().
        """
        share = self.frequency / self.frequency.sum(dim=1, keepdim=True).clamp(min=1e-30)
        perplexity: Tensor = torch.special.entr(share).sum(dim=1).exp().mean()
        return perplexity

    def codebook_usage(self) -> Tensor:
        """The share of codes that are in use, (); see USED."""
        even = self.frequency.mean(dim=1, keepdim=True)
        return (self.frequency > USED * even).to(self.frequency.dtype).mean()

    def _nearest(self, parts: Tensor) -> Tensor:
        """(n, G, Z / G) to the (n, G) nearest codes."""
        return torch.cdist(parts.transpose(0, 1), self.codebook).argmin(dim=2).transpose(0, 1)

    def _chosen(self, codes: Tensor) -> Tensor:
        """(n, G) codes to a copy of their vectors (n, G, Z / G)."""
        return self.codebook[torch.arange(self.num_groups, device=codes.device), codes]

    def _count(self, parts: Tensor, codes: Tensor) -> None:
        """Move each code towards the mean of the vectors that took it."""
        # A product, because adding up by index is not deterministic on a GPU.
        taken = nn.functional.one_hot(codes, self.num_codes).to(parts.dtype).permute(1, 2, 0)
        sums = self.over_ranks(taken @ parts.transpose(0, 1)).sum(dim=0)
        counts = self.over_ranks(taken.sum(dim=2)).sum(dim=0)
        self.usage.lerp_(counts, 1.0 - self.decay)
        self.frequency.lerp_(counts, 1.0 - self.decay)
        # What keeps code x usage the moving mean of the sums; a code not taken stays.
        change = sums - counts[..., None] * self.codebook
        self.codebook += (1.0 - self.decay) * change / self.usage[..., None].clamp(min=1e-30)

    def _restart(self, parts: Tensor, generator: Generator | None) -> None:
        """Put dead codes where vectors of the batch are, the same on all devices."""
        if generator is None:
            return
        rows = torch.randint(len(parts), self.usage.shape, generator=generator)
        rows = to_device_of(parts, rows)
        average = self.usage.mean(dim=1, keepdim=True)
        dead = (self.usage < self.restart_below * average) | (self.usage == 0.0)
        if not dead.any():
            return
        drawn = parts[rows, torch.arange(self.num_groups, device=parts.device)[:, None]]
        ranks = self.over_ranks(drawn)
        place = torch.arange(self.num_codes, device=parts.device)
        drawn = ranks[place % len(ranks), :, place].transpose(0, 1)  # they take turns
        self.codebook.copy_(torch.where(dead[..., None], drawn, self.codebook))
        self.usage.copy_(torch.where(dead, average, self.usage))
