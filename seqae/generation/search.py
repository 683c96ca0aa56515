"""Search: the contract, and the search that keeps a single hypothesis: greedy and sampling."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from torch import Tensor
from typing_extensions import override

from seqae.generation.constraints import LogitConstraints
from seqae.generation.options import Decoding
from seqae.generation.topk import fast_argmax

# A row that may loop, and whose last tokens are so few different ones, will not end by itself.
WINDOW, FEW_TOKENS, PAUSE = 32, 8, 16


class Hypothesis(NamedTuple):
    """One decoding of a latent.

    Attributes:
        token_ids: without bos, up to and without eos.
        score: log-probability under the model in nats, eos counted, divided by the length penalty;
            NaN if no score was requested.
    """

    token_ids: list[int]
    score: float


class Search(ABC):
    """Choose the next tokens, and the rows of the model's state that continue.

    A row of the state is an open hypothesis; a sentence may have several.

    Attributes:
        tracks_max_logit: whether `advance` sets `max_logit`; if not, the step loop does.
        max_logit: (rows,) the highest logit of each row in the last step; NaN or infinite if any
            logit of the row is.
        is_normalized: whether the logits are log-probabilities, some of which may be missing.
    """

    tracks_max_logit = False
    max_logit: Tensor
    is_normalized = False
    # Steps of each sentence at most, (sentences,); and the different ones, which are looked up.
    limits: Tensor | None = None
    limit_steps: frozenset[int] = frozenset()

    def set_limits(self, limits: Tensor) -> None:
        """End sentences that have not ended after so many steps.

        Args:
            limits: (sentences,) int64, at least 1.
        """
        self.limit_steps = frozenset(limits.tolist())
        self.limits = limits

    @property
    @abstractmethod
    def num_needed(self) -> int | None:
        """How many of the highest logits of a row it reads, pad and bos apart; None for all."""

    @abstractmethod
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take one step.

        Args:
            logits: (rows, V) of the next token; they may be overwritten.

        Returns:
            For each row that continues, the token that it has just generated, and the row of this
            step that it comes from (None: all rows continue as they are).
        """

    @abstractmethod
    def results(self) -> list[list[Hypothesis]]:
        """List the hypotheses of each sentence, the best first."""


@final
class SingleSearch(Search):
    """Keep one hypothesis of each sentence: its most likely next token, or a sampled one.

    Args:
        constraints: tokens that must not be generated.
        options: temperature, top-k and top-p.
        max_steps: most tokens to generate.
        rows: number of sentences.
        uniform: (rows, max_steps) in [0, 1), one number for each token to sample; None is greedy.
        scores: whether the hypotheses get scores.
        may_loop: (rows,) bool, True where a row ends once it repeats a few tokens over and over, as
            a language model does that takes the most likely token each time; None lets none end so.
    """

    def __init__(
        self,
        constraints: LogitConstraints,
        options: Decoding,
        max_steps: int,
        rows: int,
        uniform: Tensor | None,
        scores: bool,
        may_loop: Tensor | None = None,
    ) -> None:
        self.may_loop = may_loop
        self.constraints, self.options, self.uniform = constraints, options, uniform
        device = constraints.device
        self.open_rows = torch.arange(rows, device=device)
        self.sequences = torch.full((rows, max_steps), constraints.eos_id, device=device)
        self.position = 0
        self.scores = torch.zeros(rows, device=device) if scores else None
        self.tracks_max_logit = uniform is None

    @property
    @override
    def num_needed(self) -> int | None:
        ruled_out, top_k = self.constraints.num_ruled_out, self.options.top_k
        if ruled_out is None or (self.uniform is not None and not top_k):
            return None
        return ruled_out + (1 if self.uniform is None else top_k)

    @override
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = logits.float()
        if self.scores is not None and not self.is_normalized:
            logits = logits.log_softmax(dim=1)
        history = None
        if self.constraints.reads_history:
            history = self.sequences[self.open_rows, : self.position]
        self.constraints.apply(logits, self.position, history)
        token = self._choose(logits)
        token_logit = logits.gather(1, token[:, None])[:, 0]
        if self.tracks_max_logit:
            self.max_logit = token_logit
        if self.scores is not None:
            self.scores[self.open_rows] += token_logit
        self.sequences[self.open_rows, self.position] = token
        self.position += 1
        is_open = token != self.constraints.eos_id
        may_end = self.position >= max(WINDOW, self.constraints.min_length - 2)
        if self.may_loop is not None and may_end and self.position % PAUSE == 0:
            is_open &= ~self._loops()
        if self.limits is not None and self.position in self.limit_steps:
            is_open &= self.limits[self.open_rows] > self.position
        parents = None
        if not is_open.all():
            parents = is_open.nonzero()[:, 0]
            self.open_rows, token = self.open_rows[parents], token[parents]
        self.constraints.update(parents, token)
        return token, parents

    @override
    def results(self) -> list[list[Hypothesis]]:
        rows = cut_at_eos(self.sequences[:, : self.position].tolist(), self.constraints.eos_id)
        scores = [math.nan] * len(rows) if self.scores is None else self.scores.tolist()
        return [[Hypothesis(*pair)] for pair in zip(rows, scores, strict=True)]

    def _loops(self) -> Tensor:
        """Find the open rows that loop, (rows,) bool."""
        assert self.may_loop is not None
        window = self.sequences[self.open_rows, self.position - WINDOW : self.position]
        different = 1 + (window.sort(dim=1).values.diff(dim=1) != 0).sum(dim=1)
        return self.may_loop[self.open_rows] & (different <= FEW_TOKENS)

    def _choose(self, logits: Tensor) -> Tensor:
        if self.uniform is None:
            return fast_argmax(logits)
        return draw(logits, self.uniform[self.open_rows, self.position], self.options)


def draw(logits: Tensor, uniform: Tensor, options: Decoding) -> Tensor:
    """Sample a token of each row by inverting its distribution function.

    Args:
        logits: (rows, V).
        uniform: (rows,) in [0, 1); the token of a row depends on no other row's number.
        options: temperature, then top-k, then top-p.

    Returns:
        (rows,) int64.
    """
    candidates: Tensor | None = None
    if options.top_k or options.top_p < 1:
        size = logits.shape[1]
        logits, candidates = logits.topk(min(options.top_k or size, size), dim=1)
    # The maximum is subtracted before the division, which a small temperature would let overflow.
    logits = (logits - logits.amax(dim=1, keepdim=True)) / options.temperature
    probability = logits.softmax(dim=1)
    if options.top_p < 1:
        before = probability.cumsum(dim=1) - probability
        before[:, 0] = 0.0  # the most likely token stays
        probability = probability.masked_fill(before >= options.top_p, 0.0)
    cumulative = probability.cumsum(dim=1)
    # The first position above the number; a token of probability zero is never the first.
    index = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    index = index.clamp(max=logits.shape[1] - 1)
    return (index if candidates is None else candidates.gather(1, index))[:, 0]


def cut_at_eos(rows: list[list[int]], eos_id: int) -> list[list[int]]:
    """Cut each row before its first eos."""
    return [ids[: ids.index(eos_id)] if eos_id in ids else ids for ids in rows]
