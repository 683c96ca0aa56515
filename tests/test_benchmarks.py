"""The programs that train in bulk: what is planned, what is kept, and the picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from small import ROOT, SENTENCES, run_seqae, write_recipe, write_text

MODULES = (
    "trainings",
    "rate_distortion",
    "trade_off",
    "similarity",
    "family",
    "decoding",
    "reference",
    "text",
    "driver",
    "copies_by_length",
    "quantised_latents",
    "encode_throughput",
    "onnx_speed",
    "text_lengths",
)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import trainings

    yield trainings
    for name in ("trainings", *MODULES):
        sys.modules.pop(name, None)


def result(bleu: float) -> dict[str, Any]:
    lengths = {"to_5": 1.0, "to_20": 0.5}
    return {
        "scores": {"model": {"bleu": bleu, "exact_match": 0.5, "latent_dim": 8}},
        "by_length": {key: {"bleu": bleu * share} for key, share in lengths.items()},
        "seconds": 3.0,
        "steps": 7,
    }


def test_a_run_is_trained_measured_and_kept(trainings: ModuleType, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ("--data.train", str(text), "--data.test", str(text), "--trainer.max_epochs", "1")
    plan = trainings.Plan("small", str(write_recipe(tmp_path)), options, limit=10)
    found, failed = trainings.carry_out([plan], tmp_path / "runs", jobs=1)
    assert failed == []
    assert found["small"]["steps"] > 0
    assert "exact_match" in found["small"]["scores"]["model"]
    log = tmp_path / "runs" / "small.log"
    log.unlink()
    again, _ = trainings.carry_out([plan], tmp_path / "runs", jobs=1)
    assert again == found
    assert not log.exists()  # nothing was run
    other = trainings.Plan("small", plan.config, options, limit=11)
    with pytest.raises(ValueError, match="was made under others"):
        trainings.carry_out([other], tmp_path / "runs", jobs=1)
    (tmp_path / "runs" / "small.json").unlink()  # as if it had been stopped
    with pytest.raises(ValueError, match="was made under others"):
        trainings.carry_out([other], tmp_path / "runs", jobs=1)


def test_a_recipe_that_fails_leaves_the_others(
    trainings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.json").write_text(
        json.dumps({"plan": json.loads(json.dumps(vars(trainings.Plan("good", "x"))))})
    )
    monkeypatch.setattr(
        trainings, "_call", lambda arguments, log: bool(log.write_text("no\n")) and False
    )
    plans = [trainings.Plan("bad", "none.yaml"), trainings.Plan("good", "x")]
    found, failed = trainings.carry_out(plans, tmp_path, jobs=2)
    assert (list(found), failed) == (["good"], ["bad"])


def test_a_folder_of_other_settings_ends_in_one_line(
    trainings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import family

    (tmp_path / "gru.json").write_text(json.dumps({"plan": {}}))
    monkeypatch.setattr(
        sys, "argv", ["family.py", "--folder", str(tmp_path), "--recipes", "gru", "--steps", "7"]
    )
    with pytest.raises(SystemExit, match="^`folder` must be of the same settings"):
        family.main()


def test_more_sentences_than_there_are_end_in_one_line(
    trainings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import decoding

    monkeypatch.setattr(sys, "argv", ["decoding.py", "--sentences", "99999999"])
    with pytest.raises(SystemExit, match="^`sentences` must be between 1 and"):
        decoding.main()


def test_the_time_that_a_run_lay_stopped_does_not_count(trainings: ModuleType) -> None:
    rows = [{"time": time} for time in (11.0, 15.0, 103.0, 104.0)]
    assert trainings.seconds_of(rows, [100.0, 10.0]) == 5.0 + 4.0
    assert trainings.seconds_of(rows, [100.0, 10.0, 50.0]) == 5.0 + 4.0  # came to no row


def test_a_table(trainings: ModuleType) -> None:
    import family

    table = trainings.markdown({"gru": result(50.0)}, family.table_columns(with_generation=False))
    head, rule, row = table.splitlines()
    assert "| exact match | BLEU |" in head
    assert "| KL, nats/sentence |" in head
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| gru | 50.0 % | 50.0 | – |")
    assert row.endswith("| 3 s, 7 steps |")


def test_the_picture_is_well_formed(trainings: ModuleType) -> None:
    import rate_distortion

    text = rate_distortion.picture({16: result(10.0), 64: result(40.0)}, "steps < 10 & more")
    found = ElementTree.fromstring(text)
    kinds = [element.tag.rpartition("}")[2] for element in found.iter()]
    assert kinds.count("polyline") == 1  # over sizes; two lengths with none between make no line
    assert kinds.count("circle") == 2 + 2 * 2  # lengths that no sentence has leave no point
    words = [element.text for element in found.iter() if element.text]
    assert {"z 16", "z 64", "40.0", "1–5"} <= set(words)


def test_a_gap_is_not_drawn_across(trainings: ModuleType) -> None:
    from seqae.tasks import charts

    line = charts.Line("", [1.0, 2.0, None, 3.0, 4.0, 5.0], "#000000")
    found = ElementTree.fromstring(charts.draw([charts.Panel("", "", "abcdef", [line])], ""))
    paths = [e.attrib["points"] for e in found.iter() if e.tag.endswith("polyline")]
    assert [len(path.split()) for path in paths] == [2, 3]


def test_names_at_the_ends_of_lines_do_not_collide(trainings: ModuleType) -> None:
    from seqae.tasks import charts

    lines = [charts.Line(f"name {i}", [50.0, 50.0], "#000000") for i in range(4)]
    found = ElementTree.fromstring(charts.draw([charts.Panel("", "", ["a", "b"], lines)], ""))
    names = [e for e in found.iter() if (e.text or "").startswith("name")]
    heights = sorted(float(element.attrib["y"]) for element in names)
    assert min(b - a for a, b in zip(heights[:-1], heights[1:], strict=True)) >= 14


def test_a_trade_off_is_measured_and_drawn(
    trainings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import trade_off

    text = write_text(tmp_path / "text.txt", SENTENCES)
    overlay = tmp_path / "told.yaml"
    overlay.write_text(
        "model: {autoencoder: {latent: {init_args: {normalize: layer}}, latent_noise: {share: 1}}}"
    )
    options = ["--data.train", text, "--data.test", text, "--run_dir", tmp_path / "run"]
    options += ["--trainer.max_epochs", 1, "--threads", 1]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), "-c", overlay, *options) == 0
    drawn = tmp_path / "drawn.svg"
    arguments = ["trade_off.py", tmp_path / "run", "--limit", 8, "--picture", drawn]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    assert trade_off.main() == 0
    assert capsys.readouterr().out.count("z 64  ") == len(trade_off.NOISE)
    lines = ElementTree.fromstring(drawn.read_text()).iter("{http://www.w3.org/2000/svg}polyline")
    assert len(list(lines)) == 4


def test_texts_are_read_and_chosen_by_their_length(trainings: ModuleType, tmp_path: Path) -> None:
    import copies_by_length as lengths

    (tmp_path / "ca01").write_text(
        "The/at (/( old/jj )/) cat/nn ran/vbd ,/, ``/`` far/rb ''/'' ;/. ;/.\n\n", "latin-1"
    )
    assert lengths.brown(tmp_path) == [['The (old) cat ran, " far ";']]
    passage = {"passage": "One ends. Two begins in the U.S. Navy. Three"}
    file = write_text(tmp_path / "dev.jsonl", [json.dumps(passage)] * 2)
    sentences = ["One ends.", "Two begins in the U.S. Navy.", "Three"]
    assert lengths.boolq([file]) == [sentences]
    words = [f"word{i}" for i in range(450)]
    documents = [[" ".join(words[:30])], [" ".join(words[30:80]), " ".join(words[80:])]]
    chosen = lengths.chosen(documents, 5, 1)
    assert list(chosen.values())[:2] == [[documents[0][0]], [documents[1][0]]]
    (document,) = list(chosen.values())[2]
    assert document in (" ".join(words[30:230]), " ".join(words[230:430]))


def test_content_words_are_compared_as_multisets(trainings: ModuleType) -> None:
    from copies_by_length import content_f1

    assert content_f1("the cat cat sat", "the cat sat sat", {"the"}) == 2 / 3
    assert content_f1("the", "the", {"the"}) == 1.0


def test_the_exponent_of_growth(trainings: ModuleType) -> None:
    from text_lengths import growth_of

    sizes = [{"words": n, "linear": 3 * n, "quadratic": n * n} for n in (100, 200, 400, 800)]
    linear = growth_of(sizes, "linear")
    assert (linear["a word"], linear["R²"], linear["exponent"]) == (3.0, 1.0, 1.0)
    assert growth_of(sizes, "quadratic")["exponent"] == 2.0


def test_agreement_with_a_judge(trainings: ModuleType) -> None:
    """Worked by hand: angles of 0°, 10°, 30° and 90°, the judge's of 0°, 80°, 10° and 90°."""
    import similarity

    def directions(*angles: float) -> np.ndarray:
        radians = np.deg2rad(angles)
        return 3 * np.stack([np.cos(radians), np.sin(radians)], axis=1)

    vectors, judge = directions(0, 10, 30, 90), directions(0, 80, 10, 90)
    # Nearest are 1, 0, 1, 2; the judge's one nearest 2, 3, 0, 1, its two 2 1, 3 2, 0 1, 1 2.
    assert similarity.agreement(vectors, judge, group=4, nearest=1) == [0.0]
    assert similarity.agreement(vectors, judge, group=4, nearest=2) == [0.75]
    # In pairs all are right; the fifth sentence is in no whole group.
    assert similarity.agreement(vectors, judge, group=2, nearest=1) == [1.0, 1.0]
    assert similarity.agreement(vectors, judge, group=3, nearest=1) == [pytest.approx(0.0)]


def test_similarity_is_measured_beside_vectors_without_a_network(
    trainings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import similarity

    texts = {"train": SENTENCES, "test": [f"{text} again" for text in SENTENCES]}
    monkeypatch.setattr(similarity, "load_builtin", lambda name, split: texts[split])
    monkeypatch.setattr(similarity, "NEAREST", 1)
    np.save(tmp_path / "judge.npy", similarity.Tfidf(SENTENCES).encode(texts["test"]))
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{text}\t{text}\n" for text in SENTENCES[:3]))
    labels = tmp_path / "labels.tsv"
    labels.write_text("".join(f"{text}\t{text[:5]}\n" for text in SENTENCES[:2] for _ in range(5)))
    arguments = ["similarity.py", "demo", "--judges", tmp_path / "judge.npy", "--group", 5]
    arguments += ["--paraphrases", pairs, "--labels", labels, "--output", tmp_path / "out.json"]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    similarity.main()
    scores = json.loads((tmp_path / "out.json").read_text())["result"]["scores"]
    names = ["demo, latent", "TF-IDF + SVD", "mean word vectors", "TF-IDF unreduced", "chance"]
    assert list(scores) == names
    assert scores["demo, latent"]["numbers"] == 256
    assert scores["demo, latent"]["judge: all groups"] < 1.0
    assert scores["TF-IDF unreduced"]["judge: all groups"] == 1.0  # it is the judge
    assert scores["demo, latent"]["pairs: recall_at_1"] == 1.0
    assert scores["chance"] == {
        "labels: neighbour_accuracy": 0.5,
        "labels: linear_probe": 0.5,
    }
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        *("chance", "–", "–", "–", "–", "–", "50.0", "50.0")
    ]
    monkeypatch.setattr(sys, "argv", ["similarity.py", "--judges", "nobody", "--group", "5"])
    with pytest.raises(SystemExit, match="^--judges must be .npy files or use, minilm, but one"):
        similarity.main()
