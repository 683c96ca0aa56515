"""Kneser-Ney: against the formulas written out, as a distribution, and as a sampler."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from seqae.metrics.judge.kneser_ney import BOS, EOS, KneserNey

SIZE = 8


def rows_of(seed: int, count: int = 150) -> list[list[int]]:
    """Sequences of 0 to 6 symbols, some of which are much more frequent than others."""
    rng = random.Random(seed)
    weights = [20, 9, 6, 3, 2, 1]
    return [rng.choices(range(2, SIZE), weights, k=rng.randint(0, 6)) for _ in range(count)]


def written_out(
    rows: list[list[int]],
    order: int,
    context: list[int],
    symbol: int,
    is_estimated: list[int],
) -> float:
    """Equation 26 of Chen and Goodman 1999, n-gram by n-gram.

    `is_estimated` gets the orders whose discounts the counts determine.
    """
    framed = [[BOS, *row, EOS] for row in rows]
    raw = {
        n: Counter(tuple(row[i : i + n]) for row in framed for i in range(len(row) - n + 1))
        for n in range(1, order + 1)
    }

    def count(gram: tuple[int, ...]) -> int:
        if len(gram) == order or gram[0] == BOS:
            return 0 if gram == (BOS,) else raw[len(gram)][gram]
        return sum(other[1:] == gram for other in raw[len(gram) + 1])

    def probability(gram: tuple[int, ...]) -> float:
        if not gram:
            return 1 / (SIZE - 1)
        counts = {other: count(other) for other in raw[len(gram)]}
        n1, n2, n3, n4 = (sum(c == k for c in counts.values()) for k in (1, 2, 3, 4))
        discount = [0.0, 0.5, 1.0, 1.5]
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            discount = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            is_estimated.append(len(gram))
        mine = {g: c for g, c in counts.items() if g[:-1] == gram[:-1]}
        shorter = probability(gram[1:])
        if not sum(mine.values()):
            return shorter
        left = sum(discount[min(c, 3)] for c in mine.values())
        own = mine.get(gram, 0)
        return (own - discount[min(own, 3)] + left * shorter) / sum(mine.values())

    return probability((*context, symbol)[-order:])


@pytest.mark.parametrize("order", [2, 3])
def test_the_formulas_written_out(order: int) -> None:
    rows = rows_of(1)
    model = KneserNey(rows, SIZE, order)
    orders: list[int] = []
    for row in ([], [2, 3], [7, 7, 2], [4, 2, 6]):
        framed = [BOS, *row, EOS]
        places = range(1, len(framed))
        expected = [written_out(rows, order, framed[:i], framed[i], orders) for i in places]
        found, lengths = model.log_probabilities([row])
        assert lengths.tolist() == [len(row) + 1]
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)
    assert order in orders


@pytest.mark.parametrize("rows", [rows_of(2), rows_of(3, 4), [[5, 5]], [[]], []])
@pytest.mark.parametrize("order", [1, 3, 5])
def test_probabilities_sum_to_one_after_every_context(rows: list[list[int]], order: int) -> None:
    model = KneserNey(rows, SIZE, order)
    for context in ([], [2], [2, 2, 3], [7, 7, 7, 7]):
        continued = [context + [symbol] * (symbol != EOS) for symbol in range(1, SIZE)]
        found, lengths = model.log_probabilities(continued)
        at = np.cumsum(lengths) - lengths + len(context)
        assert np.exp(found[at]).sum() == pytest.approx(1)


def test_sequences_are_scored_as_if_alone() -> None:
    rows = rows_of(4, 20)
    model = KneserNey(rows_of(5), SIZE, 3)
    alone = [model.log_probabilities([row])[0] for row in rows]
    np.testing.assert_array_equal(model.log_probabilities(rows)[0], np.concatenate(alone))


def test_samples_are_as_frequent_as_they_are_probable() -> None:
    model = KneserNey(rows_of(6), SIZE, 3)
    drawn = model.sample(10_000, seed=0, longest=30)
    assert drawn[:50] == model.sample(10_000, seed=0, longest=30)[:50]
    for row, count in Counter(map(tuple, drawn)).most_common(12):
        expected = math.exp(model.log_probabilities([row])[0].sum())
        assert count / 10_000 == pytest.approx(expected, abs=4 * math.sqrt(expected / 10_000))
    assert max(map(len, model.sample(500, seed=1, longest=3))) == 3
