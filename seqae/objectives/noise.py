"""Noise on sentences: delete, blank, substitute and shuffle tokens of what the encoder reads.

The four kinds are those of Shen et al. 2020 (arXiv:1905.12777) and Lample et al. 2018
(arXiv:1711.00043, section 2.3). They act on token ids and never touch bos, eos or padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.batch import MAX_LENGTH, Batch, Vocabulary, to_device_of
from seqae.component import check_range


@dataclass(frozen=True)
class NoiseRates:
    """Rates of the four kinds of noise, checked when they are set.

    Attributes:
        delete: chance of deleting a token. One token of each sentence always stays.
        blank: chance of replacing a token that stays with unk.
        substitute: chance of replacing a token that stays with a random one, drawn uniformly from
            all but pad, unk, bos and eos.
        shuffle_distance: most positions that a token moves.
    """

    delete: float = 0.0
    blank: float = 0.0
    substitute: float = 0.0
    shuffle_distance: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: if a rate is out of range, or `blank` and `substitute` add up to more
                than 1.
        """
        check_range("delete", self.delete, 0.0, 1.0)
        check_range("blank", self.blank, 0.0, 1.0)
        check_range("substitute", self.substitute, 0.0, 1.0)
        check_range("shuffle_distance", self.shuffle_distance, 0, MAX_LENGTH)
        if self.blank + self.substitute > 1.0:
            raise ValueError(
                f"`blank` and `substitute` must be at most 1 together, but they are "
                f"{self.blank + self.substitute} instead. Lower one of them."
            )


def corrupt(batch: Batch, rates: NoiseRates, vocabulary: Vocabulary, generator: Generator) -> Batch:
    """Add noise to the sentences to encode; the sentences to decode stay clean.

    Tokens are shuffled first, then deleted; those that stay are then blanked or substituted.

    Args:
        batch: clean sentences, (B, T); it is not changed.
        rates: of each kind of noise.
        vocabulary: its special ids are never drawn.
        generator: on the CPU.

    Returns:
        The noisy sentences, (B, T), with the batch's own sentences as targets.
    """
    draws = torch.rand((3, *batch.token_ids.shape), generator=generator)
    for_shuffle, for_delete, for_replace = to_device_of(batch.token_ids, draws)
    token_ids, lengths = batch.token_ids, batch.lengths
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    is_inner = (positions > 0) & (positions < lengths[:, None] - 1)
    if rates.shuffle_distance:
        # Sorted by position + uniform(0, k + 1), no token passes one more than k positions away.
        jitter = for_shuffle.double() * (rates.shuffle_distance + 1)
        keys = torch.where(is_inner, positions + jitter, _outer_keys(positions))
        token_ids = token_ids.gather(1, keys.argsort(dim=1, stable=True))
    if rates.delete:
        # The token with the highest draw always stays, so that no sentence becomes empty.
        highest = for_delete.masked_fill(~is_inner, -1.0).amax(dim=1, keepdim=True)
        is_deleted = is_inner & (for_delete < rates.delete) & (for_delete < highest)
        order = is_deleted.long().argsort(dim=1, stable=True)  # tokens that stay come first
        lengths = lengths - is_deleted.sum(dim=1)
        token_ids = token_ids.gather(1, order)
        token_ids = token_ids.masked_fill(positions >= lengths[:, None], vocabulary.pad_id)
        is_inner = (positions > 0) & (positions < lengths[:, None] - 1)
    if rates.blank:
        token_ids = token_ids.masked_fill(is_inner & (for_replace < rates.blank), vocabulary.unk_id)
    if rates.substitute:
        substitutes = _random_tokens(token_ids, vocabulary, generator)
        is_substituted = for_replace >= rates.blank
        is_substituted &= for_replace < rates.blank + rates.substitute
        token_ids = torch.where(is_inner & is_substituted, substitutes, token_ids)
    return batch.with_token_ids(token_ids, lengths)


def _outer_keys(positions: Tensor) -> Tensor:
    """Sort keys that keep bos before all words, and eos and padding after them, in order."""
    after = positions + 2.0 * len(positions) + MAX_LENGTH  # above any position and its jitter
    return torch.where(positions == 0, -1.0, after.double())


def _random_tokens(like: Tensor, vocabulary: Vocabulary, generator: Generator) -> Tensor:
    """Draw ids of ordinary tokens, in the shape and on the device of `like`."""
    v = vocabulary
    special_ids = sorted({v.pad_id, v.unk_id, v.bos_id, v.eos_id})
    ids = torch.randint(v.size - len(special_ids), like.shape, generator=generator)
    for special_id in special_ids:
        ids += ids >= special_id  # the draw numbers ordinary tokens only: step over this one
    return to_device_of(like, ids)
