"""Figures show the numbers that they were given, and the same numbers give the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
from small import run_seqae

from seqae.metrics.definitions import LENGTHS
from seqae.tasks.evaluate.robustness import TOLD
from seqae.tasks.plot import (
    curves_figure,
    lengths_figure,
    panels_figure,
    rate_figure,
    read_curves,
    read_lengths,
    read_rates,
    read_robustness,
    save_figure,
)
from seqae.tasks.plot.figure_inputs import names_of
from seqae.tasks.plot.figure_style import looks, styled
from seqae.tasks.plot.line_figures import Rate, moving_average

EVALUATION: dict[str, Any] = {
    "scores": {
        "model": {"exact_match": 0.5, "bleu": 60.0, "negative_elbo": 50.0, "kl": 20.0},
    },
    "by_length": {
        "to_5": {"sentences": 30, "exact_match": 0.9, "token_accuracy": 0.95},
        "above_20": {"sentences": 4, "exact_match": 0.25, "token_accuracy": 0.5},
    },
    "robustness": {
        "noise": [0.0, 1.0],
        "model": {"exact_match": [1.0, 0.0], "bleu": [100.0, 1.0]},
        TOLD: {"exact_match": [1.0, 0.5], "bleu": [100.0, 40.0]},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with what figures read of it."""
    folder = tmp_path / "runs" / "a"
    (folder / "bundle").mkdir(parents=True)
    config = {"latent": {"class_path": "X", "init_args": {"latent_dim": 64}}}
    files = {"config.json": {"autoencoder": {"init_args": config}}, "metrics.json": {}}
    for name, content in files.items():
        (folder / "bundle" / name).write_text(json.dumps(content))
    (folder / "config.yaml").write_text("{}")
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    rows = [{"step": i, "time": 1.0, "train/loss": 9.0 / i, "epoch": 0} for i in range(1, 101)]
    rows += [{"step": 50, "val/loss": 2.0, "val/exact_match": 0.25, "val/bleu": float("nan")}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    return folder


def drawn(axes: Any) -> list[tuple[list[float], list[float]]]:
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def test_curves_show_what_was_logged(run: Path) -> None:
    figure = curves_figure([read_curves(run)])
    loss, exact_match = figure.axes
    assert loss.get_ylabel() == "loss (per token)"
    raw, averaged, validation = drawn(loss)
    assert raw[1] == [9.0 / step for step in range(1, 101)]
    assert averaged[0] == raw[0]
    assert validation == ([50.0], [2.0])
    assert drawn(exact_match) == [([50.0], [25.0])]  # in per cent
    assert exact_match.get_ylim() == (0, 100)
    said = contracts.refusal(curves_figure, [read_curves(run)], ["val/rouge"])
    assert said.startswith("`keys` must be of what the runs have logged, but none has val/rouge.")


def test_a_moving_average_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=20)
    found = moving_average(values, 5)
    np.testing.assert_allclose(found[2:-2], np.convolve(values, np.ones(5) / 5, "valid"))
    np.testing.assert_allclose(found[1], values[:3].mean())
    assert found[0] == pytest.approx(values[0])
    np.testing.assert_allclose(moving_average(np.full(7, 3.0), 100), 3.0)


def test_robustness_has_a_line_for_each_model(run: Path) -> None:
    (alone, _) = read_robustness([str(run)])
    assert alone["lines"]["noise told"]["values"] == [100.0, 50.0]
    exact_match, bleu = panels_figure(read_robustness([str(run)] * 2, ["one", "other"])).axes
    assert drawn(exact_match) == [([0.0, 1.0], [100.0, 50.0])] * 2
    assert drawn(bleu)[0] == ([0.0, 1.0], [100.0, 40.0])


def test_lengths_are_in_order_with_their_counts(run: Path) -> None:
    rows = read_lengths(run)
    assert [(row["low"], row["count"]) for row in rows] == [(0, 30), (21, 4)]
    (axes,) = lengths_figure({"a": rows}).axes
    assert drawn(axes) == [([0, 1], [90.0, 25.0])]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1–5\nn = 30", "21+\nn = 4"]
    assert [row["exact_match"] for row in read_lengths("demo")] == [
        pytest.approx(value, abs=1e-3) for value in (0.998, 0.930, 0.457, 0.0)
    ]
    assert all((row["low"], row["high"]) in LENGTHS.values() for row in read_lengths("demo"))


def test_rates_are_those_of_sizes_or_of_a_posterior(run: Path) -> None:
    (rate,) = read_rates([str(run)], ["a"])
    assert rate == Rate("a", 64, 0.5, 60.0, 20.0, 30.0)
    (plane,) = rate_figure([rate, rate._replace(rate=10.0, distortion=45.0)]).axes
    assert drawn(plane)[0] == ([10.0, 20.0], [45.0, 30.0])
    (sizes,) = rate_figure([rate, Rate("b", 16, 0.25, None, None, None)]).axes
    assert drawn(sizes) == [([16, 64], [25.0, 50.0]), ([64], [60.0])]


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_the_same_data_gives_the_same_bytes(tmp_path: Path, run: Path, ending: str) -> None:
    found = []
    for name in ("a", "b"):
        output = tmp_path / f"{name}.{ending}"
        assert run_seqae("plot", "curves", run, "--output", output) == 0
        found.append(output.read_bytes())
    assert found[0] == found[1]
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    assert found[0].startswith(starts[ending])
    if ending == "svg":
        assert b"<dc:date>" not in found[0]


def test_colours_and_markers_tell_many_lines_apart() -> None:
    assert len(set(looks(49))) == 49


def test_the_style_of_the_program_stays_as_it_was(run: Path, tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with styled():
        assert mpl.rcParams["svg.hashsalt"] == "seqae"
    save_figure(curves_figure([read_curves(run)]), tmp_path / "a.svg")
    assert dict(mpl.rcParams) == before


def test_names_are_where_paths_differ() -> None:
    assert names_of(["runs/a/1", "runs/b/1"]) == ["a", "b"]
    assert names_of(["runs/a/1"]) == ["1"]
    assert names_of(["one.json", "two.json"]) == ["one", "two"]
    assert names_of(["runs/a", "runs/a/b"]) == ["runs/a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["curves", "RUN"], "`output` must be given. Write `--output curves.svg`."),
        (["curves", "demo", "--output", "a.svg"], "`runs` must be folders of runs for `curves`"),
        (["lengths", "RUN", "--output", "a.gif"], "`output` must end in .svg or .pdf or .png"),
        (["lengths", "RUN", "--output", "a.svg", "--keys", "x"], "`keys` must be left out"),
        (["rate", "RUN", "--output", "a.svg", "--names", "x", "y"], "`names` must be as many"),
        (["curves", "RUN", "--output", "a.svg", "--width", "3"], "`width` must be between"),
        (["robustness", "demo", "--output", "a.svg"], "`runs` must have been measured, but demo"),
    ],
)
def test_what_cannot_be_drawn(
    tmp_path: Path,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_seqae("plot", *(str(run) if a == "RUN" else a for a in arguments)) == 1
    assert capsys.readouterr().err.startswith(f"seqae: error: {said}")
    assert not list(tmp_path.glob("a.*"))


def test_damaged_metrics_are_said_to_be(run: Path) -> None:
    for line in ('{"step": [', "[1]", '{"train/loss": 1}'):
        (run / "metrics.jsonl").write_text(line + "\n")
        assert "metrics.jsonl is damaged" in contracts.refusal(read_curves, run)
