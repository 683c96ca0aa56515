"""The programs that train in bulk: what is planned, what is kept, and the picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from small import ROOT, SENTENCES, write_recipe, write_text


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import runs

    yield runs
    for name in ("runs", "charts", "rate_distortion", "family", "driver"):
        sys.modules.pop(name, None)


def result(bleu: float) -> dict[str, Any]:
    lengths = {"to_5": 1.0, "to_20": 0.5}
    return {
        "scores": {"model": {"bleu": bleu, "exact_match": 0.5, "latent_dim": 8}},
        "by_length": {key: {"bleu": bleu * share} for key, share in lengths.items()},
        "seconds": 3.0,
        "steps": 7,
    }


def test_a_run_is_trained_measured_and_kept(runs: ModuleType, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ("--data.train", str(text), "--data.test", str(text), "--trainer.max_epochs", "1")
    plan = runs.Plan("small", str(write_recipe(tmp_path)), options, limit=10)
    found, failed = runs.carry_out([plan], tmp_path / "runs", jobs=1)
    assert failed == []
    assert found["small"]["steps"] > 0
    assert "exact_match" in found["small"]["scores"]["model"]
    log = tmp_path / "runs" / "small.log"
    log.unlink()
    again, _ = runs.carry_out([plan], tmp_path / "runs", jobs=1)
    assert again == found
    assert not log.exists()  # nothing was run
    other = runs.Plan("small", plan.config, options, limit=11)
    with pytest.raises(ValueError, match="was made under others"):
        runs.carry_out([other], tmp_path / "runs", jobs=1)


def test_a_recipe_that_fails_leaves_the_others(
    runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.json").write_text(
        json.dumps({"plan": json.loads(json.dumps(vars(runs.Plan("good", "x"))))})
    )
    monkeypatch.setattr(
        runs, "_call", lambda arguments, log: bool(log.write_text("no\n")) and False
    )
    plans = [runs.Plan("bad", "none.yaml"), runs.Plan("good", "x")]
    found, failed = runs.carry_out(plans, tmp_path, jobs=2)
    assert (list(found), failed) == (["good"], ["bad"])


def test_a_table(runs: ModuleType) -> None:
    import family

    table = runs.markdown({"gru": result(50.0)}, family.table_columns(with_generation=False))
    head, rule, row = table.splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| gru | 50.0% | 50.0 | – |")
    assert row.endswith("| 3 s, 7 steps |")


def test_the_picture_is_well_formed(runs: ModuleType) -> None:
    import rate_distortion

    text = rate_distortion.picture({16: result(10.0), 64: result(40.0)}, "steps < 10 & more")
    found = ElementTree.fromstring(text)
    kinds = [element.tag.rpartition("}")[2] for element in found.iter()]
    assert kinds.count("polyline") == 3  # one over sizes, one for each size over lengths
    assert kinds.count("circle") == 2 + 2 * 2  # lengths that no sentence has leave no point
    words = [element.text for element in found.iter() if element.text]
    assert {"z 16", "z 64", "40.0", "1–5"} <= set(words)


def test_names_at_the_ends_of_lines_do_not_collide(runs: ModuleType) -> None:
    import charts

    lines = [charts.Line(f"name {i}", [50.0, 50.0], "#000000") for i in range(4)]
    found = ElementTree.fromstring(charts.draw([charts.Panel("", "", ["a", "b"], lines)], ""))
    names = [e for e in found.iter() if (e.text or "").startswith("name")]
    heights = sorted(float(element.attrib["y"]) for element in names)
    assert min(b - a for a, b in zip(heights[:-1], heights[1:], strict=True)) >= 14
