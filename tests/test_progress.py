"""What training shows: lines where the output is no terminal, one bar where it is."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from small import numbered, run_seqae, write_recipe, write_text


@pytest.fixture
def arguments(tmp_path: Path) -> list[Any]:
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["--data.train", text, "--run_dir", tmp_path / "run", "--data.val_percent", 20]
    return ["fit", "-c", write_recipe(tmp_path), *options]


LINE = re.compile(
    r"step \d+/\d+  train loss \d+\.\d{3}  token accuracy \d+\.\d % "
    r"\(teacher-forced; means of about 50 steps\)  [\d,]+ tokens/s"
)


def test_lines_without_a_terminal(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    bar = ["--trainer.callbacks", "seqae.training.callbacks.progress.TrainingProgress"]
    assert run_seqae(*arguments, *bar, "--trainer.callbacks.every_seconds", 0) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if LINE.fullmatch(line)]
    total = int(steps[0].split()[1].split("/")[1])
    assert [int(line.split()[1].split("/")[0]) for line in steps[:total]] == [*range(1, total + 1)]
    validated = [line for line in lines if ": val loss" in line]
    assert len(validated) == 3
    assert re.fullmatch(
        r"step \d+: val loss \d\.\d{3}, token accuracy \d+\.\d %, exact match \d+\.\d %, "
        r"BLEU \d+\.\d",
        validated[-1],
    )
    assert not any("\x1b" in line for line in lines)


def test_seldom_by_default(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    (last,) = (index for index, line in enumerate(lines) if LINE.fullmatch(line))
    assert ": val loss" in lines[last + 1]  # of the last validation, at the same step
    assert lines[last].split()[1].split("/")[0] == lines[last + 1].split()[1].rstrip(":")


def test_a_bar_on_a_terminal(
    arguments: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    assert run_seqae(*arguments) == 0
    said = capsys.readouterr().out
    assert "\x1b[" in said
    assert re.search(r"\d+/\d+.*loss \d+\.\d{3} accuracy \d+\.\d %.*tokens/s.*left", said)
    assert ": val loss" in said
    assert said.rstrip().count("\x1b[?25l") == said.count("\x1b[?25h")  # the cursor comes back


def test_silent_if_asked(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae(*arguments, "--trainer.enable_progress_bar", "false") == 0
    said = capsys.readouterr().out
    assert "tokens/s" not in said
    assert ": val loss" not in said
