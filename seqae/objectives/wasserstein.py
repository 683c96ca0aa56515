"""WassersteinMMD: the latents of all sentences together resemble draws from the prior."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.likelihood import LikelihoodObjective, check_prior, sample_prior

# Widths of the kernels that are summed, relative to the mean squared distance of two draws from the
# prior: those of the authors' implementation (github.com/tolstikhin/wae, wae.py).
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@final
class WassersteinMMD(LikelihoodObjective):
    """The Wasserstein autoencoder with a maximum mean discrepancy, WAE-MMD.

    loss = -log p(x|z) + mmd_weight * MMD(q(z), p(z)): Tolstikhin et al. 2018 (arXiv:1711.01558,
    algorithm 2). It compares only the latents of a batch together with draws from the prior, so
    that each latent, unlike under a KL term, may describe its sentence completely. A posterior with
    a variance is allowed (Bahuleyan et al. 2019, arXiv:1806.08462), but nothing here keeps it wide.

    Logs, in addition to what all likelihood objectives log, `mmd`: the unbiased estimate for the
    batch (on several devices, for each device's part), which may be slightly below zero. A batch of
    one sentence has no estimate and counts as zero.

    Args:
        mmd_weight: relative to a sentence's cross-entropy in nats.
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016). bos is never dropped.
    """

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {"mmd"}

    def __init__(
        self, mmd_weight: float = 10.0, label_smoothing: float = 0.0, word_dropout: float = 0.0
    ) -> None:
        super().__init__(label_smoothing, word_dropout)
        check_range("mmd_weight", mmd_weight, 0.0, 1e6)
        self.mmd_weight = mmd_weight

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_prior(model, "WassersteinMMD")

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        mmd = squared_mmd(latents.latent, prior=sample_prior(model, latents.latent, generator))
        values = self.values(sums, batch, latents, self.mmd_weight * len(batch) * mmd)
        return {**values, "mmd": mmd.detach()}


def squared_mmd(latent: Tensor, prior: Tensor) -> Tensor:
    """Estimate the squared maximum mean discrepancy of latents and prior, without bias.

    This is the U-statistic of Gretton et al. 2012 (JMLR 13, lemma 6, equation 4) with the inverse
    multiquadratic kernel C / (C + |x - y|^2), summed over C = 2 d s for the scales s (Tolstikhin et
    al. 2018, section 4). d is the mean squared length of draws from the prior, whose mean is zero,
    and so 2 d their mean squared distance: 2 Z for N(0, I), 2 on a sphere.

    Args:
        latent: (n, Z).
        prior: (n, Z), draws from the prior.

    Returns:
        (), float32; zero if the samples are equal row by row, or have only one row.
    """
    if len(latent) < 2:
        return 0.0 * (latent + prior).float().sum()
    # In float32 under autocast too: the estimate is a small difference of sums.
    with torch.autocast(latent.device.type, enabled=False):
        latent, prior = latent.float(), prior.float()
        width = 2.0 * prior.pow(2).sum(dim=1).mean()
        across = _kernel(latent, prior, width)
        pairs = _kernel(latent, latent, width) + _kernel(prior, prior, width) - across - across.t()
        off_diagonal = pairs.sum() - pairs.diagonal().sum()
    return off_diagonal / (len(latent) * (len(latent) - 1))


def _kernel(first: Tensor, second: Tensor, width: Tensor) -> Tensor:
    """Compute the kernel of all pairs, (n, m), of (n, Z) and (m, Z)."""
    squares = first.pow(2).sum(dim=1)[:, None] + second.pow(2).sum(dim=1)
    distance = (squares - 2.0 * first @ second.t()).clamp(min=0.0)
    return sum((width * s / (width * s + distance) for s in SCALES), torch.zeros_like(distance))
