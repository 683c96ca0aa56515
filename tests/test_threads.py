"""The number of threads: timed against a clock of our own, on a machine of our own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqae.batch import Batch
from seqae.training.callbacks import threads
from seqae.training.callbacks.threads import ThreadTuner, thread_candidates

CALM = {1: 1000.0, 2: 1500.0, 4: 2500.0}
BUSY = {1: 1000.0, 2: 90.0, 4: 300.0}  # as measured with one core kept busy


@pytest.fixture(autouse=True)
def no_choice_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


class Machine:
    """A clock, and how fast a step goes with each number of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float]) -> None:
        self.speeds, self.now, self.threads = speeds, 0.0, 3
        self.counts: list[int] = []
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        switches = SimpleNamespace(
            set_num_threads=self.set_threads, get_num_threads=lambda: self.threads
        )
        monkeypatch.setattr(threads, "time", clock)
        monkeypatch.setattr(threads, "torch", switches)

    def set_threads(self, count: int) -> None:
        self.threads = count

    def train(self, tuner: ThreadTuner, steps: int) -> None:
        """An epoch."""
        module: Any = SimpleNamespace(device=torch.device("cpu"))
        trainer: Any = SimpleNamespace(is_global_zero=True, strategy=SimpleNamespace())
        batch = Batch(torch.zeros(4, 11, dtype=torch.int64), torch.full((4,), 11))
        tuner.on_fit_start(trainer, module)
        tuner.on_train_epoch_start(trainer, module)
        for index in range(steps):
            tuner.on_train_batch_start(trainer, module, batch, index)
            self.counts.append(self.threads)
            self.now += batch.num_targets / self.speeds[self.threads]
            tuner.on_train_batch_end(trainer, module, None, batch, index)
        tuner.on_train_epoch_end(trainer, module)


@pytest.mark.parametrize(
    ("speeds", "fastest"), [(CALM, 4), (BUSY, 1), ({1: 900.0, 2: 1000.0, 4: 800.0}, 2)]
)
def test_the_fastest_is_chosen(
    monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float], fastest: int
) -> None:
    machine = Machine(monkeypatch, speeds)
    tuner = ThreadTuner(cores=4)
    machine.train(tuner, 50)
    assert tuner.chosen == machine.threads == fastest
    assert set(machine.counts[20:]) == {fastest}


def test_the_hopeless_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, BUSY)
    machine.train(ThreadTuner(cores=4), 50)
    assert machine.counts.count(2) == machine.counts.count(4) == 1


def test_the_others_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, CALM)
    machine.train(ThreadTuner(rounds=3, cores=2), 20)
    warm_up, timed = machine.counts[:1], machine.counts[1:7]
    assert warm_up == [1]
    assert timed == [1, 2, 1, 2, 1, 2]


def test_a_given_number_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {5: 1.0})
    tuner = ThreadTuner(5, cores=4)
    machine.train(tuner, 10)
    assert tuner.chosen == 5
    assert set(machine.counts) == {5}


def test_one_core_needs_no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {1: 1.0})
    machine.train(ThreadTuner(cores=1), 3)
    assert machine.counts == [1, 1, 1]


def test_an_epoch_too_short_to_time_restores_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, CALM)
    tuner = ThreadTuner(cores=4)
    machine.train(tuner, 3)
    assert machine.threads == 3  # torch's own number, not the one that was tried last
    machine.train(tuner, 50)
    machine.train(tuner, 3)
    assert machine.threads == 4  # what was found in the epoch before


def test_another_machine_in_another_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, CALM)
    tuner = ThreadTuner(cores=4)
    machine.train(tuner, 50)
    machine.speeds = BUSY
    machine.train(tuner, 50)
    assert tuner.chosen == 1


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 3, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_candidates(cores: int, expected: list[int]) -> None:
    assert thread_candidates(cores) == expected


def test_refuses_no_threads() -> None:
    with pytest.raises(ValueError, match="`threads` must be between 1 and"):
        ThreadTuner(0)


def test_the_environment_is_a_choice_of_the_user(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert ThreadTuner().threads == 2
    assert ThreadTuner(3).threads == 3
