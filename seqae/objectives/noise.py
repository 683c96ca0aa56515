"""Noise on sentences: insert, shuffle, delete, blank and substitute tokens that the encoder reads.

Insertion is that of Févry and Phang 2018 (arXiv:1809.02669, section 2.1), the other four kinds are
those of Shen et al. 2020 (arXiv:1905.12777) and Lample et al. 2018 (arXiv:1711.00043, section 2.3).
They act on token ids and never touch bos, eos or padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.batch import MAX_LENGTH, Batch, Vocabulary, to_device_of
from seqae.component import check_range

# Each sentence gets words of two others, about as long as itself: there are hardly more.
MAX_INSERT, NUM_OTHERS = 2.0, 2

# Of the rate, what a sentence's own is drawn from, evenly: a rate of 0.5 is then the 40 to 60 % of
# Févry and Phang.
LEAST, MOST = 0.8, 1.2


@dataclass(frozen=True)
class NoiseRates:
    """Rates of the five kinds of noise, checked when they are set.

    Attributes:
        delete: chance of deleting a token. One token of each sentence always stays.
        blank: chance of replacing a token that stays with unk.
        substitute: chance of replacing a token that stays with a random one, drawn uniformly from
            all but pad, unk, bos and eos.
        shuffle_distance: most positions that a token, or a run of `span` tokens, moves.
        insert: tokens of other sentences of the batch that are inserted, as a share of the
            sentence's own: the mean of a share that is drawn for each sentence.
        span: tokens that are inserted, and shuffled, together.
    """

    delete: float = 0.0
    blank: float = 0.0
    substitute: float = 0.0
    shuffle_distance: int = 0
    insert: float = 0.0
    span: int = 1

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
        check_range("insert", self.insert, 0.0, MAX_INSERT)
        check_range("span", self.span, 1, MAX_LENGTH)
        if self.blank + self.substitute > 1.0:
            raise ValueError(
                f"`blank` and `substitute` must be at most 1 together, but they are "
                f"{self.blank + self.substitute} instead. Lower one of them."
            )


def corrupt(
    batch: Batch,
    rates: NoiseRates,
    vocabulary: Vocabulary,
    generator: Generator,
    max_length: int = MAX_LENGTH,
) -> Batch:
    """Add noise to the sentences to encode; the sentences to decode stay clean.

    Tokens of others are inserted first, then all are shuffled, then some deleted; those that stay
    are then blanked or substituted.

    Args:
        batch: clean sentences, (B, T); it is not changed.
        rates: of each kind of noise.
        vocabulary: its special ids are never drawn.
        generator: on the CPU.
        max_length: most tokens of a noisy sentence, bos and eos counted; of one that insertion
            would make longer, the end of what is inserted is left out.

    Returns:
        The noisy sentences with the batch's own sentences as targets: (B, T), or wider if tokens
        are inserted.
    """
    token_ids, lengths = batch.token_ids, batch.lengths
    if rates.insert:
        token_ids, lengths = _insert(token_ids, lengths, rates, vocabulary, generator, max_length)
    draws = torch.rand((3, *token_ids.shape), generator=generator)
    for_shuffle, for_delete, for_replace = to_device_of(token_ids, draws)
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    is_inner = (positions > 0) & (positions < lengths[:, None] - 1)
    if rates.shuffle_distance:
        # Sorted by position + uniform(0, k + 1), no token passes one more than k positions away.
        places, jitter = positions, for_shuffle.double() * (rates.shuffle_distance + 1)
        if rates.span > 1:  # tokens of a run have its place and its draw; a stable sort keeps them
            places = (positions - 1).clamp(min=0) // rates.span
            jitter = jitter[:, places]
        keys = torch.where(is_inner, places + jitter, _outer_keys(positions))
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


def _insert(
    token_ids: Tensor,
    lengths: Tensor,
    rates: NoiseRates,
    vocabulary: Vocabulary,
    generator: Generator,
    max_length: int,
) -> tuple[Tensor, Tensor]:
    """Insert runs of two other sentences at random places: (B, T) and (B,) to (B, T') and (B,).

    Both are cut into runs at a random offset, and each run is inserted at most once.
    """
    rows, width = token_ids.shape
    span, num_runs = rates.span, (width - 2) // rates.span  # R, most runs of a sentence
    most = math.ceil(MOST * rates.insert * (width - 2) / span)  # M, most runs inserted
    shifts = torch.randperm(max(rows - 1, 0), generator=generator)[:NUM_OTHERS] + 1  # (K,)
    draws = [(rows, 2), (rows, NUM_OTHERS), (rows, NUM_OTHERS * num_runs), (rows, most)]
    drawn = [to_device_of(token_ids, torch.rand(d, generator=generator)) for d in draws]
    for_count, for_offset, for_choice, for_place = drawn
    inner = lengths - 2
    index = torch.arange(rows, device=token_ids.device)
    others = (index[:, None] + to_device_of(token_ids, shifts)) % rows  # (B, K)
    runs = inner[others] // span
    offsets = (for_offset[:, : len(shifts)] * (inner[others] - runs * span + 1)).long()
    run = torch.arange(num_runs, device=token_ids.device)
    is_run = (run < runs[..., None]).flatten(1)  # (B, K R)
    for_choice = for_choice[:, : is_run.shape[1]].masked_fill(~is_run, 2.0)
    chosen = for_choice.argsort(dim=1)[:, :most]  # (B, M), of K R
    share = rates.insert * (LEAST + (MOST - LEAST) * for_count[:, 0])
    count = (share * inner / span + for_count[:, 1]).long()
    count = count.minimum(is_run.sum(dim=1)).minimum((max_length - lengths).clamp(min=0) // span)

    other, run = chosen // max(num_runs, 1), chosen % max(num_runs, 1)
    first = 1 + offsets.gather(1, other) + run * span
    columns = first[..., None] + torch.arange(span, device=token_ids.device)  # (B, M, span)
    words = token_ids[others.gather(1, other)[..., None], columns.clamp(max=width - 1)]
    # A place is a gap between own tokens, and the order of what is inserted there.
    place = for_place[:, : chosen.shape[1]] * (lengths[:, None] - 1)
    place = place.floor() + 0.25 + 0.5 * place.frac()
    is_inserted = torch.arange(chosen.shape[1], device=token_ids.device) < count[:, None]
    place = torch.where(is_inserted, place, math.inf).repeat_interleave(span, dim=1)
    own = torch.arange(width, device=token_ids.device)
    own_place = torch.where(own < lengths[:, None], own.float(), math.inf)
    order = torch.cat([own_place, place], dim=1).argsort(dim=1, stable=True)
    lengths = lengths + count * span
    token_ids = torch.cat([token_ids, words.flatten(1)], dim=1).gather(1, order)
    # As wide as any row may be: to ask for the longest one would wait for the device.
    token_ids = token_ids[:, : max(width, min(width + most * span, max_length))]
    is_padding = torch.arange(token_ids.shape[1], device=token_ids.device) >= lengths[:, None]
    return token_ids.masked_fill(is_padding, vocabulary.pad_id), lengths


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
