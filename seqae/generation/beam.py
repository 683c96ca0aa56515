"""Beam search: several hypotheses of each sentence, all of them in one step of the model."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from seqae.generation.constraints import ForcedWords, LogitConstraints
from seqae.generation.options import Decoding
from seqae.generation.search import Hypothesis, Search, cut_at_eos
from seqae.generation.topk import fast_topk, fast_topk_of_beams, log_sum_exp


@final
class BeamSearch(Search):
    """Keep the K best open hypotheses of each sentence, and the n best finished ones.

    Of the 2K best continuations, those among the first K that end are finished, and the best K of
    the others stay open (as in Hugging Face's and fairseq's searches). A sentence leaves when no
    open hypothesis can still beat the n finished ones that are asked for.

    Words are forced by dynamic beam allocation (Post and Vilar 2018, arXiv:1804.06609): the next
    token of each missing word is always tried, and the beam is shared between hypotheses that miss
    few tokens and those that miss many.

    In shapes, R is the number of sentences that are still here, W the number of open hypotheses of
    each, and M the number of continuations under consideration.

    Args:
        constraints: tokens that must not be generated.
        options: beams K, hypotheses to return n, length penalty.
        max_steps: most tokens to generate.
        rows: number of sentences.
        forced: words that must be generated, for as many hypotheses as there are sentences.
    """

    tracks_max_logit = True

    def __init__(
        self,
        constraints: LogitConstraints,
        options: Decoding,
        max_steps: int,
        rows: int,
        forced: ForcedWords | None = None,
    ) -> None:
        self.constraints, self.forced, self.max_steps = constraints, forced, max_steps
        self.num_beams, self.penalty = options.num_beams, options.length_penalty
        self.min_steps = options.min_length - 1
        device, kept = constraints.device, options.num_return_sequences
        # Of the sentences that are still here: which they are (R,), and their open hypotheses' sums
        # of log-probabilities (R, W) and tokens (R, W, t). At first W is 1.
        self.sentences = torch.arange(rows, device=device)
        self.scores = torch.zeros(rows, 1, device=device)
        self.history = torch.empty(rows, 1, 0, dtype=torch.int64, device=device)
        self.position, self._width = 0, 1
        # Their best finished hypotheses, (R, n) and (R, n, max_steps); the same of all sentences.
        self.finished_scores = torch.full((rows, kept), -math.inf, device=device)
        self.finished = torch.full((rows, kept, max_steps), constraints.eos_id, device=device)
        self.result_scores = self.finished_scores.clone()
        self.result_tokens = self.finished.clone()

    @property
    @override
    def num_needed(self) -> int | None:
        ruled_out = self.constraints.num_ruled_out
        if ruled_out is None or self.forced is not None:
            return None
        return ruled_out + 2 * self.num_beams

    @override
    def advance(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        score, parent, token = self._best(*self._continuations(logits.float()))
        self.position += 1
        is_end, is_last = token == self.constraints.eos_id, self._is_last()
        first = slice(self.num_beams)
        is_finished = is_end[:, first] | is_last
        self._finish(score[:, first], parent[:, first], token[:, first], is_finished)
        # Those that end sort last; should they fill the beam, minus infinity rules them out.
        order = is_end.byte().argsort(dim=1, stable=True)[:, first]
        self.scores = score.masked_fill(is_end, -math.inf).gather(1, order)
        parent, token = parent.gather(1, order), token.gather(1, order)
        self.history = self._extend(parent, token)
        return self._retire(parent, token, is_last)

    @override
    def results(self) -> list[list[Hypothesis]]:
        eos_id = self.constraints.eos_id
        hypotheses = []
        for scores, tokens in zip(
            self.result_scores.tolist(), self.result_tokens.tolist(), strict=True
        ):
            pairs = zip(cut_at_eos(tokens, eos_id), scores, strict=True)
            hypotheses.append([Hypothesis(*pair) for pair in pairs if pair[1] > -math.inf])
        return hypotheses

    def _continuations(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the best continuations, and those that forced words need.

        Args:
            logits: (R * W, V) of the next token.

        Returns:
            Score, parent (0 ... W - 1) and token of each, (R, M).
        """
        (sentences, self._width), size = self.scores.shape, logits.shape[1]
        count = 2 * self.num_beams
        offset = self.scores
        if self.is_normalized:
            self.max_logit = logits.amax(dim=1)
        else:
            self.max_logit = total = log_sum_exp(logits)  # not finite either if a logit is not
            offset = offset - total.reshape(offset.shape)
        history = self.history.flatten(0, 1)
        if self.forced is None:
            # The softmax of what is not chosen is never written down.
            self.constraints.apply(logits, self.position, history)
            beams = logits.reshape(sentences, self._width, size)
            return fast_topk_of_beams(beams, offset, count)
        scores = logits.add_(offset.reshape(-1, 1))
        forced_tokens = self._forced_tokens(self.forced)
        unconstrained = _gather(scores, forced_tokens)
        self.constraints.apply(scores, self.position, history)
        is_exempt = self._is_exempt(self.forced, scores)[:, None]
        forced_score = unconstrained.where(is_exempt, _gather(scores, forced_tokens))
        # Forced tokens are tried anyway, so they leave the others; -1 becomes pad, masked already.
        forced_tokens = forced_tokens.where(forced_tokens >= 0, self.constraints.pad_id)
        scores.scatter_(1, forced_tokens, -math.inf)
        score, token = fast_topk(scores, count)
        score, token = torch.cat([score, forced_score], 1), torch.cat([token, forced_tokens], 1)
        parent = torch.arange(self._width, device=token.device)[:, None].expand(-1, token.shape[1])
        shape = sentences, parent.numel()
        return score.reshape(shape), parent.flatten().expand(shape), token.reshape(shape)

    def _forced_tokens(self, forced: ForcedWords) -> Tensor:
        """List the next tokens of forced words, (R * W, S): each once, -1 elsewhere."""
        tokens = forced.next_tokens()
        is_repeated = ((tokens[:, :, None] == tokens[:, None]) & _is_later(tokens)).any(dim=2)
        return tokens.masked_fill(is_repeated, -1)

    def _is_exempt(self, forced: ForcedWords, scores: Tensor) -> Tensor:
        """Whether forced tokens override the constraints, (R * W,).

        They do if there is no step to spare, or if the constraints leave nothing else but eos.
        """
        is_tight = forced.missing_from_scratch() >= self.max_steps - self.position
        others = scores.index_fill(1, self.constraints.eos, -math.inf)
        is_stuck: Tensor = others.amax(dim=1) == -math.inf
        return is_tight | is_stuck

    def _best(self, score: Tensor, parent: Tensor, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the 2K best of the continuations (R, M) of each sentence, in order."""
        if self.forced is None:
            return score, parent, token
        rows = self._rows(parent).flatten()
        missing = self.forced.missing_after(rows, token.flatten()).reshape(token.shape)
        is_end = token == self.constraints.eos_id
        is_possible = missing <= (self.max_steps - self.position - 1) * ~is_end
        score = score.masked_fill(~is_possible, -math.inf)
        by_score = score.argsort(dim=1, descending=True, stable=True)
        score, parent, token, missing = (
            part.gather(1, by_score) for part in (score, parent, token, missing)
        )
        # In rounds: each takes the best continuation left of every number of missing tokens.
        is_same = missing[:, :, None] == missing[:, None]
        round_ = (is_same & _is_later(score)).sum(dim=2)
        round_ = round_.masked_fill(score == -math.inf, score.shape[1])
        order = (round_ * (missing.max() + 1) + missing).argsort(dim=1, stable=True)
        order = order[:, : 2 * self.num_beams]
        return score.gather(1, order), parent.gather(1, order), token.gather(1, order)

    def _finish(self, score: Tensor, parent: Tensor, token: Tensor, is_finished: Tensor) -> None:
        """Keep the best of the hypotheses that finished earlier and of those that finish now."""
        if not is_finished.any():
            return
        score = score.masked_fill(~is_finished, -math.inf) / self.position**self.penalty
        scores = torch.cat([self.finished_scores, score], dim=1)
        self.finished_scores, order = scores.topk(self.finished_scores.shape[1], dim=1)
        padding = 0, self.max_steps - self.position
        finished = torch.nn.functional.pad(
            self._extend(parent, token), padding, value=self.constraints.eos_id
        )
        self.finished = _gather_rows(torch.cat([self.finished, finished], dim=1), order)

    def _extend(self, parent: Tensor, token: Tensor) -> Tensor:
        """Append `token` (R, M) to the history of the hypotheses `parent`: (R, M, t + 1)."""
        return torch.cat([_gather_rows(self.history, parent), token[..., None]], dim=2)

    def _is_last(self) -> Tensor:
        """Whether this is the last step of each sentence, (R, 1) bool."""
        if self.limits is None or self.position not in self.limit_steps:
            is_over = self.position == self.max_steps
            return torch.full((len(self.sentences), 1), is_over, device=self.sentences.device)
        is_last: Tensor = self.limits[self.sentences] <= self.position
        return (is_last | (self.position == self.max_steps))[:, None]

    def _retire(self, parent: Tensor, token: Tensor, is_last: Tensor) -> tuple[Tensor, Tensor]:
        """Set aside the sentences that are done; return what `advance` returns, for the others."""
        # Log-probabilities are at most 0. So the best end of a hypothesis is its present score,
        # divided by the length that suits it: the greatest or, to a power below 0, the least.
        least = max(self.position + 1, self.min_steps)
        length = self.max_steps if self.penalty >= 0 else least
        bound = self.scores.amax(dim=1) / length**self.penalty
        is_done = (bound <= self.finished_scores[:, -1]) | is_last[:, 0]
        rows = self._rows(parent)
        if is_done.any():
            done, here = self.sentences[is_done], ~is_done
            self.result_scores[done] = self.finished_scores[is_done]
            self.result_tokens[done] = self.finished[is_done]
            self.sentences, self.scores = self.sentences[here], self.scores[here]
            self.history = self.history[here]
            self.finished_scores, self.finished = self.finished_scores[here], self.finished[here]
            rows, token = rows[here], token[here]
        rows, token = rows.flatten(), token.flatten()
        self.constraints.update(rows, token)
        if self.forced is not None:
            self.forced.update(rows, token)
        return token, rows

    def _rows(self, parent: Tensor) -> Tensor:
        """Turn parents, numbered within their sentence (R, M), into rows of this step's logits."""
        return parent + self._width * torch.arange(len(parent), device=parent.device)[:, None]


def _is_later(values: Tensor) -> Tensor:
    """Whether the first index is greater than the second, (N, N) for (rows, N)."""
    index = torch.arange(values.shape[1], device=values.device)
    return index[:, None] > index


def _gather(scores: Tensor, token: Tensor) -> Tensor:
    """Gather the scores (rows, V) of tokens (rows, S); minus infinity for the token -1."""
    return scores.gather(1, token.clamp(min=0)).masked_fill(token < 0, -math.inf)


def _gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Gather the rows `index` (R, M) of (R, N, t): (R, M, t)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))
