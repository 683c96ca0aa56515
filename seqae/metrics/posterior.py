"""One walk over sentences that gathers what the figures of likelihood and latent space need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.metrics.geometry import active_units, join, mutual_information, select
from seqae.metrics.nll import (
    importance_weighted_nll,
    is_paid_for,
    latent_cost,
    sentence_nll,
    shuffle_gap,
)
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import LatentOutput, StochasticLatent

# Sentences that what takes all pairs of them, or a decomposition, is measured on.
PAIRWISE = 2000


@dataclass
class Posterior:
    """What a model made of some sentences; sums are in nats.

    Attributes:
        output: the latent layer's output, its `latent` the mean of the posterior where it has one.
        draws: (n, Z), one draw from each posterior; without one, the latents.
        sentences: n.
        tokens: target tokens, the ends counted.
        nll: sum of -log p(x|z) at the draws.
        cost: sum of what the latents cost, None where nothing counts it.
        importance_weighted: sum of the importance-weighted bound, None where it was not asked for.
        gap: sum of the gap between other sentences' latents and one's own.
        gap_tokens: how many tokens it is over.
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
        """Sum of -log p(x|z) and the latents' cost: an upper bound of -log p(x), on average."""
        return None if self.cost is None else self.nll + self.cost

    def figures(self, latent: StochasticLatent) -> dict[str, float]:
        """`kl`, `mutual_information` and its limit, `active_units`, of two sentences or more."""
        assert self.cost is not None
        rows = self.spread(PAIRWISE)
        chosen = select(self.output, rows)
        assert chosen.mean is not None
        return {
            "kl": self.cost / self.sentences,
            "mutual_information": mutual_information(latent, chosen, self.draws[rows]),
            "mutual_information_limit": math.log(len(rows)),
            "active_units": active_units(chosen.mean, latent.prior_variance),
        }

    def spread(self, count: int) -> Tensor:
        """The places of at most so many sentences, of all lengths."""
        size = min(count, self.sentences)
        return torch.linspace(0, self.sentences - 1, size).long().to(self.draws.device)

    @property
    def shuffle_gap(self) -> float:
        """Nats per token, see `seqae.metrics.nll.shuffle_gap`; not a number for one row."""
        return self.gap / self.gap_tokens if self.gap_tokens else float("nan")


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
        batches: of sentences of like length, which the shuffle gap is best taken between.
        seed: of the draws.
        importance_samples: draws of the importance-weighted bound; 0 leaves it out.
    """
    generator = Generator().manual_seed(seed)
    outputs, draws = [], []
    found = Posterior(LatentOutput(torch.empty(0)), torch.empty(0))
    is_stochastic = isinstance(model.latent, StochasticLatent)
    found.cost = 0.0 if is_paid_for(model) else None
    found.importance_weighted = 0.0 if is_stochastic and importance_samples else None
    for batch in batches:
        output = model.encode(batch)
        draw = output.latent
        if isinstance(model.latent, StochasticLatent):
            draw = model.latent.sample_posterior(output, generator)
        nll = sentence_nll(model, batch, draw)
        gap, gap_tokens = shuffle_gap(model, batch, draw, nll)
        outputs.append(output)
        draws.append(draw)
        found.sentences += len(batch)
        found.tokens += batch.num_targets
        found.nll += float(nll.sum())
        found.gap += gap
        found.gap_tokens += gap_tokens
        if found.cost is not None:
            found.cost += float(latent_cost(model, output).sum())
        if found.importance_weighted is not None:
            bound = importance_weighted_nll(model, batch, output, importance_samples, generator)
            found.importance_weighted += float(bound.sum())
    found.output, found.draws = join(outputs), torch.cat(draws)
    return found
