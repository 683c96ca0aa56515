"""The contract of a search, and the one that keeps a single hypothesis: greedy and sampling."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from torch import Tensor
from typing_extensions import override

from seqae.generation.constraints import LogitConstraints
from seqae.generation.options import DecodingOptions
from seqae.generation.topk import fast_argmax


class Hypothesis(NamedTuple):
    """What was written of a latent.

    Attributes:
        token_ids: without bos, up to and without eos.
        score: its log-probability under the model in nats, eos counted, by the length penalty; NaN
            where it was not asked for.
    """

    token_ids: list[int]
    score: float


class Search(ABC):
    """Which tokens are written next, and with which rows to go on.

    A row of the model's state is an open hypothesis; a sentence may have several.

    Attributes:
        tracks_max_logit: whether `advance` finds the highest logit of each row by itself.
        max_logit: (rows,) that logit, in the last step: NaN or infinite if any of a row is.
    """

    tracks_max_logit = False
    max_logit: Tensor

    @abstractmethod
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take a step.

        Args:
            logits: (rows, V) for the next token; they may be overwritten.

        Returns:
            Of the rows to go on with: the token that each has just written, and the row of this
            step that each comes from (None: the same rows as before).
        """

    @abstractmethod
    def results(self) -> list[list[Hypothesis]]:
        """For each sentence its hypotheses, the best first."""


@final
class SingleSearch(Search):
    """One hypothesis of each sentence: its likeliest next token, or one that is drawn.

    Args:
        rules: what may not be written.
        options: temperature, top-k and top-p.
        steps: most tokens to write.
        rows: sentences.
        uniform: (rows, steps) in [0, 1), what tokens are drawn with; without it none are.
        scores: whether the hypotheses get scores.
    """

    def __init__(
        self,
        rules: LogitConstraints,
        options: DecodingOptions,
        steps: int,
        rows: int,
        uniform: Tensor | None,
        scores: bool,
    ) -> None:
        self.rules, self.options, self.uniform = rules, options, uniform
        device = rules.never.device
        self.open = torch.arange(rows, device=device)
        self.written = torch.full((rows, steps), rules.eos_id, device=device)
        self.position = 0
        self.scores = torch.zeros(rows, device=device) if scores else None
        self.tracks_max_logit = uniform is None

    @override
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = logits.float()
        if self.scores is not None:
            logits = logits.log_softmax(dim=1)
        history = self.written[self.open, : self.position] if self.rules.reads_history else None
        self.rules.apply(logits, self.position, history)
        token = self._choose(logits)
        chosen = logits.gather(1, token[:, None])[:, 0]
        if self.tracks_max_logit:
            self.max_logit = chosen
        if self.scores is not None:
            self.scores[self.open] += chosen
        self.written[self.open, self.position] = token
        self.position += 1
        is_open = token != self.rules.eos_id
        parents = None
        if not is_open.all():
            parents = is_open.nonzero()[:, 0]
            self.open, token = self.open[parents], token[parents]
        self.rules.follow(parents, token)
        return token, parents

    @override
    def results(self) -> list[list[Hypothesis]]:
        rows = until(self.written[:, : self.position].tolist(), self.rules.eos_id)
        scores = [math.nan] * len(rows) if self.scores is None else self.scores.tolist()
        return [[Hypothesis(*pair)] for pair in zip(rows, scores, strict=True)]

    def _choose(self, logits: Tensor) -> Tensor:
        if self.uniform is None:
            return fast_argmax(logits)
        return draw(logits, self.uniform[self.open, self.position], self.options)


def draw(logits: Tensor, uniform: Tensor, options: DecodingOptions) -> Tensor:
    """Draw a token of each row by inverting its distribution function.

    Args:
        logits: (rows, V).
        uniform: (rows,) in [0, 1); what is drawn in a row depends on its own number only.
        options: temperature, then top-k, then top-p.

    Returns:
        (rows,) int64.
    """
    token: Tensor | None = None
    if options.top_k or options.top_p < 1:
        size = logits.shape[1]
        logits, token = logits.topk(min(options.top_k or size, size), dim=1)
    # Divided after the maximum is taken off: at a small temperature the quotient would overflow.
    logits = (logits - logits.amax(dim=1, keepdim=True)) / options.temperature
    probability = logits.softmax(dim=1)
    if options.top_p < 1:
        before = probability.cumsum(dim=1) - probability
        before[:, 0] = 0.0  # the likeliest token stays
        probability = probability.masked_fill(before >= options.top_p, 0.0)
    cumulative = probability.cumsum(dim=1)
    # The first place that exceeds the number; one of probability zero never does so first.
    index = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    index = index.clamp(max=logits.shape[1] - 1)
    return (index if token is None else token.gather(1, index))[:, 0]


def until(rows: list[list[int]], eos_id: int) -> list[list[int]]:
    """Cut each row before its first eos."""
    return [ids[: ids.index(eos_id)] if eos_id in ids else ids for ids in rows]
