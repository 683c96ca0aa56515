"""The sampler: one rank's batches in each epoch; and the rounded padding of what it asks for."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.data.batches import sampler as loading
from seqae.data.batches.batching import BatchPlan, Rounding, batches_of_rank, plan_batches
from seqae.data.batches.sampler import RoundedPadding, TokenBudgetBatchSampler

LENGTHS = np.random.default_rng(0).integers(3, 30, 500).astype(np.int32)


def as_lists(plan: BatchPlan) -> list[list[int]]:
    return [rows.tolist() for rows in plan]


def sampler(lengths: NDArray[np.int32] = LENGTHS, **options) -> TokenBudgetBatchSampler:
    return TokenBudgetBatchSampler(lengths, 64, **{"seed": 3, **options})


def test_it_gives_the_plan_of_its_epoch():
    ours = sampler()
    for epoch in (0, 1, 0):
        ours.set_epoch(epoch)
        expected = as_lists(plan_batches(LENGTHS, 64, 3, epoch))
        assert list(ours) == expected
        assert len(ours) == len(expected)


def test_it_gives_its_ranks_share():
    plan = plan_batches(LENGTHS, 64, 3, 2)
    for rank in range(3):
        ours = sampler(rank=rank, world_size=3)
        ours.set_epoch(2)
        assert list(ours) == as_lists(batches_of_rank(plan, rank, 3))


@given(st.integers(0, 40), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4))
def test_it_goes_on_where_it_was_on_any_number_of_ranks(steps, epoch, before, after):
    first = [sampler(rank=rank, world_size=before) for rank in range(before)]
    for ours in first:
        ours.set_epoch(epoch)
    steps = min(steps, len(first[0]))
    taken = [list(ours)[:steps] for ours in first]
    consumed = first[0].consumed(steps)
    second = [sampler(rank=rank, world_size=after) for rank in range(after)]
    for ours in second:
        ours.resume(epoch, steps, consumed)
        ours.set_epoch(epoch)  # Lightning calls it at the start of every epoch
    left = [list(ours) for ours in second]
    assert {steps + len(batches) for batches in left} == {len(ours) for ours in second}
    in_turn = [rows for step in zip(*taken, strict=True) for rows in step]
    in_turn += [rows for step in zip(*left, strict=True) for rows in step]
    assert sum(in_turn, []) == sum(as_lists(plan_batches(LENGTHS, 64, 3, epoch)), [])
    # All of it is consumed now, and the next epoch is whole.
    assert second[0].consumed(steps + len(left[0])) == len(LENGTHS)
    second[0].set_epoch(epoch + 1)
    assert len(second[0]) == len(batches_of_rank(plan_batches(LENGTHS, 64, 3, epoch), 0, after))
    assert second[0].consumed(0) == 0


def test_an_epoch_is_planned_once_and_its_length_needs_no_plan(monkeypatch):
    planned = []
    monkeypatch.setattr(
        loading,
        "plan_batches",
        lambda *place, **options: planned.append(place[3]) or plan_batches(*place, **options),
    )
    ours = sampler()
    batches = iter(ours)
    assert len(ours) > 0
    assert not planned  # a worker that is forked now holds no plan
    next(batches)
    assert list(ours)[0]
    assert len(ours) > 0
    assert ours.consumed(3) > 0
    assert planned == [0]
    ours.set_epoch(0)
    assert list(ours)[0]
    ours.set_epoch(1)
    assert list(ours)[0]
    assert planned == [0, 1]


def test_without_shuffling_every_epoch_is_the_same():
    ours = sampler(shuffle=False)
    first = list(ours)
    ours.set_epoch(7)
    assert list(ours) == first


def test_no_sentences():
    ours = TokenBudgetBatchSampler(np.zeros(0, np.int32), 100)
    assert len(ours) == 0
    assert list(ours) == []


def test_more_ranks_than_sentences_is_an_error():
    message = contracts.refusal(len, sampler(LENGTHS[:2], world_size=3))
    assert message.startswith("`trainer.devices` must be at most")


@pytest.mark.parametrize("budget", [0, -1, 2**31 + 1])
def test_an_impossible_budget_is_refused(budget):
    message = contracts.refusal(TokenBudgetBatchSampler, np.ones(3, np.int32), budget)
    assert message.startswith("`data.batch_tokens` must be between 1 and")


def batch(*lengths: int) -> Batch:
    return Batch(torch.ones(len(lengths), max(lengths), dtype=torch.int64), torch.tensor(lengths))


def test_padding_goes_on_to_the_rounded_length():
    padded = RoundedPadding(Rounding(8, 1, max_length=20), pad_id=7)(batch(5, 3))
    assert padded.token_ids.tolist() == [[1] * 5 + [7] * 3] * 2
    assert padded.lengths.tolist() == [5, 3]
    assert RoundedPadding(Rounding(8, 1, 20), 7)(batch(17)).token_ids.shape == (1, 20)


def test_both_sides_of_a_pair_are_padded():
    pair = batch(5, 3)
    pair.targets = batch(9, 2)
    padded = RoundedPadding(Rounding(8, 1, 64), 7)(pair)
    assert padded.targets is not None
    assert padded.token_ids.shape == (2, 8)
    assert padded.targets.token_ids.shape == (2, 16)


def test_without_rounding_a_batch_stays_what_it_is():
    given = batch(5, 3)
    assert RoundedPadding(Rounding(), 7)(given) is given
