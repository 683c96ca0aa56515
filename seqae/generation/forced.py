"""Words that a beam search has to write: which of them a hypothesis has, and what it wants next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqae.generation.phrases import Phrases


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
        self.phrases = Phrases([spelling for word in words for spelling in word], device)
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
