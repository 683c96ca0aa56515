"""A function over many items on several processes: in order, and no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from seqae.data.batches.workers import ITEMS_WITHOUT_POOL, map_in_order
from seqae.processes import available_cores

MANY = ITEMS_WITHOUT_POOL + 20


def double(number: int) -> int:
    time.sleep(0.002 * (number % 3))  # so that later ones are done before earlier ones
    return 2 * number


def refuse_30(number: int) -> int:
    if number == ITEMS_WITHOUT_POOL + 10:
        raise ValueError(f"not {number}")
    return number


def die(number: int) -> int:
    if number > ITEMS_WITHOUT_POOL:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_in_order(processes):
    for count in (0, 1, ITEMS_WITHOUT_POOL, ITEMS_WITHOUT_POOL + 1, MANY):
        found = list(map_in_order(double, range(count), processes))
        assert found == [(number, 2 * number) for number in range(count)]
        assert not multiprocessing.active_children()


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_in_its_turn(processes):
    found = []
    with pytest.raises(ValueError, match=f"not {ITEMS_WITHOUT_POOL + 10}"):
        found.extend(map_in_order(refuse_30, range(MANY), processes))
    assert not multiprocessing.active_children()


def test_items_are_read_only_a_few_ahead():
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(10**6):
            read = number
            yield number

    results = map_in_order(double, items(), 2)
    for _ in range(ITEMS_WITHOUT_POOL + 10):
        next(results)
    assert read < ITEMS_WITHOUT_POOL + 10 + 10
    results.close()
    assert not multiprocessing.active_children()


def test_a_killed_process_is_told_in_one_line():
    with pytest.raises(OSError, match=r"ended from outside, .* run the same command again"):
        list(map_in_order(die, range(MANY), 2))


def test_at_least_one_core():
    assert available_cores() >= 1
