"""Paired text (a document and its summary) from a table, through training, to what is measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import read_rows, run_seqae, write_recipe

import seqae

PAIRS = [
    (f"{who} {does} the {what} in the garden today", f"{who} {does}")
    for who in ("the cat", "a dog", "one bird", "my friend")
    for does in ("sees", "likes", "finds", "has")
    for what in ("mat", "ball", "house")
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "document", "summary"])
        writer.writerows([number, *pair] for number, pair in enumerate(PAIRS))
    return path


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    columns = ["--data.reading.column", "document", "--data.reading.target_column", "summary"]
    options = ["--data.val", table, "--data.test_percent", 0, "--trainer.max_epochs", 25]
    fit = ["fit", "-c", write_recipe(folder), "--data.train", table, *columns, *options]
    assert run_seqae(*fit, "--run_dir", folder / "run", "--samples", 2) == 0
    return folder / "run"


def test_the_model_learns_to_write_the_other_side(run: Path) -> None:
    rows = [row for row in read_rows(run / "metrics.jsonl") if "val/exact_match" in row]
    assert rows[-1]["val/exact_match"] > 0.9
    model = seqae.load(run)
    document, summary = PAIRS[7]
    assert model.reconstruct([document]) == [summary]


def test_it_is_held_against_the_other_side(run: Path, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.json"
    columns = ["--reading.column", "document", "--reading.target_column", "summary"]
    assert run_seqae("evaluate", run, "--split", "val", "--output", output) == 0
    own = json.loads(output.read_text())
    options = ["--train_file", table, *columns, "--output", output]
    assert run_seqae("evaluate", run, table, *options) == 0
    given = json.loads(output.read_text())
    assert own["scores"]["model"] == given["scores"]["model"]
    assert given["scores"]["model"]["exact_match"] > 0.9
    assert given["scores"]["nearest by TF-IDF"]["exact_match"] == 1.0  # the same documents
    assert own["examples"][0]["text"] == PAIRS[0][1] or own["sentences"] == len(PAIRS)


def test_predictions_are_of_the_other_side(run: Path, table: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.jsonl"
    assert run_seqae("predict", run, "--data.test", table, "--output", output) == 0
    rows = read_rows(output)
    assert [row["text"] for row in rows] == [summary for _, summary in PAIRS]


def test_the_report_tells_of_both_sides(run: Path) -> None:
    report = json.loads((run / "data_report.json").read_text())
    assert report["splits"]["train"]["target"]["sentences"] == len(PAIRS)
    assert "data_report.txt" in {path.name for path in run.iterdir()}


@pytest.mark.parametrize(
    "wrong", [["--data.too_long", "split"], ["--data.cleaning.split_sentences", "en"]]
)
def test_what_would_tear_pairs_apart_is_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    columns = ["--data.reading.column", "document", "--data.reading.target_column", "summary"]
    fit = ["fit", "-c", write_recipe(tmp_path), "--data.train", table, *columns, *wrong]
    assert run_seqae(*fit, "--run_dir", tmp_path / "run") == 1
    assert "paired text" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
