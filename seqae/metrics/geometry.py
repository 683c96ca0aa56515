"""Geometry of the latent space: mutual information, active units, duplicates, isotropy.

All are functions of arrays or of a posterior, so that training logs the same metrics that
`seqae evaluate` prints.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqae.model.latents import LatentOutput, StochasticLatent

# Elements of a block of pairwise densities: 16 MiB in float32, of which several are held.
BLOCK_ELEMENTS = 2**22

# The fields of a LatentOutput that have a row for each sentence.
ROW_FIELDS = ("latent", "mean", "logvar", "codes")


@torch.no_grad()
def mutual_information(latent: StochasticLatent, output: LatentOutput, draws: Tensor) -> float:
    """Estimate I(x; z) under q, in nats: how well the latent identifies its sentence.

    It is `E[log q(z|x)] - E[log q(z)]` (Hoffman and Johnson 2016), with the aggregate posterior
    over the n given sentences, `q(z) = 1/n sum_i q(z|x_i)`, and one draw from each posterior (He et
    al. 2019, arXiv:1901.05534, section 3.2; they compute it for each batch, this for all n at
    once). A latent can at most identify one of n sentences: the estimate never exceeds `log n`.

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
    """Count the dimensions of the posterior mean that vary with the sentence.

    Their variance over sentences is above 0.01 (Burda et al. 2016, arXiv:1509.00519, section 5.2),
    that is a hundredth of the prior's.

    Args:
        mean: (n, Z), n of at least 2.
        prior_variance: of one dimension; 1 is the standard normal prior.
    """
    return int((mean.double().var(dim=0) > 0.01 * prior_variance).sum())


def duplicates(texts: Sequence[Hashable]) -> float:
    """Compute the share of texts that repeat an earlier one; the inputs must all differ.

    Args:
        texts: decoded from n different inputs, as text or token ids.
    """
    return 1.0 - len(set(texts)) / len(texts) if texts else math.nan


@torch.no_grad()
def isotropy(latents: Tensor) -> float:
    """Compute how evenly points use their dimensions: IsoScore, 0 (a line) to 1 (a ball).

    The definition is that of Rudman et al. 2022 (arXiv:2108.07344, algorithm 1). Their isotropy
    defect, squared and substituted into their score, leaves `((sum l)^2 / sum l^2 - 1) / (Z - 1)`
    of the eigenvalues l of the covariance; the test follows the paper step by step. If k of Z
    dimensions are used evenly, the score is (k - 1) / (Z - 1). It needs clearly more points than
    dimensions: n points span n - 1.

    Args:
        latents: (n, Z), Z of at least 2.
    """
    centred = latents.double() - latents.double().mean(dim=0)
    variances = torch.linalg.svdvals(centred).square()
    squares = float(variances.square().sum())
    if squares == 0.0 or latents.shape[1] < 2:
        return math.nan
    return (float(variances.sum()) ** 2 / squares - 1.0) / (latents.shape[1] - 1)


def concatenate(outputs: Sequence[LatentOutput]) -> LatentOutput:
    """Concatenate the outputs of several batches; the layer's own `loss` is dropped."""
    names = [name for name in ROW_FIELDS if getattr(outputs[0], name) is not None]
    joined: Any = {n: torch.cat([getattr(o, n) for o in outputs]) for n in names}
    return LatentOutput(**joined)


def select_rows(output: LatentOutput, rows: Tensor) -> LatentOutput:
    """Select the output of some sentences, by their indices (m,)."""
    names = [name for name in ROW_FIELDS if getattr(output, name) is not None]
    return LatentOutput(**{name: getattr(output, name)[rows] for name in names})
