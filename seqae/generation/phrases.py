"""Sequences of tokens that are looked for while rows are being written."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Phrases:
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
