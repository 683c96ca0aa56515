"""Properties of the plan: every sentence once, the budget held, and the same on any cluster."""

from __future__ import annotations

import time
from itertools import pairwise

import contracts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqae.data.batching import (
    BatchPlan,
    TokenBudgetBatchSampler,
    plan_batches,
    share_of_rank,
)
from seqae.data.builtin import load_builtin

Lengths = NDArray[np.int32]
some_lengths = st.lists(st.integers(2, 60), min_size=1, max_size=120).map(
    lambda lengths: np.asarray(lengths, np.int32)
)
some_budgets = st.integers(1, 400)
some_seeds = st.integers(0, 3)


@pytest.fixture(scope="module")
def real_lengths() -> Lengths:
    """Words of each sentence of the default corpus, bos and eos counted."""
    sentences = load_builtin("wordnet-examples")
    return np.asarray([len(sentence.split()) + 2 for sentence in sentences], np.int32)


def batches_of(plan: BatchPlan) -> list[NDArray[np.int64]]:
    return [plan[index] for index in range(len(plan))]


def check_budget(batches: list[NDArray[np.int64]], lengths: Lengths, budget: int) -> None:
    for rows in batches:
        assert len(rows) > 0
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget


# The plan


@given(some_lengths, some_budgets, some_seeds, st.booleans())
def test_every_sentence_once_and_the_budget_held(lengths, budget, seed, shuffle):
    batches = batches_of(plan_batches(lengths, budget, seed, 0, shuffle))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    check_budget(batches, lengths, budget)


@given(some_lengths, some_budgets, some_seeds)
def test_a_batch_is_closed_only_when_it_is_full(lengths, budget, seed):
    by_length = batches_of(plan_batches(lengths, budget, seed, 0, shuffle=False))
    for rows, following in pairwise(by_length):
        assert lengths[rows].max() <= lengths[following].min()
        assert (len(rows) + 1) * lengths[following].min() > budget
    # Shuffled, other sentences stand in the same batches.
    shuffled = batches_of(plan_batches(lengths, budget, seed, 0))
    assert sorted(sorted(lengths[rows]) for rows in shuffled) == sorted(
        sorted(lengths[rows]) for rows in by_length
    )


def test_one_long_sentence_makes_no_tiny_batches():
    lengths = np.asarray([2] * 10 + [1000], np.int32)
    plan = plan_batches(lengths, 1000, 0, 0, shuffle=False)
    assert [rows.tolist() for rows in batches_of(plan)] == [list(range(10)), [10]]


@given(some_lengths, some_budgets, some_seeds)
def test_a_pure_function(lengths, budget, seed):
    before = lengths.copy()
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = plan_batches(lengths, budget, seed, 5)
    np.random.seed(2)  # noqa: NPY002
    second = plan_batches(lengths, budget, seed, 5)
    assert np.array_equal(first.order, second.order)
    assert np.array_equal(first.starts, second.starts)
    assert np.array_equal(lengths, before)


def test_each_epoch_and_each_seed_has_an_order_of_its_own(real_lengths):
    plans = [plan_batches(real_lengths, 1024, *place) for place in ((0, 0), (0, 1), (1, 0))]
    orders = [plan.order.tolist() for plan in plans]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    # Not only the batches move: other sentences stand together.
    together = [{frozenset(rows.tolist()) for rows in batches_of(plan)} for plan in plans]
    assert len(together[0] & together[1]) < 0.05 * len(together[0])
    # And the lengths come in random order: neighbours correlate no more than chance allows.
    longest = [real_lengths[rows].max() for rows in batches_of(plans[0])]
    correlation = np.corrcoef(longest[:-1], longest[1:])[0, 1]
    assert abs(correlation) < 4 / len(longest) ** 0.5


def test_without_shuffling_order_is_by_length_then_place():
    lengths = np.asarray([5, 3, 5, 4, 3], np.int32)
    for epoch in (0, 1):
        plan = plan_batches(lengths, 10, epoch, epoch, shuffle=False)
        assert [rows.tolist() for rows in batches_of(plan)] == [[1, 4], [3, 0], [2]]


def test_padding_is_under_three_percent_of_real_text(real_lengths):
    batches = batches_of(plan_batches(real_lengths, 1024, 0, 0))
    padded = sum(len(rows) * int(real_lengths[rows].max()) for rows in batches)
    assert 1 - real_lengths.sum() / padded < 0.03
    # Few batches are much below the budget: one for each length at most.
    full = [len(rows) * int(real_lengths[rows].max()) > 0.9 * 1024 for rows in batches]
    assert np.mean(full) > 0.95


def test_a_million_sentences_are_planned_in_two_seconds():
    draw = np.random.default_rng(0).lognormal(3.0, 0.6, 1_000_000)
    lengths = np.clip(draw, 3, 128).astype(np.int32)
    start = time.perf_counter()
    plan = plan_batches(lengths, 8192, 0, 0)
    share_of_rank(plan, 3, 8)
    assert time.perf_counter() - start < 2.0
    assert len(plan.order) == 1_000_000


def test_no_sentences():
    assert len(plan_batches(np.zeros(0, np.int32), 100, 0, 0)) == 0
    assert list(TokenBudgetBatchSampler(np.zeros(0, np.int32), 100)) == []


# Ranks


@given(some_lengths, some_budgets, some_seeds, st.integers(1, 9), st.booleans())
def test_ranks_share_the_plan_evenly(lengths, budget, seed, world_size, shuffle):
    plan = plan_batches(lengths, budget, seed, 0, shuffle)
    try:
        shares = [share_of_rank(plan, rank, world_size) for rank in range(world_size)]
    except ValueError:
        # Only where there cannot be as many batches as equal numbers of steps need.
        steps = -(-len(plan) // world_size)
        assert steps * world_size > len(lengths)
        return
    assert len({len(share) for share in shares}) == 1
    dealt = [rows for share in shares for rows in share]
    assert sorted(np.concatenate(dealt)) == list(range(len(lengths)))
    check_budget(dealt, lengths, budget)


@given(some_lengths, some_budgets, st.data())
def test_whole_rounds_are_the_plans_own_batches(lengths, budget, data):
    plan = plan_batches(lengths, budget, 0, 0)
    divisors = [number for number in range(1, len(plan) + 1) if len(plan) % number == 0]
    world_size = data.draw(st.sampled_from(divisors))
    shares = [share_of_rank(plan, rank, world_size) for rank in range(world_size)]
    in_turn = [rows.tolist() for step in zip(*shares, strict=True) for rows in step]
    assert in_turn == [rows.tolist() for rows in batches_of(plan)]


def test_more_ranks_than_sentences_is_an_error():
    plan = plan_batches(np.asarray([3, 4], np.int32), 100, 0, 0)
    message = contracts.refusal(share_of_rank, plan, 0, 3)
    assert message.startswith("`trainer.devices` must be at most")
    assert len(share_of_rank(plan, 0, 2)) == 1


def test_a_last_round_with_one_row_does_not_stop_the_run():
    """Two full rounds and a batch of one row for two ranks: an earlier batch is cut instead."""
    lengths = np.asarray([4] * 9, np.int32)
    plan = plan_batches(lengths, 8, 0, 0, shuffle=False)
    assert [len(rows) for rows in batches_of(plan)] == [2, 2, 2, 2, 1]
    shares = [share_of_rank(plan, rank, 2) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    assert sorted(np.concatenate([*shares[0], *shares[1]])) == list(range(9))


# The sampler


def sampler(lengths: Lengths, **options) -> TokenBudgetBatchSampler:
    return TokenBudgetBatchSampler(lengths, 64, **{"seed": 3, **options})


def test_the_sampler_gives_the_plan_of_its_epoch(real_lengths):
    lengths = real_lengths[:500]
    ours = sampler(lengths)
    for epoch in (0, 1, 0):
        ours.set_epoch(epoch)
        expected = batches_of(plan_batches(lengths, 64, 3, epoch))
        assert list(ours) == [rows.tolist() for rows in expected]
        assert len(ours) == len(expected)


def test_the_sampler_gives_its_ranks_share(real_lengths):
    lengths = real_lengths[:500]
    plan = plan_batches(lengths, 64, 3, 2)
    for rank in range(3):
        ours = sampler(lengths, rank=rank, world_size=3)
        ours.set_epoch(2)
        assert list(ours) == [rows.tolist() for rows in share_of_rank(plan, rank, 3)]


@given(st.integers(0, 40), st.integers(0, 3))
def test_resume_leaves_out_exactly_what_was_consumed(consumed, epoch):
    lengths = np.arange(2, 302, dtype=np.int32) % 30 + 2
    through, ours = sampler(lengths), sampler(lengths)
    through.set_epoch(epoch)
    whole = list(through)
    assert len(whole) > 40
    ours.resume(epoch, consumed)
    ours.set_epoch(epoch)  # Lightning calls it at the start of every epoch
    assert list(ours) == whole[consumed:]
    assert list(ours) == whole  # once
    through.set_epoch(epoch + 1)
    ours.set_epoch(epoch + 1)
    assert list(ours) == list(through)


def test_without_shuffling_every_epoch_is_the_same(real_lengths):
    ours = sampler(real_lengths[:300], shuffle=False)
    first = list(ours)
    ours.set_epoch(7)
    assert list(ours) == first


@pytest.mark.parametrize("budget", [0, -1, 2**31 + 1])
def test_an_impossible_budget_is_refused(budget):
    message = contracts.refusal(TokenBudgetBatchSampler, np.ones(3, np.int32), budget)
    assert message.startswith("`data.batch_tokens` must be between 1 and")
