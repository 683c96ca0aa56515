"""`seqae report`: curves, verdicts, sentences, and the page of the demo and of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seqae.bundle.io import load
from seqae.cli import main
from seqae.tasks.report import after_training
from seqae.tasks.report.report_curves import thinned
from seqae.tasks.report.report_sentences import (
    ReportSentences,
    drawn,
    sentences_with_labels,
)
from seqae.tasks.report.time_limit import TimeLimit
from seqae.tasks.report.verdicts import LIMITS, REAL, verdict_of
from seqae.training.run.run_report import report_at_end
from seqae.web.columns import numbers


def test_a_thinned_curve_keeps_its_spikes_and_ends() -> None:
    values = np.sin(np.arange(10_000) / 500)
    values[[1234, 7777]] = 50, -50
    curve = thinned({"steps": [*range(10_000)], "values": values.tolist()}, 500)
    assert len(curve["values"]) <= 500
    assert {50, -50} <= set(curve["values"])
    assert (curve["steps"][0], curve["steps"][-1]) == (0, 9999)
    assert all(values[int(step)] == value for step, value in zip(*curve.values(), strict=True))
    short = {"steps": [1.0, 2.0], "values": [3.0, 4.0]}
    assert thinned(short) == short  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(
    ("key", "value", "baseline", "name", "expected"),
    [
        ("exact_match", 0.9, 0.1, "nearest by TF-IDF", "good"),
        ("exact_match", 0.9, 0.95, "nearest by TF-IDF", "poor"),
        ("exact_match", 0.5, None, None, "fair"),
        ("edit_distance", 0.02, 0.8, "nearest by TF-IDF", "good"),
        ("edit_distance", 0.9, None, None, "poor"),
        ("judge_perplexity", 100.0, 80.0, REAL, "good"),
        ("judge_perplexity", 500.0, 80.0, REAL, "poor"),
        ("judge_perplexity", 100.0, None, None, "unknown"),
        ("copies", 0.0, 0.0, REAL, "good"),
    ],
)
def test_verdicts(
    key: str, value: float, baseline: float | None, name: str | None, expected: str
) -> None:
    verdict, reason = verdict_of(value, LIMITS[key], baseline, name)
    assert verdict == expected
    assert reason


def test_limits_are_in_order() -> None:
    for key, limits in LIMITS.items():
        assert (limits.good > limits.fair) is limits.higher_is_better, key
        assert limits.plain.endswith((".", "?")), key


def test_drawn_sentences_are_of_both_kinds() -> None:
    own = ReportSentences([f"v{i}" for i in range(30)], [f"t{i}" for i in range(300)], total=330)
    sizes = {
        points: (len(found.unseen), len(found.trained_on))
        for points in (20, 100, 1000)
        for found in [drawn(own, points, 0)]
    }
    assert sizes == {20: (10, 10), 100: (30, 70), 1000: (30, 300)}


def test_labels_may_be_rare(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("the red door\tthing\nwe had tea\tmeal\n")
    found = sentences_with_labels(load("demo"), str(path))
    assert (found.unseen, found.labels) == (["the red door", "we had tea"], ["thing", "meal"])
    path.write_text("")
    with pytest.raises(ValueError, match="`labels` must have sentences"):
        sentences_with_labels(load("demo"), str(path))


def test_a_first_block_is_always_taken() -> None:
    assert list(TimeLimit(0).blocks([1, 2, 3], 2, 0.5)) == [[1, 2]]
    assert list(TimeLimit(60).blocks([1, 2, 3], 2, 0.5)) == [[1, 2], [3]]


def test_the_page_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "demo.json"
    options = ["--points", "300", "--seconds", "30", "--output", str(file)]
    assert main(["report", "demo", *options]) == 0
    assert capsys.readouterr().out == f"report: {file}\n"
    (model,) = json.loads(file.read_text())["models"]
    shown = model["map"]
    assert shown["projection"]["shown"] == len(shown["texts"]) == 300
    assert shown["projection"]["total"] == 40_391  # all that the corpus keeps for both splits
    assert shown["categories"]["sentences"] == ["held out", "trained on"]
    errors = numbers(shown["colours"]["error"])
    pairs = zip(shown["texts"], shown["predictions"], strict=True)
    assert [text == other for text, other in pairs] == (errors == 0).tolist()
    found = [row["error"] for row in model["reconstructions"]]
    assert found == sorted(found, reverse=True)
    assert {row["name"]: row["verdict"] for row in model["measures"]}["exact match"] == "good"
    assert len(model["paths"]) == 4
    assert all(row["nearest"] for row in model["samples"])
    assert [curve["title"] for curve in model["curves"]] == [
        "Sentences unchanged (%)",
        "Words right (%)",
    ]
    assert any("evaluate demo" in note for note in model["notes"])


def test_the_page_of_several_runs(overfit_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(overfit_run, run)
    file = tmp_path / "both.html"
    assert main(["report", str(run), "demo", "--points", "50", "--output", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert "Content-Security-Policy" in text
    assert len(text) < 1_500_000


def test_a_training_ends_with_a_report_that_cannot_fail_it(
    overfit_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(overfit_run, run)
    assert report_at_end(run) is None  # by the variable that all tests have
    monkeypatch.setenv("SEQAE_REPORT", "1")
    assert report_at_end(run) == run / "report.html"
    assert capsys.readouterr().err == ""

    def fail(*_: object) -> None:
        raise RuntimeError("no\nreason")

    monkeypatch.setattr(after_training, "collected", fail)
    assert report_at_end(run) is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no report.html was made (no reason); the training is complete" in told


def test_a_link_in_a_run_is_not_written_through(
    overfit_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = tmp_path / "run", tmp_path / "other.html"
    shutil.copytree(overfit_run, run)
    other.write_text("mine")
    (run / "report.html").symlink_to(other)
    with pytest.raises(SystemExit):
        main(["report", str(run)])
    assert "is a link" in capsys.readouterr().err
    assert other.read_text() == "mine"
