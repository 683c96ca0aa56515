"""VectorQuantisedLatent: replaces each vector, or each part of it, by the nearest of a codebook.

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

# Share of the average code's frequency above which a code counts as used. Under a decay of 0.99 an
# average code falls below it after 460 batches without use.
USED = 0.01


def gather_one(values: Tensor) -> Tensor:
    """Gather from a single device: (...) to (1, ...)."""
    return values[None]


@final
class VectorQuantisedLatent(Latent):
    """The code nearest to the encoder's vector (van den Oord et al. 2017, arXiv:1711.00937).

    The latent is `e_k` with k = argmin |z - e_k| (their equations 1 and 2); its gradient goes to z
    unchanged (straight-through). It adds `commitment * |z - e_k|^2` per sentence to the loss, with
    a gradient to z only. The codebook is no weight: each code is the moving mean of the vectors
    that chose it (their appendix A.1), updated in training only.

    A code that is hardly ever chosen is dead and restarts at a vector of the batch, drawn at random
    (Jukebox, Dhariwal et al. 2020, arXiv:2005.00341, section 3.1); the whole codebook begins that
    way. Jukebox counts choices per batch; here the count is relative to the average code's, because
    a batch may hold fewer sentences than there are codes. Without a generator nothing is drawn and
    no code restarts.

    Args:
        latent_dim: Z of each vector of the encoder.
        num_codes: size of a codebook.
        num_groups: G, equal parts of each vector, each with its own codebook; a sentence of K
            vectors has C = K G codes.
        commitment: weight of the commitment loss.
        decay: of the moving means, per batch.
        restart_below: a code is dead when it is chosen less than this many times as often as the
            average one; at 0 only codes that were never chosen restart.
    """

    codebook: Tensor  # (G, num_codes, Z / G)
    usage: Tensor  # (G, num_codes), moving mean of choices per batch; a restart sets the average
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
        self._all_gather: Callable[[Tensor], Tensor] = gather_one

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        self.output_dim = num_latents * self.latent_dim
        self.projection = nn.Linear(input_dim, self.latent_dim)
        shape = (self.num_groups, self.num_codes, self.latent_dim // self.num_groups)
        self.register_buffer("codebook", torch.empty(shape))
        self.register_buffer("usage", torch.zeros(shape[:2]))
        self.register_buffer("frequency", torch.zeros(shape[:2]))
        nn.init.normal_(self.codebook)

    @override
    def set_all_gather(self, all_gather: Callable[[Tensor], Tensor]) -> None:
        """Count over all devices, so that they keep equal codebooks."""
        self._all_gather = all_gather

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        # In half precision rounding would decide which code is nearest.
        rows, mapped = len(hidden), in_float32(self.projection(hidden))
        parts = mapped.reshape(-1, self.num_groups, self.codebook.shape[2])
        codes = self._nearest(parts.detach())
        chosen = self._look_up(codes)
        loss = self.commitment * (parts - chosen).pow(2).sum() / rows
        latent = chosen + (parts - parts.detach())
        if self.training:
            with torch.no_grad(), torch.autocast(parts.device.type, enabled=False):
                self._update(parts, codes)
                self._restart(parts, generator)
        return LatentOutput(latent.reshape(rows, -1), loss=loss, codes=codes.reshape(rows, -1))

    def lookup(self, codes: Tensor) -> Tensor:
        """Look up the latents (B, Z) of (B, C) int64 codes."""
        return self._look_up(codes.reshape(-1, self.num_groups)).reshape(len(codes), -1)

    def nearest(self, latent: Tensor) -> Tensor:
        """Find the codes (B, C) int64 of latents (B, Z) that were looked up, or those nearest."""
        parts = latent.reshape(-1, self.num_groups, self.codebook.shape[2])
        return self._nearest(parts).reshape(len(latent), -1)

    @override
    def metrics(self) -> dict[str, Tensor]:
        return {
            "codebook_usage": self.codebook_usage(),
            "codebook_perplexity": self.codebook_perplexity(),
        }

    def codebook_perplexity(self) -> Tensor:
        """Perplexity of the recent frequencies of a codebook's codes, the mean over groups: ().

        The exponential of their entropy: so many equally frequent codes would be as uncertain.
        """
        share = self.frequency / self.frequency.sum(dim=1, keepdim=True).clamp(min=1e-30)
        perplexity: Tensor = torch.special.entr(share).sum(dim=1).exp().mean()
        return perplexity

    def codebook_usage(self) -> Tensor:
        """Share of codes in use, (); see USED."""
        average = self.frequency.mean(dim=1, keepdim=True)
        return (self.frequency > USED * average).to(self.frequency.dtype).mean()

    def _nearest(self, parts: Tensor) -> Tensor:
        """Find the (n, G) codes nearest to (n, G, Z / G) parts."""
        return torch.cdist(parts.transpose(0, 1), self.codebook).argmin(dim=2).transpose(0, 1)

    def _look_up(self, codes: Tensor) -> Tensor:
        """Copy the vectors (n, G, Z / G) of (n, G) codes."""
        return self.codebook[torch.arange(self.num_groups, device=codes.device), codes]

    def _update(self, parts: Tensor, codes: Tensor) -> None:
        """Move each code towards the mean of the vectors that chose it."""
        # A product, because adding up by index is not deterministic on a GPU.
        chosen = nn.functional.one_hot(codes, self.num_codes).to(parts.dtype).permute(1, 2, 0)
        sums = self._all_gather(chosen @ parts.transpose(0, 1)).sum(dim=0)
        counts = self._all_gather(chosen.sum(dim=2)).sum(dim=0)
        self.usage.lerp_(counts, 1.0 - self.decay)
        self.frequency.lerp_(counts, 1.0 - self.decay)
        # This keeps code x usage the moving mean of the sums; a code that was not chosen stays.
        change = sums - counts[..., None] * self.codebook
        self.codebook += (1.0 - self.decay) * change / self.usage[..., None].clamp(min=1e-30)

    def _restart(self, parts: Tensor, generator: Generator | None) -> None:
        """Move dead codes to vectors of the batch, the same ones on all devices."""
        if generator is None:
            return
        rows = torch.randint(len(parts), self.usage.shape, generator=generator)
        rows = to_device_of(parts, rows)
        average = self.usage.mean(dim=1, keepdim=True)
        dead = (self.usage < self.restart_below * average) | (self.usage == 0.0)
        if not dead.any():
            return
        drawn = parts[rows, torch.arange(self.num_groups, device=parts.device)[:, None]]
        gathered = self._all_gather(drawn)
        index = torch.arange(self.num_codes, device=parts.device)
        drawn = gathered[index % len(gathered), :, index].transpose(0, 1)  # devices take turns
        self.codebook.copy_(torch.where(dead[..., None], drawn, self.codebook))
        self.usage.copy_(torch.where(dead, average, self.usage))
