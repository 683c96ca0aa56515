"""AdaptiveSoftmax: an output over a large vocabulary that computes rare words only when needed.

The words are ranked, the frequent ones first. A shortlist of them is one softmax with an entry for
each cluster of rarer words; a rare word's probability is its cluster's entry times a softmax within
the cluster (Grave et al. 2017, arXiv:1609.04309). Their tail clusters have smaller features; here
each word keeps its row of the output layer, all features of it, so that embeddings can be tied and
rare words lose nothing.

What it gives are log-probabilities over the whole vocabulary, in the order of the token ids, and
they sum to one exactly: evaluation and generation read them as logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

from seqae.batch import Vocabulary
from seqae.component import Component, check_literal, check_range, check_whole
from seqae.model.adaptive.clustered_cross_entropy import ClusteredSums, clustered_cross_entropy
from seqae.model.layers import in_float32

MAX_CLUSTERS = 16
# Shares of the vocabulary at which clusters begin by default, chosen by the time of a training step
# at 50,000 English words (docs/log.md).
SHARES = (0.04, 0.12, 0.28, 0.56)

Order = Literal["vocabulary", "counts"]


@final
class AdaptiveSoftmax(Component, nn.Module):
    """Puts rare words into clusters, which are computed only where one of their words is due.

    Args:
        cutoffs: the ranks at which the clusters begin, ascending; the words before the first are
            the shortlist. Null takes 4, 12, 28 and 56 % of the vocabulary.
        order: what ranks the words. `vocabulary`: their ids, which fall in frequency for words,
            characters and Unigram pieces, and nearly so for byte pairs; `counts`: how often the
            training text has them, counted before the first step.
    """

    def __init__(self, cutoffs: list[int] | None = None, order: Order = "vocabulary") -> None:
        super().__init__()
        if cutoffs is not None:
            check_range("len(cutoffs)", len(cutoffs), 1, MAX_CLUSTERS)
            cutoffs = [check_whole("cutoffs", cutoff, 1, 2**31) for cutoff in cutoffs]
            if any(low >= high for low, high in pairwise(cutoffs)):
                raise ValueError(
                    f"`cutoffs` must ascend, but they are {cutoffs} instead. Sort them, each once."
                )
        check_literal("order", order, Order)
        self.cutoffs, self.order = cutoffs, order
        self.bounds: tuple[int, ...] = ()

    def build(self, features: int, vocabulary: Vocabulary) -> None:
        """Make the weights.

        Args:
            features: of the output layer, D.
            vocabulary: whose words are ranked.

        Raises:
            ValueError: if a cluster begins beyond the vocabulary.
        """
        size = vocabulary.size
        cutoffs = self.cutoffs
        if cutoffs is None:
            cutoffs = sorted({max(1, round(share * size)) for share in SHARES})
        if cutoffs[-1] >= size:
            raise ValueError(
                f"`cutoffs` must be below the vocabulary's size, {size:,}, but the last is "
                f"{cutoffs[-1]:,} instead. Lower it, or leave out `model.autoencoder.adaptive`."
            )
        self.bounds = (*cutoffs, size)
        self.weight = nn.Parameter(torch.empty(len(cutoffs), features))
        # So that all words are equally likely before training.
        sizes = [high - low for low, high in pairwise(self.bounds)]
        self.bias = nn.Parameter(torch.tensor(sizes, dtype=torch.float32).log())
        nn.init.normal_(self.weight, std=features**-0.5)
        specials = vocabulary.pad_id, vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id
        self._is_cut = self.order == "vocabulary" and max(specials) < cutoffs[0]
        self._never_written = vocabulary.pad_id, vocabulary.bos_id
        if self.order == "counts":
            self.ranked_ids: Tensor
            self.register_buffer("ranked_ids", torch.arange(size))

    def rank(self, counts: Tensor) -> None:
        """Rank the words by (V,) counts, the most frequent first, equal ones by their ids."""
        self.ranked_ids.copy_(counts.argsort(descending=True, stable=True))

    def check_ranks(self, ranked_ids: Tensor | None) -> None:
        """Refuse ids that are not each word once, as those of a stranger's file may be.

        Args:
            ranked_ids: (V,) int64; None if the words have the order of the vocabulary.
        """
        if ranked_ids is None:
            return
        if not torch.equal(ranked_ids.sort().values, torch.arange(self.bounds[-1])):
            raise ValueError(
                "`adaptive.ranked_ids` of the model must have each token id once, but it does not. "
                "The file is damaged: get it again."
            )

    def share_in_clusters(self, counts: Tensor) -> float:
        """Compute which share of the tokens is in clusters, given (V,) counts by id."""
        return float(self._by_rank(counts)[self.bounds[0] :].sum() / counts.sum())

    def cross_entropy(
        self,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        is_compiled: bool = False,
    ) -> ClusteredSums:
        """Sum the cross-entropy of tokens; the gradient reaches every weight in every batch.

        Args:
            inputs: (N, D) of the output layer, as the next ones.
            weight: (V, D), by id.
            bias: (V,), by id.
            target: (N,) int64, ids.
            is_compiled: as `clustered_cross_entropy`.
        """
        if self.order == "counts":
            target = self._ranks()[target]
        layer = *self._ranked(weight, bias, slice(None)), self.weight, self.bias
        return clustered_cross_entropy(inputs, *layer, target, self.bounds, is_compiled)

    def log_probabilities(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the log-probabilities of all words: (..., D) inputs to (..., V), by id."""
        size = self.bounds[0]
        head = self._head(inputs, weight, bias)
        tails = [
            within_cluster(inputs, *self._ranked(weight, bias, words))
            + head[..., size + index, None]
            for index, words in enumerate(self._clusters())
        ]
        found = torch.cat([head[..., :size], *tails], dim=-1)
        return found if self.order == "vocabulary" else found[..., self._ranks()]

    def best(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, count: int) -> Tensor:
        """Compute the log-probabilities that can be among the highest of their row.

        A cluster is left out of a row in which `count` words of the shortlist, pad and bos not
        counted, are each likelier than the cluster as a whole: none of its words can be among the
        `count` likeliest that may be written.

        Args:
            inputs: (B, D) of the output layer, as the next ones.
            weight: (V, D), by id.
            bias: (V,), by id.
            count: how many of the highest must be right.

        Returns:
            (B, W) by id, W at most V, with minus infinity for words that were left out: those
            from W on were left out of every row.
        """
        size = self.bounds[0]
        head = self._head(inputs, weight, bias)
        words = head[:, :size]
        is_due = ~(head[:, size:] < self._threshold(words, count))  # also if they are no numbers
        due = is_due.any(dim=0).tolist()
        last = max((index for index, one in enumerate(due) if one), default=-1)
        width = self.bounds[last + 1] if self._is_cut else self.bounds[-1]
        found = words.new_full((len(words), width), -torch.inf)
        found[:, :size] = words
        for index, rows in enumerate(self._clusters()):
            if not due[index]:
                continue
            own = is_due[:, index].nonzero()[:, 0]
            tail = within_cluster(inputs[own], *self._ranked(weight, bias, rows))
            found[own, rows] = tail + head[own, size + index, None]
        return found if self.order == "vocabulary" else found[:, self._ranks()]

    def _threshold(self, words: Tensor, count: int) -> Tensor:
        """Find the `count`-th highest of (B, S) that may be written, (B, 1)."""
        ids = torch.arange(self.bounds[0], device=words.device)
        if self.order == "counts":
            ids = self.ranked_ids[: self.bounds[0]]
        pad_id, bos_id = self._never_written
        never = (ids == pad_id) | (ids == bos_id)
        allowed = words.masked_fill(never, -torch.inf)
        if count == 1:
            return allowed.amax(dim=1, keepdim=True)
        if count > self.bounds[0]:
            return words.new_full((len(words), 1), -torch.inf)
        return allowed.topk(count, dim=1).values[:, -1:]

    def _head(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the log-probabilities of the shortlist and of each cluster: (..., S + C)."""
        weight, bias = self._ranked(weight, bias, slice(0, self.bounds[0]))
        return within_cluster(
            inputs, torch.cat([weight, self.weight]), torch.cat([bias, self.bias])
        )

    def _clusters(self) -> Sequence[slice]:
        return [slice(*bounds) for bounds in pairwise(self.bounds)]

    def _ranked(self, weight: Tensor, bias: Tensor | None, ranks: slice) -> tuple[Tensor, Tensor]:
        """Return the output layer of some ranks; tied and linear heads have a bias."""
        assert bias is not None
        if self.order == "vocabulary":
            return weight[ranks], bias[ranks]
        ids = self.ranked_ids[ranks]
        return weight.index_select(0, ids), bias.index_select(0, ids)

    def _by_rank(self, values: Tensor) -> Tensor:
        return values if self.order == "vocabulary" else values[self.ranked_ids]

    def _ranks(self) -> Tensor:
        """Return the rank of each id, (V,)."""
        return torch.empty_like(self.ranked_ids).scatter_(
            0, self.ranked_ids, torch.arange(self.bounds[-1], device=self.ranked_ids.device)
        )


def within_cluster(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the logarithm of a softmax over some words: (..., D) inputs to (..., words)."""
    logits = in_float32(nn.functional.linear(inputs, weight, bias))
    return logits.log_softmax(dim=-1)
