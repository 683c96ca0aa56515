"""The training ends in its time, and its schedule with it, by a clock of our own."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small import figures, numbered, read_rows, run_seqae, write_recipe, write_text

from seqae.training.callbacks import time_budget
from seqae.training.callbacks.time_budget import Pace, TimeBudget, describe_curve
from seqae.training.module import AutoencoderModule

STEP = 0.125  # seconds on the clock, also of a batch of a validation
MINUTES = 0.18
WARMUP = 30  # longer than it takes to time the first steps

Out = pytest.CaptureFixture[str]


class Clock:
    def __init__(self) -> None:
        self.now, self.step = 1000.0, STEP


@pytest.fixture(scope="module")
def patch() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def clock(patch: pytest.MonkeyPatch) -> Clock:
    """A clock that only batches move on."""
    clock = Clock()
    train, evaluate = AutoencoderModule.training_step, AutoencoderModule.validation_step

    def training_step(self: AutoencoderModule, *arguments: Any) -> Any:
        clock.now += clock.step
        return train(self, *arguments)

    def validation_step(self: AutoencoderModule, *arguments: Any) -> None:
        clock.now += STEP
        evaluate(self, *arguments)

    patch.setattr(time_budget, "monotonic", lambda: clock.now)
    patch.setattr(AutoencoderModule, "training_step", training_step)
    patch.setattr(AutoencoderModule, "validation_step", validation_step)
    return clock


Fit = Callable[..., list[str]]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("recipe")
    text = write_text(folder / "text.txt", numbered(120))
    options: list[object] = ["-c", write_recipe(folder), "--data.train", text]
    options += ["--data.batch_tokens", 40, "--data.val_percent", 10, "--threads", 1]
    options += ["--trainer.max_epochs", 10]
    options += ["--model.schedule", "linear", "--model.warmup_steps", WARMUP]
    options += ["--samples", 0, "--prior_sentences", 0, "--collapse_sentences", 0]
    return [*options, "--checkpoint.every_n_steps", 20]


BUDGET = ("--budget_minutes", MINUTES)


@pytest.fixture(scope="module")
def run(clock: Clock, options: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose whole length does not fit."""
    run = tmp_path_factory.mktemp("budget") / "run"
    started = clock.now
    arguments = [*options, *BUDGET, "--checkpoint.keep", 1000, "--run_dir", run]
    assert run_seqae("fit", *arguments) == 0
    (run / "seconds").write_text(str(clock.now - started))
    return run


def last_step(run: Path) -> int:
    return int(max(row["step"] for row in read_rows(run / "metrics.jsonl")))


def test_a_pace_counts_validations() -> None:
    pace = Pace(step=0.5, validation=4.0, interval=100)
    assert pace.seconds(200) == 200 * 0.5 + 2 * 4.0 + 4.0
    assert pace.steps(pace.seconds(200) + 0.1) == 200
    assert pace.steps(-10.0) == 1
    assert Pace(0.5, 0.0, math.inf).steps(60.0) == 120


def test_ends_in_time(run: Path) -> None:
    seconds = float((run / "seconds").read_text())
    assert MINUTES * 60 * 0.9 < seconds <= MINUTES * 60 * 1.02
    validations = [row for row in read_rows(run / "metrics.jsonl") if "val/loss" in row]
    assert len(validations) > 1


def test_the_schedule_is_that_of_the_chosen_length(
    run: Path, options: list[object], tmp_path: Path
) -> None:
    """The choice falls into the warm-up, so all is as if the last step had been given."""
    given = [*options, "--trainer.max_steps", last_step(run), "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *given) == 0
    assert figures(tmp_path / "run") == figures(run)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.0, abs=1e-6)


def test_a_resume_keeps_the_length(clock: Clock, run: Path, tmp_path: Path) -> None:
    """Although the machine is slower by now; the rest is the same, bit for bit."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy, symlinks=True)
    for path in (copy / "checkpoints").glob("step=*.ckpt"):
        if int(path.stem[5:]) > 40:
            path.unlink()
    (copy / "checkpoints" / "last.ckpt").unlink()
    clock.step = 3 * STEP
    assert run_seqae("fit", "--resume", copy) == 0
    clock.step = STEP
    assert figures(copy) == figures(run)


@pytest.mark.slow
def test_more_minutes_go_on(clock: Clock, run: Path, tmp_path: Path, capsys: Out) -> None:
    copy, started = tmp_path / "run", clock.now
    shutil.copytree(run, copy, symlinks=True)
    assert run_seqae("fit", "--resume", copy, "--budget_minutes", 2 * MINUTES) == 0
    assert MINUTES * 60 * 0.85 < clock.now - started < MINUTES * 60 * 1.05
    assert last_step(copy) > 1.5 * last_step(run)
    assert f"of {2 * MINUTES:g} minutes" in capsys.readouterr().out


def test_the_whole_training_fits(
    clock: Clock, options: list[object], tmp_path: Path, capsys: Out
) -> None:
    few = ["--trainer.max_epochs", 1, "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *options, *few, "--budget_minutes", 1) == 0
    said = capsys.readouterr().out
    steps = last_step(tmp_path / "run")
    assert f"time budget: all {steps:,} steps take about 0.1 of 1 minutes" in said
    assert f"time budget: {steps:,} steps in 0.1 of 1 minutes" in said
    assert "would take" not in said


@pytest.mark.slow
def test_a_training_without_a_last_step(
    clock: Clock, options: list[object], tmp_path: Path
) -> None:
    started = clock.now
    endless = ["--trainer.max_epochs", -1, "--run_dir", tmp_path / "run", "--data.val_percent", 0]
    assert run_seqae("fit", *options, *endless, "--budget_minutes", 0.08) == 0
    assert clock.now - started == pytest.approx(4.8, rel=0.05)


def test_a_slower_machine_is_noticed(
    clock: Clock, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next validation; the rest of the decay is spread over fewer steps, without a jump."""
    choose, rates = TimeBudget._choose, []

    def slow_down(self: TimeBudget, trainer: Any, module: Any) -> None:
        before = trainer.optimizers[0].param_groups[0]["lr"]
        choose(self, trainer, module)
        rates.append((before, module.lr_schedulers().lr_lambdas[0](trainer.global_step)))
        clock.step = 2 * STEP

    monkeypatch.setattr(TimeBudget, "_choose", slow_down)
    started = clock.now
    assert run_seqae("fit", *options, *BUDGET, "--run_dir", tmp_path / "run") == 0
    clock.step = STEP
    assert len(rates) > 1
    assert clock.now - started == pytest.approx(MINUTES * 60, rel=0.15)


def test_validations_by_the_clock(clock: Clock, options: list[object], tmp_path: Path) -> None:
    started = clock.now
    by_time = ["--trainer.val_check_interval", "00:00:10:00", "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *options, *by_time, "--budget_minutes", 0.08) == 0
    assert clock.now - started == pytest.approx(4.8, rel=0.2)


def test_what_more_time_would_bring(run: Path, capsys: Out) -> None:
    curve = {100: 0.5, 200: 0.7, 300: 0.8, 400: 0.86, 500: 0.9}
    assert describe_curve(curve) == (
        "exact match on validation: 50.0 % after 20 % of the steps, 70.0 % after 40 % of the "
        "steps, 90.0 % at the end; the last 60 % brought 20.0 points, and more time brings less"
    )
    assert describe_curve({100: 0.02, 200: 0.5}).endswith("so more time brings much")
    assert describe_curve({100: 0.5}) == "exact match on validation: 50.0 % at the end"
    assert describe_curve({}) == ""


@pytest.mark.parametrize("minutes", [-1, "nan"])
def test_no_such_budget(
    options: list[object], tmp_path: Path, minutes: object, capsys: Out
) -> None:
    arguments = ["fit", *options, "--budget_minutes", minutes, "--run_dir", tmp_path / "run"]
    assert run_seqae(*arguments) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert "`budget_minutes` must be" in line
    assert not (tmp_path / "run").exists()
