"""Schedules by hand."""

from __future__ import annotations

import pytest

from seqae.objectives.annealing import cyclical_annealing, linear_annealing


def test_linear():
    assert [linear_annealing(step, 4) for step in (0, 1, 2, 4, 5, 100)] == [0, 0.25, 0.5, 1, 1, 1]
    assert linear_annealing(0, 0) == 1


def test_cyclical():
    """Two cycles of 8 steps, half of which rise; then it stays."""
    found = [cyclical_annealing(step, 4, cycles=2, rising_share=0.5) for step in range(20)]
    rise = [0, 0.25, 0.5, 0.75]
    assert found == [*rise, *[1] * 4, *rise, *[1] * 8]


def test_one_cycle_is_linear():
    for share in (0.1, 0.5, 1.0):
        found = [cyclical_annealing(step, 5, 1, share) for step in range(20)]
        assert found == [linear_annealing(step, 5) for step in range(20)]


@pytest.mark.parametrize("cycles", [1, 3])
def test_no_warmup_is_no_schedule(cycles):
    assert {cyclical_annealing(step, 0, cycles, 0.5) for step in range(10)} == {1.0}
