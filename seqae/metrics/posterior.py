"""Posterior: one pass over sentences that collects what likelihood and geometry metrics need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.metrics.geometry import (
    active_units,
    concatenate,
    mutual_information,
    select_rows,
)
from seqae.metrics.nll import (
    has_latent_cost,
    importance_weighted_nll,
    latent_cost,
    sentence_nll,
    shuffle_gap,
)
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import LatentOutput, StochasticLatent

# Cap on sentences for metrics that are quadratic in their number or need a decomposition.
MAX_PAIRWISE = 2000


@dataclass
class Posterior:
    """Latents and likelihoods of n sentences; sums are in nats.

    Attributes:
        output: the latent layer's output; its `latent` is the posterior's mean, if there is one.
        draws: (n, Z), one draw from each posterior; the latents themselves if there is none.
        sentences: n.
        tokens: number of target tokens, the ends of sentences counted.
        nll: sum of -log p(x|z) at the draws.
        cost: sum of `latent_cost`; None if the latent has none.
        importance_weighted: sum of the importance-weighted bound; None if it was not requested.
        gap: sum of the shuffle gaps.
        gap_tokens: number of tokens that `gap` covers.
    """

    output: LatentOutput
    draws: Tensor
    sentences: int = 0
    tokens: int = 0
    nll: float = 0.0
    cost: float | None = None
    importance_weighted: float | None = None
    gap: float = 0.0
    gap_tokens: int = 0

    @property
    def negative_elbo(self) -> float | None:
        """Sum of -log p(x|z) and the latents' cost: on average an upper bound of -log p(x)."""
        return None if self.cost is None else self.nll + self.cost

    @property
    def shuffle_gap(self) -> float:
        """Mean of `seqae.metrics.nll.shuffle_gap` in nats per token; NaN for one sentence."""
        return self.gap / self.gap_tokens if self.gap_tokens else math.nan

    def spread(self, count: int) -> Tensor:
        """Choose at most `count` sentences, evenly spaced: their indices, (m,) int64."""
        size = min(count, self.sentences)
        return torch.linspace(0, self.sentences - 1, size).long().to(self.draws.device)

    def metrics(self, latent: StochasticLatent) -> dict[str, float]:
        """Compute `kl`, `mutual_information` and its limit, and `active_units`.

        Args:
            latent: the latent layer; there must be at least two sentences.
        """
        assert self.cost is not None
        rows = self.spread(MAX_PAIRWISE)
        output = select_rows(self.output, rows)
        assert output.mean is not None
        return {
            "kl": self.cost / self.sentences,
            "mutual_information": mutual_information(latent, output, self.draws[rows]),
            "mutual_information_limit": math.log(len(rows)),
            "active_units": active_units(output.mean, latent.prior_variance),
        }


@torch.inference_mode()
def posterior_of(
    model: SequenceAutoencoder,
    batches: Iterable[Batch],
    seed: int = 0,
    importance_samples: int = 0,
) -> Posterior:
    """Encode sentences and score them.

    Args:
        model: in evaluation mode.
        batches: each best of sentences of similar length, which the shuffle gap compares.
        seed: of the draws.
        importance_samples: draws of the importance-weighted bound; 0 skips it.
    """
    generator = Generator().manual_seed(seed)
    outputs, draws = [], []
    posterior = Posterior(LatentOutput(torch.empty(0)), torch.empty(0))
    is_stochastic = isinstance(model.latent, StochasticLatent)
    posterior.cost = 0.0 if has_latent_cost(model) else None
    posterior.importance_weighted = 0.0 if is_stochastic and importance_samples else None
    for batch in batches:
        output = model.encode(batch)
        memory, output.memory = output.memory, None  # far larger than all else: none is kept
        draw = output.latent
        if isinstance(model.latent, StochasticLatent):
            draw = model.latent.sample_posterior(output, generator)
        nll = sentence_nll(model, batch, draw, memory)
        gap, gap_tokens = shuffle_gap(model, batch, draw, nll, memory)
        outputs.append(output)
        draws.append(draw)
        posterior.sentences += len(batch)
        posterior.tokens += batch.num_targets
        posterior.nll += float(nll.sum())
        posterior.gap += gap
        posterior.gap_tokens += gap_tokens
        if posterior.cost is not None:
            posterior.cost += float(latent_cost(model, output).sum())
        if posterior.importance_weighted is not None:
            bound = importance_weighted_nll(model, batch, output, importance_samples, generator)
            posterior.importance_weighted += float(bound.sum())
    posterior.output, posterior.draws = concatenate(outputs), torch.cat(draws)
    return posterior
