"""The mask, the decoder's input and the target are views of the same two tensors."""

from __future__ import annotations

import contracts
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqae.batch import Batch, is_everywhere, length_mask

PAD, UNK, BOS, EOS = 0, 1, 2, 3


def test_a_batch_by_hand():
    batch = Batch(
        torch.tensor([[BOS, 7, 8, EOS], [BOS, EOS, PAD, PAD], [BOS, 9, EOS, PAD]]),
        torch.tensor([4, 2, 3]),
    )
    assert len(batch) == 3
    assert batch.mask.tolist() == [
        [True, True, True, True],
        [True, True, False, False],
        [True, True, True, False],
    ]
    assert batch.decoder_input.tolist() == [[BOS, 7, 8], [BOS, EOS, PAD], [BOS, 9, EOS]]
    assert batch.target.tolist() == [[7, 8, EOS], [EOS, PAD, PAD], [9, EOS, PAD]]
    assert batch.target_mask.tolist() == [
        [True, True, True],
        [True, False, False],
        [True, True, False],
    ]
    assert batch.num_targets == 6


@given(st.lists(st.integers(2, contracts.MAX_LENGTH), min_size=1, max_size=8), st.integers(0, 3))
def test_what_the_masks_select(lengths, more):
    batch = contracts.random_batch(lengths, max(lengths) + more)
    assert batch.token_ids[batch.mask].tolist() == [
        token for row, n in zip(batch.token_ids.tolist(), lengths, strict=True) for token in row[:n]
    ]
    targets = batch.target[batch.target_mask]
    assert len(targets) == batch.num_targets == sum(lengths) - len(lengths)
    assert torch.equal(batch.real_targets(batch.target), targets)
    assert (targets == EOS).sum() == len(lengths)
    assert not (targets == BOS).any()
    # What the decoder reads where it has to write eos is the last word, or bos.
    assert not (batch.decoder_input[batch.target_mask] == EOS).any()


def test_length_mask_of_no_rows():
    assert length_mask(torch.zeros(0, dtype=torch.int64), 4).shape == (0, 4)


@given(st.lists(st.integers(2, contracts.MAX_LENGTH), min_size=1, max_size=4), st.integers(0, 2))
def test_a_mask_shows_that_nothing_is_padded(lengths, more):
    batch = contracts.random_batch(lengths, max(lengths) + more)
    is_full = not more and len(set(lengths)) == 1
    assert batch.is_full == is_everywhere(batch.mask) == is_full
    # Another device is not asked: what was known before the copy is kept, the rest is not.
    moved = batch.to("meta")
    assert moved.is_full == is_full
    assert not Batch(moved.token_ids, moved.lengths).is_full
    assert not is_everywhere(length_mask(batch.lengths, batch.token_ids.shape[1]))


def test_to_moves_both():
    moved = contracts.random_batch().to("meta")
    assert moved.token_ids.is_meta
    assert moved.lengths.is_meta


def test_another_input_keeps_what_is_to_be_written():
    batch = contracts.random_batch([5, 2, 7])
    other = contracts.random_batch([3, 3, 4])
    replaced = batch.with_token_ids(other.token_ids, other.lengths)
    assert replaced.token_ids is other.token_ids
    assert torch.equal(replaced.mask, other.mask)
    assert torch.equal(replaced.target, batch.target)
    assert replaced.num_targets == batch.num_targets == 11
    assert replaced.with_token_ids(batch.token_ids, batch.lengths).target_batch is batch
