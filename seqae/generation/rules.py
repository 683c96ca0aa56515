"""What may not be written next: pad and bos, banned words, an early end, repeated n-grams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqae.batch import Vocabulary
from seqae.generation.options import Decoding
from seqae.generation.phrases import Phrases


class Rules:
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
        options: Decoding,
        banned: Sequence[Sequence[int]],
        rows: int,
        device: torch.device,
    ) -> None:
        self.eos_id, self.pad_id = vocabulary.eos_id, vocabulary.pad_id
        self.min_length, self.ngram = options.min_length, options.no_repeat_ngram_size
        never = {vocabulary.pad_id, vocabulary.bos_id, *(s[0] for s in banned if len(s) == 1)}
        self.never = torch.tensor(sorted(never), device=device)
        self.eos = torch.tensor([self.eos_id], device=device)
        self.phrases = Phrases([sequence for sequence in banned if len(sequence) > 1], device)
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
