"""The decay of the learning rate, also where an epoch's steps change on the way."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import numbered, run_seqae, write_recipe, write_text

from seqae.training.optimization.schedule import (
    Decay,
    Schedule,
    end_at,
    learning_rate_factor,
    resume_decay,
)

DECAY = Decay(end=100, start=10, progress=0.0, epoch_steps=20, max_epochs=5, max_steps=-1)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1.0, 1.0, 1.0]), ("linear", [1.0, 0.5, 0.0]), ("cosine", [1.0, 0.5, 0.0])],
)
def test_up_in_a_line_then_down_to_zero(schedule: Schedule, expected: list[float]) -> None:
    factor = learning_rate_factor(schedule, 10, DECAY)
    assert [factor(step) for step in (0, 4)] == pytest.approx([1 / 11, 5 / 11])
    assert [factor(step) for step in (10, 55, 100)] == pytest.approx(expected)


def test_nothing_has_changed() -> None:
    before = replace(DECAY, start=37, progress=0.3)  # of a resume before
    assert resume_decay(before, DECAY, 60, 40) is before


@pytest.mark.parametrize(("epoch_steps", "left"), [(40, 80), (10, 20)])
def test_an_epoch_of_other_steps(epoch_steps: int, left: int) -> None:
    found = resume_decay(DECAY, replace(DECAY, epoch_steps=epoch_steps), 60, left)
    assert found.end == 60 + left
    assert found.progress_at(60) == DECAY.progress_at(60)
    assert found.progress_at(60 + left) == 1.0
    halves = found.progress_at(60 + left // 2)
    assert halves == pytest.approx((1.0 + DECAY.progress_at(60)) / 2)
    # And back.
    again = resume_decay(found, DECAY, 60 + left // 2, 20)
    assert again.progress_at(60 + left // 2) == halves
    assert again.progress_at(60 + left // 2 + 20) == 1.0


def test_other_steps_within_the_warm_up() -> None:
    found = resume_decay(DECAY, replace(DECAY, epoch_steps=40), 5, 195)
    assert (found.start, found.progress, found.end) == (10, 0.0, 200)


def test_more_epochs_are_a_new_decay() -> None:
    found = resume_decay(DECAY, replace(DECAY, max_epochs=10, end=200), 100, 100)
    assert found == Decay(200, 10, 0.0, 20, 10, -1)


def test_another_warm_up() -> None:
    assert resume_decay(DECAY, replace(DECAY, start=20), 60, 40) == replace(DECAY, start=20)


def test_a_last_step_that_is_chosen_in_the_warm_up() -> None:
    """As if it had been given."""
    assert end_at(DECAY, 5, 60) == replace(DECAY, end=60, max_steps=60)
    endless = replace(DECAY, end=math.inf)
    assert endless.progress_at(50) == 0.0
    assert end_at(endless, 5, 60) == replace(DECAY, end=60, max_steps=60)


def test_a_last_step_that_is_chosen_later() -> None:
    found = end_at(DECAY, 55, 75)
    assert found.progress_at(55) == DECAY.progress_at(55) == 0.5
    assert found.progress_at(65) == 0.75
    assert found.progress_at(75) == 1.0


def test_max_steps_ends_it_all_the_same() -> None:
    before = replace(DECAY, max_steps=90, end=90)
    assert resume_decay(before, replace(before, epoch_steps=40), 60, 80).end == 90


def test_a_resume_with_other_batches_comes_to_zero(tmp_path: Path) -> None:
    """As one on another number of processes does."""
    text = write_text(tmp_path / "text.txt", numbered(97))
    run = tmp_path / "run"
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", run]
    arguments += ["--trainer.max_epochs", 4, "--model.schedule", "linear", "--model.warmup_steps"]
    arguments += [1, "--checkpoint.every_n_steps", 1, "--checkpoint.keep", 1000]
    assert run_seqae("fit", *arguments, "--data.batch_tokens", 200) == 0
    saved = sorted(run.glob("checkpoints/step=*.ckpt"), key=lambda path: int(path.stem[5:]))
    middle = len(saved) // 2 + 1  # within an epoch
    for path in saved[middle:]:
        path.unlink()
    (run / "checkpoints" / "last.ckpt").unlink()
    (run / "checkpoints" / "last.ckpt").symlink_to(saved[middle - 1].name)
    changed = ["--data.batch_tokens", 60, "--resume_changed", "true"]
    assert run_seqae("fit", "--resume", run, *changed) == 0

    def rate(path: Path) -> float:
        loaded = torch.load(path, weights_only=True)
        return float(loaded["lr_schedulers"][0]["_last_lr"][0])

    after = sorted(run.glob("checkpoints/step=*.ckpt"), key=lambda path: int(path.stem[5:]))
    rates = [rate(path) for path in after]
    assert len(after) > len(saved) + 3
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(one > other for one, other in zip(rates[1:], rates[2:], strict=False))
    steps = [one - other for one, other in zip(rates[middle:], rates[middle + 1 :], strict=False)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)  # evenly, and no jump
