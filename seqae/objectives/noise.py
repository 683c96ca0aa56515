"""Noise on sentences, and the denoising autoencoder: read a damaged sentence, write the whole one.

The four kinds of noise are those of Shen et al. 2020 (arXiv:1905.12777) and Lample et al. 2018
(arXiv:1711.00043, section 2.3). They work on token ids; bos, eos and padding are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.batch import Batch, Vocabulary, to_device_of
from seqae.component import check_range


@dataclass(frozen=True)
class NoiseRates:
    """How much noise there is.

    Attributes:
        delete: chance that a token is left out. One token of a sentence always stays.
        blank: chance that a token which stays becomes unk.
        substitute: chance that a token which stays becomes a random one, any but pad, unk, bos and
            eos, each as likely as the others.
        shuffle_distance: how many places a token moves at most.
    """

    delete: float = 0.0
    blank: float = 0.0
    substitute: float = 0.0
    shuffle_distance: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: if a rate is none, or blank and substitute are more than all tokens.
        """
        check_range("delete", self.delete, 0.0, 1.0)
        check_range("blank", self.blank, 0.0, 1.0)
        check_range("substitute", self.substitute, 0.0, 1.0)
        check_range("shuffle_distance", self.shuffle_distance, 0, 2**13)
        if self.blank + self.substitute > 1.0:
            raise ValueError(
                f"`blank` and `substitute` must be at most 1 together, but they are "
                f"{self.blank + self.substitute} instead. Lower one of them."
            )


def corrupt(batch: Batch, rates: NoiseRates, vocabulary: Vocabulary, generator: Generator) -> Batch:
    """Damage the sentences that are read; those to write stay as they are.

    Tokens are shuffled, then deleted, then those that are left blanked or substituted.

    Args:
        batch: clean sentences; it is not changed.
        rates: how much noise.
        vocabulary: the special ids.
        generator: on the CPU.

    Returns:
        The damaged sentences, of the same width, paired with what the batch was to write.
    """
    draws = torch.rand((3, *batch.token_ids.shape), generator=generator)
    for_shuffle, for_delete, for_change = to_device_of(batch.token_ids, draws)
    places = torch.arange(batch.token_ids.shape[1], device=batch.token_ids.device)
    inner = (places > 0) & (places < batch.lengths[:, None] - 1)
    token_ids, lengths = batch.token_ids, batch.lengths
    if rates.shuffle_distance:
        # Sorted by place + uniform(0, k + 1), no token passes one that is more than k places away.
        jitter = for_shuffle.double() * (rates.shuffle_distance + 1)
        keys = torch.where(inner, places + jitter, _outside(places, inner))
        token_ids = token_ids.gather(1, keys.argsort(dim=1, stable=True))
    if rates.delete:
        # The token with the highest draw stays whatever it is: a sentence does not become empty.
        highest = for_delete.masked_fill(~inner, -1.0).amax(dim=1, keepdim=True)
        deleted = inner & (for_delete < rates.delete) & (for_delete < highest)
        order = deleted.long().argsort(dim=1, stable=True)  # what stays moves to the front
        lengths = lengths - deleted.sum(dim=1)
        token_ids = token_ids.gather(1, order)
        token_ids = token_ids.masked_fill(places >= lengths[:, None], vocabulary.pad_id)
        inner = (places > 0) & (places < lengths[:, None] - 1)
    if rates.blank:
        token_ids = token_ids.masked_fill(inner & (for_change < rates.blank), vocabulary.unk_id)
    if rates.substitute:
        others = _random_tokens(token_ids, vocabulary, generator)
        is_other = (for_change >= rates.blank) & (for_change < rates.blank + rates.substitute)
        token_ids = torch.where(inner & is_other, others, token_ids)
    return batch.with_input(token_ids, lengths)


def _outside(places: Tensor, inner: Tensor) -> Tensor:
    """Keys that keep bos before all tokens and eos and padding after them, in their order."""
    after = places + 2.0 * inner.shape[1] + 2.0**13  # above any place and its jitter
    return torch.where(places == 0, -1.0, after.double())


def _random_tokens(like: Tensor, vocabulary: Vocabulary, generator: Generator) -> Tensor:
    """Ids of ordinary tokens, as many as `like` has."""
    v = vocabulary
    special = sorted({v.pad_id, v.unk_id, v.bos_id, v.eos_id})
    ids = torch.randint(v.size - len(special), like.shape, generator=generator)
    for one in special:
        ids += ids >= one  # ids count the ordinary tokens; step over each special one
    return to_device_of(like, ids)
