"""Copying: a pointer at the tokens of the source, beside the decoder's vocabulary.

A name that training never saw is in no word of the vocabulary. Under a tokenizer that spells every
word in pieces (bytes, BPE, Unigram) it is in the source piece by piece, and each can be copied: no
vocabulary needs to be extended, as one of whole words does. That the pieces of a name are copied
one after the other is what `follow` is for.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from seqae.batch import Batch, Vocabulary
from seqae.component import Component, check_range
from seqae.model.memory.cross_attention import Memory
from seqae.model.memory.mixture_cross_entropy import mixture_cross_entropy

SMALLEST = 1e-30  # of a probability, so that its logarithm is finite

Pointed = tuple[Tensor, ...]  # what a pointer compares with, from `Copying.read`
OutputLayer = tuple[Tensor, Tensor, Tensor | None]  # as SequenceAutoencoder.output_layer


@final
class Copying(Component, nn.Module):
    """Points at a token of the source, or leaves the next token to the vocabulary.

    The probability of a token is `(1 - g) p_vocabulary + g p_source`, the second being that of all
    places of the source where it stands (pointer-generator, See et al. 2017, arXiv:1704.04368,
    equation 9). The gate g and the pointer are made of the decoder's features, so that any decoder
    can copy; the pointer is an attention of its own. bos, pad and unk are not copied.

    Args:
        hidden_dim: features by which the pointer compares.
        coverage: weight of the coverage loss (their equation 12), which punishes that a place is
            pointed at again. It is for summaries of several sentences; 0 leaves it out.
        follow: the pointer is told of each place how many tokens before it are those written last,
            up to this many, and learns how much likelier each of them makes that it is copied next.
            So it goes on where it is in a name; CopyNet's selective read (Gu et al. 2016,
            arXiv:1603.06393, section 3.4) is for the same. 0 tells it nothing.
    """

    def __init__(self, hidden_dim: int = 128, coverage: float = 0.0, follow: int = 0) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("coverage", coverage, 0.0, 1e6)
        check_range("follow", follow, 0, 64)
        self.hidden_dim, self.coverage, self.follow = hidden_dim, coverage, follow

    def build(self, output_dim: int, memory_dim: int, vocabulary: Vocabulary) -> None:
        """Make the weights.

        Args:
            output_dim: features of the decoder, F.
            memory_dim: features of a state of the memory, D.
            vocabulary: names the tokens that are not copied.
        """
        self.query = nn.Linear(output_dim, self.hidden_dim, bias=False)
        self.key = nn.Linear(memory_dim, self.hidden_dim, bias=False)
        self.gate = nn.Linear(output_dim, 1)
        if self.follow:
            # The score of a place, and the gate's logit, for each token that matches.
            self.place_follows = nn.Parameter(torch.ones(self.follow))
            self.gate_follows = nn.Parameter(torch.zeros(self.follow))
        self._never = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.bos_id)

    @property
    def state_size(self) -> int:
        """How many tensors `read` returns."""
        return 3 if self.follow else 2

    def read(self, memory: Memory, written: Tensor) -> Pointed:
        """Make what the pointer compares with.

        Args:
            memory: of B texts of up to S tokens.
            written: (B, T) int64, the previous tokens, as the decoder reads them.

        Returns:
            Keys (B, S, A) and their tokens (B, S); with `follow` also how many tokens that end at a
            place are those written last, (B, T, S) int64, at most `follow`.
        """
        key, token_ids = self.key(memory.states), memory.token_ids
        if not self.follow:
            return key, token_ids
        may_match = ~self._is_never(token_ids)[:, None]
        matches = run = ((written[:, :, None] == token_ids[:, None]) & may_match).long()
        for _ in range(self.follow - 1):
            # A run goes on if one token and one place earlier there was one.
            run = run * nn.functional.pad(run, (1, -1, 1, -1))
            matches = matches + run
        return key, token_ids, matches

    def start(self, memory: Memory) -> Pointed:
        """Make the same before generation, when nothing is written."""
        return self.read(memory, memory.token_ids.new_full((len(memory.token_ids), 1), -1))

    def advance(self, pointed: Pointed, token: Tensor) -> Pointed:
        """Update it by one more token (B,) that was written."""
        if not self.follow:
            return pointed
        key, token_ids, matches = pointed
        is_same = (token[:, None] == token_ids) & ~self._is_never(token_ids)
        longer = nn.functional.pad(matches, (1, -1)) + 1
        return key, token_ids, is_same[:, None] * longer.clamp_max(self.follow)

    def point(
        self, features: Tensor, key: Tensor, token_ids: Tensor, matches: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Say whether a token is copied, and which.

        Args:
            features: (B, T, F) of the decoder.
            key: from `read`, as the next.
            token_ids: (B, S).
            matches: (B, T, S), with `follow` only.

        Returns:
            The gate's logit (B, T), and the probability of each place if one is copied (B, T, S);
            both in float32.
        """
        scores = self.query(features) @ key.transpose(1, 2) * self.hidden_dim**-0.5
        gate = self.gate(features)[..., 0].float()
        if self.follow:
            assert matches is not None
            before = nn.functional.pad(matches, (1, -1))  # of a place: what ends just before it
            scores = scores + self._weigh(self.place_follows, before)
            gate = gate + self._weigh(self.gate_follows, before.amax(dim=2))
        scores = scores.float().masked_fill(self._is_never(token_ids)[:, None], -torch.inf)
        return gate, scores.softmax(dim=2)

    def log_probabilities(
        self, logits: Tensor, features: Tensor, key: Tensor, token_ids: Tensor, *matches: Tensor
    ) -> Tensor:
        """Mix the vocabulary's logits (B, T, V) with the pointer: log-probabilities (B, T, V)."""
        gate, places = self.point(features, key, token_ids, *matches)
        written = logits.float().softmax(dim=2) * (-gate).sigmoid()[..., None]
        index = token_ids[:, None].expand(-1, logits.shape[1], -1)
        mixture = written.scatter_add(2, index, places * gate.sigmoid()[..., None])
        return mixture.clamp_min(SMALLEST).log()

    def cross_entropy(
        self,
        features: Tensor,
        output_layer: OutputLayer,
        memory: Memory,
        batch: Batch,
        label_smoothing: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the cross-entropy of the target tokens.

        Args:
            features: (B, T-1, F) of the decoder.
            output_layer: input (N, D), weight and bias of the layer that gives the logits of the
                real targets.
            memory: of the sources.
            batch: the sources and the targets.
            label_smoothing: share of each target's probability that is spread over the vocabulary,
                in the distribution of the words that are written.

        Returns:
            As `mixture_cross_entropy`; the coverage loss is part of the first.
        """
        gate, places = self.point(features, *self.read(memory, batch.decoder_input))
        real, width = batch.target_positions, features.shape[1]
        target = batch.target.flatten().index_select(0, real)
        source_ids = memory.token_ids.index_select(0, real // width)
        real_gate = gate.flatten().index_select(0, real)
        real_places = places.flatten(0, 1).index_select(0, real)
        of_target = (real_places * (source_ids == target[:, None])).sum(dim=1)
        log_gate = nn.functional.logsigmoid(real_gate)
        loss, plain, correct = mixture_cross_entropy(
            *output_layer,
            target,
            nn.functional.logsigmoid(-real_gate),
            log_gate + of_target.clamp_min(SMALLEST).log(),
            (real_places * log_gate.exp()[:, None]).detach(),
            source_ids,
            label_smoothing,
        )
        if self.coverage:
            before = places.cumsum(dim=1) - places
            again = torch.minimum(places, before).sum(dim=2)
            loss = loss + self.coverage * (again * batch.target_mask).sum()
        return loss, plain, correct

    def _is_never(self, token_ids: Tensor) -> Tensor:
        """Tell which tokens (B, S) of the source are not copied."""
        is_never = torch.zeros_like(token_ids, dtype=torch.bool)
        for token_id in self._never:
            is_never = is_never | (token_ids == token_id)
        return is_never

    def _weigh(self, weights: Tensor, matches: Tensor) -> Tensor:
        """Sum the first weights, as many as there are matches."""
        sums = nn.functional.pad(weights.cumsum(dim=0), (1, 0))
        return sums[matches]
