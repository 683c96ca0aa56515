"""Batch and Vocabulary: what data hands to the model.

A batch is a rectangle of token ids and the true length of each row. The mask, the decoder's input
and the target are views of these two, so that they cannot disagree. Paired text (a document and its
summary) makes a batch of two such rectangles: the model reads one and learns to write the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# Longer than any sentence; it bounds the time and memory that a stranger's bundle can ask for.
MAX_LENGTH = 2**13


@dataclass(frozen=True)
class Vocabulary:
    """Size of a tokenizer's vocabulary, and the ids of its special tokens."""

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
        targets: B sentences to write instead of these, for paired text.
    """

    token_ids: Tensor
    lengths: Tensor
    targets: Batch | None = None
    _num_targets: int | None = field(default=None, repr=False, compare=False)
    _is_full: bool | None = field(default=None, repr=False, compare=False)

    @property
    def mask(self) -> Tensor:
        """(B, T) bool, True at real tokens; see `is_everywhere` for sentences of one length."""
        if self.is_full:
            return torch.ones((), dtype=torch.bool, device=self.lengths.device).expand(
                self.token_ids.shape
            )
        return length_mask(self.lengths, self.token_ids.shape[1])

    @property
    def is_full(self) -> bool:
        """Whether no sentence is padded, as far as it is known without waiting for a GPU."""
        if self._is_full is None:
            self._is_full = self.lengths.device.type == "cpu" and bool(
                (self.lengths.numpy() == self.token_ids.shape[1]).all()
            )
        return self._is_full

    @property
    def target_batch(self) -> Batch:
        """The sentences to write: `targets` if there are any, else the sentences themselves."""
        return self if self.targets is None else self.targets

    @property
    def decoder_input(self) -> Tensor:
        """(B, T-1) int64: the tokens that the decoder reads under teacher forcing."""
        return self.target_batch.token_ids[:, :-1]

    @property
    def target(self) -> Tensor:
        """(B, T-1) int64: the tokens that the decoder must write, eos included."""
        return self.target_batch.token_ids[:, 1:]

    @property
    def target_mask(self) -> Tensor:
        """(B, T-1) bool, True where the target is a real token."""
        targets = self.target_batch
        return length_mask(targets.lengths - 1, targets.token_ids.shape[1] - 1)

    @property
    def target_positions(self) -> Tensor:
        """(N,) int64: indices of the real target tokens among all B x (T-1)."""
        # Their number is known on the CPU, so nothing waits for a GPU to count them.
        positions = torch.nonzero_static(self.target_mask.flatten(), size=self.num_targets)
        return positions[:, 0]

    def real_targets(self, values: Tensor) -> Tensor:
        """Select the real target tokens of (B, T-1, ...) values: (N, ...), row by row."""
        flat = values.flatten(0, 1)
        if self.num_targets == len(flat):  # rows of one length, as most batches of training have
            return flat
        return flat.index_select(0, self.target_positions)

    @property
    def num_targets(self) -> int:
        """N, the tokens that the decoder must write; token-weighted means divide by it."""
        if self._num_targets is None:
            self._num_targets = int(self.target_batch.lengths.sum()) - len(self)
        return self._num_targets

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def with_token_ids(self, token_ids: Tensor, lengths: Tensor) -> Batch:
        """Replace the sentences to encode; the sentences to decode stay the same.

        Args:
            token_ids: (B, T) int64, as in the attributes.
            lengths: (B,) int64.
        """
        return Batch(token_ids, lengths, self.target_batch, self.num_targets)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy to a device, as Tensor.to does."""
        return Batch(
            self.token_ids.to(device, non_blocking=non_blocking),
            self.lengths.to(device, non_blocking=non_blocking),
            None if self.targets is None else self.targets.to(device, non_blocking),
            self.num_targets,  # counted before the copy: asking a GPU would wait for it
            self.is_full,
        )

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory, so that the copy to a GPU need not wait."""
        targets = None if self.targets is None else self.targets.pin_memory()
        return Batch(self.token_ids.pin_memory(), self.lengths.pin_memory(), targets)


def to_device_of(like: Tensor, values: Tensor) -> Tensor:
    """Copy values drawn on the CPU to the device of another tensor.

    Unlike `Tensor.to` by default, this does not wait for a GPU; kernels that read the copy run
    after it.
    """
    return values.to(like.device, non_blocking=True)


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """Turn (B,) lengths into a (B, width) bool mask, True before each length."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def is_everywhere(mask: Tensor) -> bool:
    """Say whether a mask is True everywhere and shows it by its strides: one element, expanded.

    `Batch.mask` is made so for sentences of one length. Attention without a mask can take a faster
    kernel, and a GPU need not be asked whether a mask excludes anything.
    """
    return mask.numel() > 1 and not any(mask.stride())


def check_batch(batch: Batch) -> Batch:
    """Refuse what another data loader gives.

    Raises:
        ValueError: if it is no Batch.
    """
    if not isinstance(batch, Batch):
        raise ValueError(
            f"`batch` must be a seqae.Batch, but it is a {type(batch).__name__} instead. Make it "
            f"in the DataLoader: `collate_fn=lambda rows: seqae.collate(rows, vocabulary)`, where "
            f"a row is the token ids of a sentence."
        )
    return batch
