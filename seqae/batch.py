"""Batch and Vocabulary: what walks from the data to the model.

A batch is a rectangle of token ids and the true length of each row. Nothing else: the mask, the
decoder's input and the target are views of these two, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vocabulary:
    """The size of a tokenizer's vocabulary and the ids that have a meaning of their own."""

    size: int
    pad_id: int
    unk_id: int
    bos_id: int
    eos_id: int


@dataclass
class Batch:
    """Sentences as padded rows of token ids.

    Attributes:
        token_ids: (B, T) int64, right-padded, each row `bos ... eos`.
        lengths: (B,) int64, tokens of each row, bos and eos counted.
    """

    token_ids: Tensor
    lengths: Tensor
    _num_targets: int | None = field(default=None, repr=False, compare=False)

    @property
    def mask(self) -> Tensor:
        """(B, T) bool, True at real tokens."""
        return length_mask(self.lengths, self.token_ids.shape[1])

    @property
    def decoder_input(self) -> Tensor:
        """(B, T-1) int64: what the decoder reads under teacher forcing."""
        return self.token_ids[:, :-1]

    @property
    def target(self) -> Tensor:
        """(B, T-1) int64: what the decoder is to write, eos included."""
        return self.token_ids[:, 1:]

    @property
    def target_mask(self) -> Tensor:
        """(B, T-1) bool, True where the target is a real token."""
        return length_mask(self.lengths - 1, self.token_ids.shape[1] - 1)

    @property
    def num_targets(self) -> int:
        """Tokens that the decoder has to write: what a token-weighted mean divides by."""
        if self._num_targets is None:
            self._num_targets = int(self.lengths.sum()) - len(self)
        return self._num_targets

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy to a device, as Tensor.to does."""
        return Batch(
            self.token_ids.to(device, non_blocking=non_blocking),
            self.lengths.to(device, non_blocking=non_blocking),
            self.num_targets,  # counted before: to ask a GPU would wait for it
        )

    def pin_memory(self) -> Batch:
        """Move to page-locked memory, so that the copy to a GPU need not wait."""
        return Batch(self.token_ids.pin_memory(), self.lengths.pin_memory())


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """(B,) lengths to a (B, width) bool mask, True before each length."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]
