"""Properties of the plan: every sentence once, the budget held, and the same on any cluster."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import contracts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqae.data.batches.batching import (
    Rounding,
    assign_to_ranks,
    batches_of_rank,
    count_batches,
    plan_batches,
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


def as_lists(plan: Iterable[NDArray[np.int64]]) -> list[list[int]]:
    return [rows.tolist() for rows in plan]


def check_budget(batches: Iterable[NDArray[np.int64]], lengths: Lengths, budget: int) -> None:
    for rows in batches:
        assert len(rows) > 0
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget


# The plan


def test_the_order_is_what_it_always_was(real_lengths):
    """Worked by the first version of the package: published figures depend on it."""
    lengths = np.asarray([3, 5, 4, 3, 6, 5, 3, 4, 7, 3, 5, 4], np.int32)
    expected = [[1, 4], [5, 10], [9, 0, 3, 6], [2, 7, 11], [8]]
    assert as_lists(plan_batches(lengths, 12, 0, 0)) == expected
    expected = [[2, 7, 11], [5, 10], [8], [3, 0, 9, 6], [1, 4]]
    assert as_lists(plan_batches(lengths, 12, 7, 3)) == expected
    plan = plan_batches(lengths, 12, 0, 0)
    shares = [as_lists(batches_of_rank(plan, rank, 3)) for rank in range(3)]
    assert shares == [[[1, 4], [2, 7]], [[5, 10], [11]], [[9, 0, 3, 6], [8]]]

    digest = hashlib.sha256()
    for rows in plan_batches(real_lengths, 1024, 5, 2):
        digest.update(rows.astype("<i8").tobytes() + b"|")
    assert digest.hexdigest().startswith("e0a032a6753f6191791706497200c6a3")


@given(some_lengths, some_budgets, some_seeds, st.booleans())
def test_every_sentence_once_and_the_budget_held(lengths, budget, seed, shuffle):
    batches = list(plan_batches(lengths, budget, seed, 0, shuffle))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    check_budget(batches, lengths, budget)


@given(some_lengths, some_budgets, some_seeds)
def test_a_batch_is_closed_only_when_it_is_full(lengths, budget, seed):
    by_length = list(plan_batches(lengths, budget, seed, 0, shuffle=False))
    for rows, following in pairwise(by_length):
        assert lengths[rows].max() <= lengths[following].min()
        assert (len(rows) + 1) * lengths[following].min() > budget
    # Shuffled, other sentences stand in the same batches.
    shuffled = list(plan_batches(lengths, budget, seed, 0))
    assert sorted(sorted(lengths[rows]) for rows in shuffled) == sorted(
        sorted(lengths[rows]) for rows in by_length
    )


def test_one_long_sentence_makes_no_tiny_batches():
    lengths = np.asarray([2] * 10 + [1000], np.int32)
    plan = plan_batches(lengths, 1000, 0, 0, shuffle=False)
    assert as_lists(plan) == [list(range(10)), [10]]


@given(some_lengths, some_budgets, some_seeds)
def test_a_pure_function(lengths, budget, seed):
    before = lengths.copy()
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = plan_batches(lengths, budget, seed, 5)
    np.random.seed(2)  # noqa: NPY002
    second = plan_batches(lengths, budget, seed, 5)
    assert as_lists(first) == as_lists(second)
    assert np.array_equal(lengths, before)


def test_each_epoch_and_each_seed_has_an_order_of_its_own(real_lengths):
    plans = [plan_batches(real_lengths, 1024, *place) for place in ((0, 0), (0, 1), (1, 0))]
    orders = [np.concatenate(list(plan)).tolist() for plan in plans]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    # Not only the batches move: other sentences stand together.
    together = [{frozenset(rows.tolist()) for rows in plan} for plan in plans]
    assert len(together[0] & together[1]) < 0.05 * len(together[0])
    # And the lengths come in random order: neighbours correlate no more than chance allows.
    longest = [real_lengths[rows].max() for rows in plans[0]]
    correlation = np.corrcoef(longest[:-1], longest[1:])[0, 1]
    assert abs(correlation) < 4 / len(longest) ** 0.5


def test_without_shuffling_order_is_by_length_then_place():
    lengths = np.asarray([5, 3, 5, 4, 3], np.int32)
    for epoch in (0, 1):
        plan = plan_batches(lengths, 10, epoch, epoch, shuffle=False)
        assert as_lists(plan) == [[1, 4], [3, 0], [2]]


def test_padding_is_under_three_percent_of_real_text(real_lengths):
    batches = list(plan_batches(real_lengths, 1024, 0, 0))
    padded = sum(len(rows) * int(real_lengths[rows].max()) for rows in batches)
    assert 1 - real_lengths.sum() / padded < 0.03
    # Few batches are much below the budget: one for each length at most.
    full = [len(rows) * int(real_lengths[rows].max()) > 0.9 * 1024 for rows in batches]
    assert np.mean(full) > 0.95


def test_a_million_sentences_are_planned_in_two_seconds_and_20_megabytes():
    draw = np.random.default_rng(0).lognormal(3.0, 0.6, 1_000_000)
    lengths = np.clip(draw, 3, 128).astype(np.int32)
    start = time.perf_counter()
    plan = plan_batches(lengths, 8192, 0, 0)
    batches_of_rank(plan, 3, 8)
    assert time.perf_counter() - start < 2.0
    assert sum(map(len, plan)) == 1_000_000
    tracemalloc.start()
    plan_batches(lengths, 8192, 0, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_no_sentences():
    assert len(plan_batches(np.zeros(0, np.int32), 100, 0, 0)) == 0
    assert len(assign_to_ranks(plan_batches(np.zeros(0, np.int32), 100, 0, 0), 3)) == 0


# Ranks


@given(some_lengths, some_budgets, some_seeds, st.integers(1, 9), st.booleans())
def test_ranks_share_the_plan_evenly(lengths, budget, seed, world_size, shuffle):
    plan = plan_batches(lengths, budget, seed, 0, shuffle)
    try:
        shares = [batches_of_rank(plan, rank, world_size) for rank in range(world_size)]
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
    shares = [batches_of_rank(plan, rank, world_size) for rank in range(world_size)]
    in_turn = [rows.tolist() for step in zip(*shares, strict=True) for rows in step]
    assert in_turn == as_lists(plan)


def test_more_ranks_than_sentences_is_an_error():
    plan = plan_batches(np.asarray([3, 4], np.int32), 100, 0, 0)
    message = contracts.refusal(batches_of_rank, plan, 0, 3)
    assert message.startswith("`trainer.devices` must be at most")
    assert len(batches_of_rank(plan, 0, 2)) == 1


def test_a_last_round_with_one_row_does_not_stop_the_run():
    """Two full rounds and a batch of one row for two ranks: an earlier batch is cut instead."""
    lengths = np.asarray([4] * 9, np.int32)
    plan = plan_batches(lengths, 8, 0, 0, shuffle=False)
    assert [len(rows) for rows in plan] == [2, 2, 2, 2, 1]
    shares = [batches_of_rank(plan, rank, 2) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    assert sorted(np.concatenate([*shares[0], *shares[1]])) == list(range(9))


@given(some_lengths, some_budgets, some_seeds, st.integers(1, 9), st.data())
def test_who_goes_on_deals_alike(lengths, budget, seed, world_size, data):
    """A step depends on what is left only, also where the last round was cut for equal steps."""
    try:
        dealt = assign_to_ranks(plan_batches(lengths, budget, seed, 1), world_size)
    except ValueError:
        return
    taken = data.draw(st.integers(0, len(dealt) // world_size)) * world_size
    left = plan_batches(lengths, budget, seed, 1).after(int(dealt.consumed[taken]))
    assert as_lists(assign_to_ranks(left, world_size)) == as_lists(dealt)[taken:]


@given(some_lengths, some_budgets, st.integers(1, 5), st.integers(1, 5), st.data())
def test_any_number_of_ranks_consumes_the_sentences_in_one_order(
    lengths, budget, before, after, data
):
    plan = plan_batches(lengths, budget, 0, 0)
    try:
        dealt = assign_to_ranks(plan, before)
        steps = data.draw(st.integers(0, len(dealt) // before))
        first = as_lists(dealt)[: steps * before]
        second = as_lists(assign_to_ranks(plan.after(int(dealt.consumed[steps * before])), after))
    except ValueError:
        return
    assert sum(first + second, []) == sum(as_lists(plan), [])


# Rounding

some_rounding = st.builds(
    Rounding, length=st.integers(1, 9), rows=st.integers(1, 9), max_length=st.just(60)
)


@given(some_lengths, some_budgets, some_seeds, some_rounding, st.booleans())
def test_rounded_batches_keep_the_budget(lengths, budget, seed, rounding, shuffle):
    plan = plan_batches(lengths, budget, seed, 0, shuffle, rounding)
    assert sorted(np.concatenate(list(plan))) == list(range(len(lengths)))
    check_budget(plan, rounding.padded(lengths), budget)
    assert count_batches(lengths, budget, rounding) == len(plan)


@given(some_lengths, some_budgets, some_rounding)
def test_rows_are_rounded_where_there_are_enough(lengths, budget, rounding):
    by_length = list(plan_batches(lengths, budget, 0, 0, False, rounding))
    for rows, following in pairwise(by_length):
        if len(rows) % rounding.rows:
            # Fewer than the multiple: one more would have passed the budget.
            assert len(rows) < rounding.rows
            assert (len(rows) + 1) * rounding.padded(int(lengths[following[0]])) > budget


@given(some_lengths, some_budgets, st.integers(2, 9))
def test_long_sentences_have_company(lengths, budget, min_rows):
    rounding = Rounding(min_rows=min_rows)
    plan = plan_batches(lengths, budget, 0, 0, False, rounding)
    assert sorted(np.concatenate(list(plan))) == list(range(len(lengths)))
    assert count_batches(lengths, budget, rounding) == len(plan)
    for rows, following in pairwise(plan):
        assert len(rows) <= max(min_rows, budget // lengths[rows].max())
        # Where one more sentence was refused, there were enough.
        assert len(rows) >= max(min_rows, budget // lengths[following[0]])


@pytest.mark.parametrize(
    ("length", "padded"), [(1, 8), (8, 8), (9, 16), (40, 40), (41, 44), (44, 44)]
)
def test_lengths_are_rounded_up_to_the_longest_allowed(length, padded):
    assert Rounding(8, 8, max_length=44).padded(length) == padded


def test_rounding_makes_few_shapes(real_lengths):
    def shapes(rounding: Rounding) -> set[tuple[int, int]]:
        plan = plan_batches(real_lengths, 1024, 0, 0, rounding=rounding)
        return {(len(rows), int(rounding.padded(real_lengths[rows].max()))) for rows in plan}

    longest = int(real_lengths.max())
    assert len(shapes(Rounding())) > 20
    few = shapes(Rounding(8, 8, longest))
    assert len(few) <= 2 * len({length for _, length in few})
    assert len([rows for rows, _ in few if rows % 8]) <= 1  # the last sentences


@pytest.mark.parametrize(
    ("key", "option"),
    [("round_length", "length"), ("round_rows", "rows"), ("min_rows", "min_rows")],
)
def test_an_impossible_rounding_is_refused(key, option):
    message = contracts.refusal(Rounding, **{option: 0})
    assert message.startswith(f"`data.{key}` must be between 1 and 8,192")
