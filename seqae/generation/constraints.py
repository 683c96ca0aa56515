"""Words that a beam search has to write: which of them a hypothesis has, and what it wants next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqae.batch import Vocabulary
from seqae.generation.options import DecodingOptions


class ForcedWords:
    """The words that hypotheses still miss.

    A word may have several spellings in tokens; one of them will do. Of what a hypothesis has
    begun, only one word counts, since going on with it may break off the others: so there always
    is a next token that leaves one less missing, and a hypothesis with as many steps left as it
    misses tokens gets there.

    Args:
        words: of each word its spellings.
        rows: how many hypotheses.
        device: where they are.
    """

    def __init__(
        self, words: Sequence[Sequence[Sequence[int]]], rows: int, device: torch.device
    ) -> None:
        self.phrases = TokenAutomaton([spelling for word in words for spelling in word], device)
        owners = [index for index, word in enumerate(words) for _ in word]
        self.owner = torch.tensor(owners, dtype=torch.int64, device=device)
        shortest = [min(map(len, word)) for word in words]
        self.shortest = torch.tensor(shortest, dtype=torch.int64, device=device)
        self.progress = self.phrases.start(rows)
        self.is_done = torch.zeros(rows, len(words), dtype=torch.bool, device=device)

    def missing_anew(self) -> Tensor:
        """(rows,) tokens that each hypothesis misses, should it break off what it has begun."""
        return self._unwritten(self.is_done)

    def next_tokens(self) -> Tensor:
        """(rows, S) the token that each spelling wants next; -1 where its word is written."""
        return self.phrases.next_tokens(self.progress).masked_fill(self.is_done[:, self.owner], -1)

    def missing_after(self, parents: Tensor, token: Tensor) -> Tensor:
        """(M,) what is missing once the rows `parents` have written `token`, both (M,)."""
        return self._missing(*self._after(parents, token))

    def follow(self, parents: Tensor, token: Tensor) -> None:
        """Go on with the rows `parents`, which wrote `token`."""
        self.progress, self.is_done = self._after(parents, token)

    def _after(self, parents: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        progress = self.phrases.advance(self.progress[parents], token)
        is_done = self.is_done[parents].long()
        is_whole = (progress == self.phrases.lengths).long()
        return progress, is_done.index_add_(1, self.owner, is_whole) > 0

    def _missing(self, progress: Tensor, is_done: Tensor) -> Tensor:
        left = self.phrases.lengths - progress
        gain = (self.shortest[self.owner] - left).masked_fill(is_done[:, self.owner], 0)
        return self._unwritten(is_done) - gain.amax(dim=1).clamp(min=0)

    def _unwritten(self, is_done: Tensor) -> Tensor:
        return self.shortest.expand_as(is_done).masked_fill(is_done, 0).sum(dim=1)


class TokenAutomaton:
    """How much of each of S sequences stands at the end of what each row has written.

    The automaton of Knuth, Morris and Pratt (1977), for all sequences and rows at once. The
    progress of a row is its number of tokens of each sequence, (rows, S).

    Args:
        sequences: S sequences, none of them empty.
        device: where the rows are.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], device: torch.device) -> None:
        longest = max(map(len, sequences), default=1)
        padded = [[*sequence, *[-1] * (longest - len(sequence))] for sequence in sequences]
        self.tokens = torch.tensor(padded, dtype=torch.int64, device=device).reshape(-1, longest)
        self.lengths = torch.tensor([len(s) for s in sequences], dtype=torch.int64, device=device)
        # [s, p, q]: whether the first q tokens of s are the last q of its first p.
        borders = torch.zeros(len(sequences), longest + 1, longest, dtype=torch.bool)
        for index, sequence in enumerate(sequences):
            for p in range(len(sequence) + 1):
                for q in range(min(p + 1, len(sequence))):
                    borders[index, p, q] = sequence[:q] == sequence[p - q : p]
        self._borders = borders.to(device)
        self._all = torch.arange(len(sequences), device=device)
        self._reached = torch.arange(1, longest + 1, device=device)

    def __len__(self) -> int:
        return len(self.lengths)

    def start(self, rows: int) -> Tensor:
        """The progress of rows that have written nothing."""
        return self.lengths.new_zeros(rows, len(self))

    def advance(self, progress: Tensor, token: Tensor) -> Tensor:
        """The progress after one more token (rows,)."""
        goes_on = self._borders[self._all, progress] & (self.tokens == token[:, None, None])
        return (goes_on * self._reached).amax(dim=2)

    def next_tokens(self, progress: Tensor) -> Tensor:
        """(rows, S): the token that each sequence wants next; -1 where it is complete."""
        wanted = self.tokens[self._all, progress.clamp(max=self.tokens.shape[1] - 1)]
        return wanted.where(progress < self.lengths, -1)


class LogitConstraints:
    """Take the logits of forbidden tokens to minus infinity.

    Where nothing else is left, eos is allowed: a row can always end.

    Args:
        vocabulary: for the special ids.
        options: lengths and n-grams.
        banned: sequences of tokens that are not written.
        rows: how many are written.
        device: where they are.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        options: DecodingOptions,
        banned: Sequence[Sequence[int]],
        rows: int,
        device: torch.device,
    ) -> None:
        self.eos_id, self.pad_id = vocabulary.eos_id, vocabulary.pad_id
        self.min_length, self.ngram = options.min_length, options.no_repeat_ngram_size
        never = {vocabulary.pad_id, vocabulary.bos_id, *(s[0] for s in banned if len(s) == 1)}
        self.never = torch.tensor(sorted(never), device=device)
        self.eos = torch.tensor([self.eos_id], device=device)
        self.phrases = TokenAutomaton(
            [sequence for sequence in banned if len(sequence) > 1], device
        )
        self.progress = self.phrases.start(rows)
        # pad and bos alone leave something to write.
        self.may_be_stuck = bool(banned or self.ngram or self.min_length > 2)

    @property
    def reads_history(self) -> bool:
        """Whether what the rows have written matters."""
        return self.ngram > 0

    def apply(self, logits: Tensor, position: int, history: Tensor | None) -> None:
        """Mask in place.

        Args:
            logits: (rows, V), or log-probabilities.
            position: t, how many tokens each row has written, without bos.
            history: (rows, t), these; where `reads_history`.
        """
        eos = logits[:, self.eos_id].clone() if self.may_be_stuck else None
        logits.index_fill_(1, self.never, -math.inf)
        if position + 2 < self.min_length:
            logits.index_fill_(1, self.eos, -math.inf)
        if len(self.phrases):
            is_last = self.progress == self.phrases.lengths - 1
            wanted = self.phrases.next_tokens(self.progress)
            self._forbid(logits, wanted, is_last)
        if self.ngram and history is not None and position >= self.ngram:
            # (rows, places, n): every n-gram so far; those that begin as the coming one does.
            ngrams = history.unfold(1, self.ngram, 1)
            tail = history[:, position - self.ngram + 1 :]
            self._forbid(logits, ngrams[..., -1], (ngrams[..., :-1] == tail[:, None]).all(dim=2))
        if eos is not None:
            is_stuck = logits.amax(dim=1) == -math.inf
            logits[:, self.eos_id] = eos.where(is_stuck, logits[:, self.eos_id])

    def follow(self, parents: Tensor | None, token: Tensor) -> None:
        """Go on with the rows `parents` (None: all as they stand), which wrote `token`."""
        if len(self.phrases):
            progress = self.progress if parents is None else self.progress[parents]
            self.progress = self.phrases.advance(progress, token)

    def _forbid(self, logits: Tensor, token: Tensor, where: Tensor) -> None:
        # Places that forbid nothing forbid pad, which is forbidden anyway.
        logits.scatter_(1, token.where(where, self.pad_id), -math.inf)
