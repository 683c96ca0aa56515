"""What a latent space holds: KL, mutual information, active units, duplicates, isotropy.

All are functions of arrays or of a posterior, so that training watches with the same figures
that `seqae evaluate` prints.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from seqae.model.latents import LatentOutput, StochasticLatent

# Numbers of a block of the pairwise densities: 16 MiB in float32, several times over.
BLOCK_ELEMENTS = 2**22

# What a LatentOutput has a row of for each sentence.
PER_SENTENCE = ("latent", "mean", "logvar", "codes")


@torch.no_grad()
def mutual_information(latent: StochasticLatent, output: LatentOutput, draws: Tensor) -> float:
    """I(x; z) under q, in nats: how much of which sentence it was the latent tells.

    `E[log q(z|x)] - E[log q(z)]` (Hoffman and Johnson 2016), with the aggregate posterior over the
    n sentences at hand, `q(z) = 1/n sum_i q(z|x_i)`, and one draw from each posterior (He et al.
    2019, arXiv:1901.05534, section 3.2; they take it batch by batch, this over all n at once).
    No sentence can tell more than which of the n it is: the estimate never exceeds `log n`.

    Args:
        latent: the latent layer.
        output: its output for n sentences.
        draws: (n, Z), one from each posterior.
    """
    count, size = draws.shape
    rows = max(1, BLOCK_ELEMENTS // (count * size))
    total = 0.0
    for start in range(0, count, rows):
        block = draws[start : start + rows]
        pairs = latent.log_posterior(output, block[:, None]).double()  # (rows, n)
        own = pairs.diagonal(start)
        total += float((own - pairs.logsumexp(dim=1) + math.log(count)).sum())
    return total / count


@torch.no_grad()
def active_units(mean: Tensor, prior_variance: float = 1.0) -> int:
    """How many dimensions of the posterior mean move with the sentence.

    Those whose variance over sentences is above 0.01 (Burda et al. 2016, arXiv:1509.00519, section
    5.2), that is a hundredth of the variance of their prior.

    Args:
        mean: (n, Z), n of at least 2.
        prior_variance: of one dimension, where the prior is not the standard normal one.
    """
    return int((mean.double().var(dim=0) > 0.01 * prior_variance).sum())


def duplicates(written: Sequence[Hashable]) -> float:
    """The share of texts that repeat an earlier one; to be asked of different sentences only."""
    return 1.0 - len(set(written)) / len(written) if written else math.nan


@torch.no_grad()
def isotropy(latents: Tensor) -> float:
    """How evenly a cloud of points uses its dimensions: IsoScore, 0 (a line) to 1 (a ball).

    Rudman et al. 2022 (arXiv:2108.07344, algorithm 1). Their isotropy defect, squared and put back
    into their score, leaves `((sum l)^2 / sum l^2 - 1) / (Z - 1)` of the eigenvalues l of the
    covariance; the test follows the paper step by step. If k of Z dimensions are used evenly it is
    (k - 1) / (Z - 1). It needs clearly more points than dimensions: n points span n - 1.

    Args:
        latents: (n, Z), Z of at least 2.
    """
    centred = latents.double() - latents.double().mean(dim=0)
    variances = torch.linalg.svdvals(centred).square()
    squares = float(variances.square().sum())
    if squares == 0.0 or latents.shape[1] < 2:
        return math.nan
    return (float(variances.sum()) ** 2 / squares - 1.0) / (latents.shape[1] - 1)


def join(outputs: Sequence[LatentOutput]) -> LatentOutput:
    """The outputs of several batches as that of one; a `loss` of the layer's own is left out."""
    names = [name for name in PER_SENTENCE if getattr(outputs[0], name) is not None]
    return LatentOutput(**{n: torch.cat([getattr(o, n) for o in outputs]) for n in names})


def select(output: LatentOutput, rows: Tensor) -> LatentOutput:
    """The output for some of the sentences."""
    names = [name for name in PER_SENTENCE if getattr(output, name) is not None]
    return LatentOutput(**{name: getattr(output, name)[rows] for name in names})
