"""metrics.jsonl: complete, readable after a crash, and without a row twice after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import read_rows

from seqae.training.logs.loggers import MetricsFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "metrics.jsonl"


def test_a_line_for_each_call(path: Path) -> None:
    file = MetricsFile(path)
    assert not path.parent.exists()  # nothing is made before there is something to say
    file.log_metrics({"train/loss": 1.5}, step=1)
    file.log_metrics({"val/loss": 2.5, "epoch": 0}, step=2)
    rows = read_rows(path)
    assert [set(row) - {"time"} for row in rows] == [
        {"step", "train/loss"},
        {"step", "val/loss", "epoch"},
    ]
    assert rows[0]["time"] <= rows[1]["time"]


def test_the_step_is_the_number_of_steps_taken(path: Path) -> None:
    file = MetricsFile(path)
    trainer: Any = SimpleNamespace(global_step=7)
    file.trainer = trainer
    file.log_metrics({"train/loss": 1.0}, step=6)  # Lightning's count is one less
    assert read_rows(path)[0]["step"] == 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_valid_json(path: Path, value: float) -> None:
    MetricsFile(path).log_metrics({"train/loss": value}, step=1)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row["train/loss"] == str(value)


def test_forgets_the_steps_that_are_taken_again(path: Path) -> None:
    file = MetricsFile(path)
    for step in (1, 2, 3, 4):
        file.log_metrics({"train/loss": 0.0}, step=step)
    file.forget_after(2)
    assert [row["step"] for row in read_rows(path)] == [1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_forgets_a_line_that_a_crash_cut_off(path: Path) -> None:
    file = MetricsFile(path)
    file.log_metrics({"train/loss": 0.0}, step=1)
    with path.open("a") as out:
        out.write('{"step": 1, "train/lo')
    file.forget_after(5)
    file.log_metrics({"train/loss": 0.0}, step=6)
    assert [row["step"] for row in read_rows(path)] == [1, 6]


def test_nothing_to_forget(path: Path) -> None:
    MetricsFile(path).forget_after(3)
    assert not path.exists()


def test_names_the_run(path: Path) -> None:
    file = MetricsFile(path)
    assert (file.name, file.version, file.save_dir) == ("metrics", "run", str(path.parent))
    file.log_hyperparams({"a": 1})
    assert not path.exists()
