"""Constraints on decoding: tokens that must not be generated, and words that must be.

LogitConstraints masks logits, for every search. ForcedWords tells a beam search which words each
hypothesis still lacks. Both follow sequences of tokens with a TokenAutomaton.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqae.batch import Vocabulary
from seqae.generation.options import Decoding


class TokenAutomaton:
    """Track how many tokens of each of S sequences end what each row has generated.

    This is the automaton of Knuth, Morris and Pratt (1977), for all sequences and rows at once. The
    progress of the rows is the number of matched tokens of each sequence, (rows, S) int64.

    Args:
        sequences: S sequences of up to L token ids, none of them empty.
        device: the device of the rows.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], device: torch.device) -> None:
        longest = max(map(len, sequences), default=1)
        padded = [[*sequence, *[-1] * (longest - len(sequence))] for sequence in sequences]
        self.tokens = torch.tensor(padded, dtype=torch.int64, device=device).reshape(-1, longest)
        self.lengths = torch.tensor([len(s) for s in sequences], dtype=torch.int64, device=device)
        # [s, p, q]: whether the first q tokens of s are the last q of its first p; (S, L+1, L).
        borders = torch.zeros(len(sequences), longest + 1, longest, dtype=torch.bool)
        for index, sequence in enumerate(sequences):
            for p in range(len(sequence) + 1):
                for q in range(min(p + 1, len(sequence))):
                    borders[index, p, q] = sequence[:q] == sequence[p - q : p]
        self._borders = borders.to(device)
        self._all = torch.arange(len(sequences), device=device)
        self._extended = torch.arange(1, longest + 1, device=device)  # progress, q + 1

    def __len__(self) -> int:
        return len(self.lengths)

    def start(self, rows: int) -> Tensor:
        """Return the progress of rows that have generated nothing, (rows, S)."""
        return self.lengths.new_zeros(rows, len(self))

    def advance(self, progress: Tensor, token: Tensor) -> Tensor:
        """Update the progress (rows, S) by one more token of each row, (rows,)."""
        # (rows, S, L): borders that the token extends; the longest one counts.
        is_extended = self._borders[self._all, progress] & (self.tokens == token[:, None, None])
        return (is_extended * self._extended).amax(dim=2)

    def next_tokens(self, progress: Tensor) -> Tensor:
        """Return the next token of each sequence, (rows, S); -1 if it is complete."""
        tokens = self.tokens[self._all, progress.clamp(max=self.tokens.shape[1] - 1)]
        return tokens.where(progress < self.lengths, -1)


class LogitConstraints:
    """Set the logits of forbidden tokens to minus infinity.

    If nothing else is left, eos is allowed: a row can always end.

    Args:
        vocabulary: for the special ids.
        options: lengths and n-grams.
        banned: sequences of token ids that must not be generated.
        rows: number of hypotheses.
        device: their device.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: Decoding,
        banned: Sequence[Sequence[int]],
        rows: int,
        device: torch.device,
    ) -> None:
        self.eos_id, self.pad_id, self.device = vocabulary.eos_id, vocabulary.pad_id, device
        self.min_length, self.ngram_size = options.min_length, options.no_repeat_ngram_size
        banned_ids = {vocabulary.pad_id, vocabulary.bos_id, *(s[0] for s in banned if len(s) == 1)}
        self.banned_ids = torch.tensor(sorted(banned_ids), device=device)
        self.eos = torch.tensor([self.eos_id], device=device)
        self.automaton = TokenAutomaton([s for s in banned if len(s) > 1], device)
        self.progress = self.automaton.start(rows)
        # How many tokens beside pad and bos are ruled out at most; None if they can be many.
        self.num_ruled_out: int | None = None
        if not (banned or self.ngram_size):
            self.num_ruled_out = int(self.min_length > 2)
        # Banning pad and bos alone always leaves a token.
        self.may_be_stuck = bool(banned or self.ngram_size or self.min_length > 2)

    @property
    def reads_history(self) -> bool:
        """Whether `apply` needs the tokens that the rows have generated."""
        return self.ngram_size > 0

    def apply(self, logits: Tensor, position: int, history: Tensor | None) -> None:
        """Mask logits in place.

        Args:
            logits: (rows, V), or log-probabilities.
            position: t, the number of tokens that each row has generated, bos not counted.
            history: (rows, t), these tokens; only needed if `reads_history`.
        """
        eos = logits[:, self.eos_id].clone() if self.may_be_stuck else None
        logits.index_fill_(1, self.banned_ids, -math.inf)
        if position + 2 < self.min_length:
            logits.index_fill_(1, self.eos, -math.inf)
        if len(self.automaton):
            is_last = self.progress == self.automaton.lengths - 1
            self._forbid(logits, self.automaton.next_tokens(self.progress), is_last)
        if self.ngram_size and history is not None and position >= self.ngram_size:
            # (rows, t - n + 1, n): all n-grams so far; those that begin as the next one will.
            ngrams = history.unfold(1, self.ngram_size, 1)
            tail = history[:, position - self.ngram_size + 1 :]
            self._forbid(logits, ngrams[..., -1], (ngrams[..., :-1] == tail[:, None]).all(dim=2))
        if eos is not None:
            is_stuck = logits.amax(dim=1) == -math.inf
            logits[:, self.eos_id] = eos.where(is_stuck, logits[:, self.eos_id])

    def update(self, parents: Tensor | None, token: Tensor) -> None:
        """Continue with the rows `parents` (None: all rows), which generated `token`."""
        if len(self.automaton):
            progress = self.progress if parents is None else self.progress[parents]
            self.progress = self.automaton.advance(progress, token)

    def _forbid(self, logits: Tensor, token: Tensor, is_forbidden: Tensor) -> None:
        """Mask those of the tokens (rows, M) that are forbidden, (rows, M)."""
        # pad stands for all others: it is banned already.
        logits.scatter_(1, token.where(is_forbidden, self.pad_id), -math.inf)


class ForcedWords:
    """Track the words that each hypothesis still lacks.

    A word may be tokenized in several ways, and any of them will do. Of the words that a hypothesis
    has begun only one counts, because continuing it may break off the others: so there always is a
    next token that leaves one fewer missing, and a hypothesis that has as many steps left as tokens
    missing can complete all words.

    Args:
        words: for each of W words its tokenizations, S of all words together.
        rows: number of hypotheses.
        device: their device.
    """

    def __init__(
        self, words: Sequence[Sequence[Sequence[int]]], rows: int, device: torch.device
    ) -> None:
        self.automaton = TokenAutomaton([tokens for word in words for tokens in word], device)
        word_of = [index for index, word in enumerate(words) for _ in word]
        self.word_of = torch.tensor(word_of, dtype=torch.int64, device=device)  # (S,)
        min_lengths = [min(map(len, word)) for word in words]
        self.min_lengths = torch.tensor(min_lengths, dtype=torch.int64, device=device)  # (W,)
        self.progress = self.automaton.start(rows)  # (rows, S)
        self.is_done = torch.zeros(rows, len(words), dtype=torch.bool, device=device)  # (rows, W)

    def missing_from_scratch(self) -> Tensor:
        """Count the missing tokens of each row if it breaks off the word it has begun, (rows,)."""
        return self._length_of_missing(self.is_done)

    def next_tokens(self) -> Tensor:
        """Return the next token of each tokenization, (rows, S); -1 if its word is done."""
        tokens = self.automaton.next_tokens(self.progress)
        return tokens.masked_fill(self.is_done[:, self.word_of], -1)

    def missing_after(self, parents: Tensor, token: Tensor) -> Tensor:
        """Count the missing tokens, (M,), once the rows `parents` (M,) generate `token` (M,)."""
        progress, is_done = self._after(parents, token)
        to_complete = self.automaton.lengths - progress
        gain = self.min_lengths[self.word_of] - to_complete
        gain = gain.masked_fill(is_done[:, self.word_of], 0).amax(dim=1).clamp(min=0)
        return self._length_of_missing(is_done) - gain

    def update(self, parents: Tensor, token: Tensor) -> None:
        """Continue with the rows `parents`, which generated `token`."""
        self.progress, self.is_done = self._after(parents, token)

    def _after(self, parents: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        progress = self.automaton.advance(self.progress[parents], token)
        is_complete = (progress == self.automaton.lengths).long()
        is_done = self.is_done[parents].long().index_add_(1, self.word_of, is_complete) > 0
        return progress, is_done

    def _length_of_missing(self, is_done: Tensor) -> Tensor:
        return self.min_lengths.expand_as(is_done).masked_fill(is_done, 0).sum(dim=1)
