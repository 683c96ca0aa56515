"""Intervals and tests of means over documents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seqae.metrics.summaries.significance import bootstrap, randomization_test


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    interval = bootstrap(values)
    error = values.std() / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert interval == bootstrap(values)
    assert bootstrap([0.5]) == (0.5, 0.5, 0.5)


def test_the_randomization_test_agrees_with_scipy() -> None:
    draw = np.random.default_rng(1)
    left = draw.normal(0.3, 1, 60)
    right = np.zeros(60)
    expected = stats.permutation_test(
        (left, right), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=10_000
    )
    assert randomization_test(left, right) == pytest.approx(expected.pvalue, abs=0.01)
    assert randomization_test(left, left) == 1.0


def test_few_documents_by_hand() -> None:
    # Of the eight exchanges of three equal differences two are as large.
    assert randomization_test([1, 1, 1], [0, 0, 0]) == pytest.approx(2 / 8, abs=0.02)
