"""Beam search: several hypotheses of each sentence, all of them in one step of the model."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from seqae.generation.constraints import ForcedWords, LogitConstraints
from seqae.generation.options import DecodingOptions
from seqae.generation.search import Hypothesis, Search, until
from seqae.generation.topk import fast_topk


@final
class BeamSearch(Search):
    """The best hypotheses of each sentence, K of them open at a time.

    Of the 2K best continuations, those among the first K that end are finished, and the best K of
    the others stay open (as in Hugging Face's and fairseq's searches). A sentence leaves when no
    open hypothesis can still beat the n finished ones that are asked for.

    Forced words by dynamic beam allocation (Post and Vilar 2018, arXiv:1804.06609): the next token
    of each missing word is always tried, and the open places are shared out between hypotheses
    that miss few tokens and such that miss many.

    Args:
        rules: what may not be written.
        options: beams, hypotheses to return, length penalty.
        steps: most tokens to write.
        rows: sentences.
        forced: the words that must be written, for as many hypotheses as there are sentences.
    """

    def __init__(
        self,
        rules: LogitConstraints,
        options: DecodingOptions,
        steps: int,
        rows: int,
        forced: ForcedWords | None = None,
    ) -> None:
        self.rules, self.forced, self.steps = rules, forced, steps
        self.num_beams, self.penalty = options.num_beams, options.length_penalty
        self.min_steps = options.min_length - 1
        device, kept = rules.never.device, options.num_return_sequences
        self.sentences = torch.arange(rows, device=device)  # those that are still here
        self.scores = torch.zeros(rows, 1, device=device)  # (sentences, open): one open at first
        self.history = torch.empty(rows, 1, 0, dtype=torch.int64, device=device)
        self.position, self._width = 0, 1
        # The best finished ones, of the sentences that are here and of all.
        self.finished = torch.full((rows, kept), -math.inf, device=device)
        self.endings = torch.full((rows, kept, steps), rules.eos_id, device=device)
        self.all_finished, self.all_endings = self.finished.clone(), self.endings.clone()

    @override
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        score, parent, token = self._best(*self._continuations(logits.float().log_softmax(dim=1)))
        self.position += 1
        is_end, is_last = token == self.rules.eos_id, self.position == self.steps
        first = slice(self.num_beams)
        is_finished = is_end[:, first] | is_last
        self._finish(score[:, first], parent[:, first], token[:, first], is_finished)
        # In order, those that end behind the others; should they fill up, they are as good as none.
        order = is_end.byte().argsort(dim=1, stable=True)[:, first]
        self.scores = score.masked_fill(is_end, -math.inf).gather(1, order)
        parent, token = parent.gather(1, order), token.gather(1, order)
        self.history = self._extend(parent, token)
        return self._leave(parent, token, is_last)

    @override
    def results(self) -> list[list[Hypothesis]]:
        found = []
        eos_id = self.rules.eos_id
        for scores, rows in zip(self.all_finished.tolist(), self.all_endings.tolist(), strict=True):
            pairs = zip(until(rows, eos_id), scores, strict=True)
            found.append([Hypothesis(*pair) for pair in pairs if pair[1] > -math.inf])
        return found

    def _continuations(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From log-probabilities (rows, V): score, parent and token of the best, (R, M) each."""
        (sentences, self._width), size = self.scores.shape, scores.shape[1]
        count = 2 * self.num_beams
        scores += self.scores.flatten()[:, None]
        history = self.history.flatten(0, 1)
        if self.forced is None:
            self.rules.apply(scores, self.position, history)
            score, place = fast_topk(scores.reshape(sentences, -1), count)
            return score, place // size, place % size
        wanted = self._wanted(self.forced)
        before = _gather(scores, wanted)
        self.rules.apply(scores, self.position, history)
        is_exempt = self._is_exempt(self.forced, scores)[:, None]
        wanted_score = before.where(is_exempt, _gather(scores, wanted))
        # What is wanted is tried anyway: not twice. Where nothing is, pad is masked again.
        wanted = wanted.where(wanted >= 0, self.rules.pad_id)
        scores.scatter_(1, wanted, -math.inf)
        score, token = fast_topk(scores, count)
        score, token = torch.cat([score, wanted_score], 1), torch.cat([token, wanted], 1)
        parent = torch.arange(self._width, device=token.device)[:, None].expand(-1, token.shape[1])
        shape = sentences, parent.numel()
        return score.reshape(shape), parent.flatten().expand(shape), token.reshape(shape)

    def _wanted(self, forced: ForcedWords) -> Tensor:
        """The tokens that forced words want next, (rows, S): each once, -1 elsewhere."""
        wanted = forced.next_tokens()
        is_double = ((wanted[:, :, None] == wanted[:, None]) & _earlier(wanted)).any(dim=2)
        return wanted.masked_fill(is_double, -1)

    def _is_exempt(self, forced: ForcedWords, scores: Tensor) -> Tensor:
        """(rows,) where wanted tokens go before the rules: there is no room, or nothing, left."""
        is_tight = forced.missing_anew() >= self.steps - self.position
        others = scores.index_fill(1, self.rules.eos, -math.inf)
        is_stuck: Tensor = others.amax(dim=1) == -math.inf
        return is_tight | is_stuck

    def _best(self, score: Tensor, parent: Tensor, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The 2K best continuations of each sentence, in order."""
        if self.forced is None:
            return score, parent, token
        rows = self._rows(parent).flatten()
        missing = self.forced.missing_after(rows, token.flatten()).reshape(token.shape)
        is_end = token == self.rules.eos_id
        is_possible = missing <= (self.steps - self.position - 1) * ~is_end
        score = score.masked_fill(~is_possible, -math.inf)
        # Round by round, the best that is left of those that miss as many tokens.
        by_score = score.argsort(dim=1, descending=True, stable=True)
        score, parent, token, missing = (
            part.gather(1, by_score) for part in (score, parent, token, missing)
        )
        is_same = missing[:, :, None] == missing[:, None]
        turn = (is_same & _earlier(score)).sum(dim=2)
        turn = turn.masked_fill(score == -math.inf, score.shape[1])
        order = (turn * (missing.max() + 1) + missing).argsort(dim=1, stable=True)
        order = order[:, : 2 * self.num_beams]
        return score.gather(1, order), parent.gather(1, order), token.gather(1, order)

    def _finish(self, score: Tensor, parent: Tensor, token: Tensor, is_finished: Tensor) -> None:
        """Keep the best of what was finished before and now."""
        if not is_finished.any():
            return
        score = score.masked_fill(~is_finished, -math.inf) / self.position**self.penalty
        scores = torch.cat([self.finished, score], dim=1)
        self.finished, order = scores.topk(self.finished.shape[1], dim=1)
        endings = torch.nn.functional.pad(
            self._extend(parent, token), (0, self.steps - self.position), value=self.rules.eos_id
        )
        self.endings = _gather_rows(torch.cat([self.endings, endings], dim=1), order)

    def _extend(self, parent: Tensor, token: Tensor) -> Tensor:
        """What hypotheses have written that come from `parent` and now write `token`."""
        return torch.cat([_gather_rows(self.history, parent), token[..., None]], dim=2)

    def _leave(self, parent: Tensor, token: Tensor, is_last: bool) -> tuple[Tensor, Tensor]:
        """Put aside the sentences that are finished; what the open hypotheses come from."""
        # What is added to a log-probability is at most 0. So a hypothesis ends at best with what it
        # has, divided by what makes most of it: the greatest length or, to a power below 0, the
        # least.
        least = max(self.position + 1, self.min_steps)
        length = self.steps if self.penalty >= 0 else least
        bound = self.scores.amax(dim=1) / length**self.penalty
        is_done = (bound <= self.finished[:, -1]) | is_last
        rows = self._rows(parent)
        if is_done.any():
            done, here = self.sentences[is_done], ~is_done
            self.all_finished[done] = self.finished[is_done]
            self.all_endings[done] = self.endings[is_done]
            self.sentences, self.scores = self.sentences[here], self.scores[here]
            self.history = self.history[here]
            self.finished, self.endings = self.finished[here], self.endings[here]
            rows, token = rows[here], token[here]
        rows, token = rows.flatten(), token.flatten()
        self.rules.follow(rows, token)
        if self.forced is not None:
            self.forced.follow(rows, token)
        return token, rows

    def _rows(self, parent: Tensor) -> Tensor:
        """Parents counted within their sentence to rows of this step's logits."""
        return parent + self._width * torch.arange(len(parent), device=parent.device)[:, None]


def _earlier(values: Tensor) -> Tensor:
    """(N, N) for (rows, N): whether the second place stands before the first."""
    places = torch.arange(values.shape[1], device=values.device)
    return places[:, None] > places


def _gather(scores: Tensor, token: Tensor) -> Tensor:
    """The scores (rows, V) of tokens (rows, S); minus infinity for the token -1, which is none."""
    return scores.gather(1, token.clamp(min=0)).masked_fill(token < 0, -math.inf)


def _gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Of (sentences, N, t) the rows `index`, (sentences, M): (sentences, M, t)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))
