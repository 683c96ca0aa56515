"""`seqae card`: shown, written with what a person says, never over another's words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small import RECIPE, run_seqae, write_recipe, write_text

import seqae
from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.card.bundle_evaluation import weights_hash
from seqae.bundle.card.given import Given, given_in_card
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.manifest import CARD, EVALUATION
from seqae.bundle.probe_sentences import PROBES
from seqae.bundle.rewriting import ready_to_send, rewrite_bundle
from seqae.files import sha256_of

Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewrite_bundle(DEMO_FOLDER, tmp_path_factory.mktemp("upgraded") / "bundle")


@pytest.fixture
def bundle(upgraded: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(upgraded, tmp_path / "bundle"))


def said(bundle: Path) -> Given:
    return given_in_card((bundle / CARD).read_text())


def test_it_is_shown_and_a_change_is_only_previewed(bundle: Path, capsys: Out) -> None:
    before = (bundle / CARD).read_bytes()
    assert run_seqae("card", bundle) == 0
    shown = capsys.readouterr().out
    assert "What it writes back" in shown
    assert "sha256 of the above" not in shown
    assert run_seqae("card", bundle, "--licence", "mit") == 0
    assert "license: mit" in capsys.readouterr().out
    assert (bundle / CARD).read_bytes() == before


def test_what_is_said_stays(bundle: Path, tmp_path: Path) -> None:
    assert run_seqae("card", bundle, "--licence", "mit", "--language", "en,de", "--write") == 0
    assert run_seqae("card", bundle, "--language", "en", "--write") == 0
    assert said(bundle) == Given("mit", ("en",))
    assert not [row for row in check_bundle(bundle).warnings if row.check != "versions"]
    seqae.load(bundle).save(tmp_path / "again")
    assert said(tmp_path / "again") == Given("mit", ("en",))


def test_the_words_of_others_stay_unless_asked(bundle: Path, capsys: Out) -> None:
    (bundle / CARD).write_text("---\nlicense: mit\n---\n# Mine\n")
    assert run_seqae("card", bundle, "--language", "en", "--write") == 1
    assert capsys.readouterr().err.startswith("seqae: error: `replace` must be given where README")
    assert (bundle / CARD).read_text().endswith("# Mine\n")
    assert run_seqae("card", bundle, "--language", "en", "--write", "--replace") == 0
    assert said(bundle) == Given("mit", ("en",))  # what stood in the edited one
    assert run_seqae("card", "demo", "--write") == 1
    assert "`model` must be a folder of your own" in capsys.readouterr().err


def test_a_card_cannot_act_on_the_terminal(bundle: Path, capsys: Out) -> None:
    (bundle / CARD).write_text("# a \x1b[2J \u202e b\n\n[click](javascript:x) <b>c</b>\n\x9b31m\n")
    assert run_seqae("card", bundle) == 0
    assert not set(capsys.readouterr().out) & set("\x1b\x9b\u202e")


def test_measurements_beside_baselines_come_in_without_sentences(
    bundle: Path, tmp_path: Path, capsys: Out
) -> None:
    told = {
        "model": "/home/me/runs/secret",
        "from": "/home/me/data/held_out.txt",
        "sentences": 10,
        "scores": {"model": {"bleu": 50.0}, "nearest by TF-IDF": {"bleu": 5.0}},
        "examples": [{"text": "private words", "reconstruction": "private words"}],
        "weights_sha256": weights_hash(bundle),
    }
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(told))
    assert run_seqae("card", bundle, "--evaluation", file, "--write") == 0
    kept = (bundle / EVALUATION).read_text()
    assert "/home/me" not in kept
    assert "private words" not in kept
    card = (bundle / CARD).read_text()
    assert "| BLEU | 0 to 100 | 50.0 | 5.0 |" in card
    assert "on 10 sentences (held\\_out.txt)" in card
    assert check_bundle(bundle).rows[8].found == f"{EVALUATION} is of these weights"
    for wrong in ({**told, "weights_sha256": "0" * 64}, {"scores": 7}, []):
        file.write_text(json.dumps(wrong))
        assert run_seqae("card", bundle, "--evaluation", file) == 1
        assert capsys.readouterr().err.startswith("seqae: error: `evaluation` must be ")


def test_examples_can_be_taken_out_and_check_still_tries_sentences(bundle: Path) -> None:
    private = [row["text"] for row in seqae.load(bundle).details["selftest"]]
    weights = sha256_of(bundle / "model.safetensors")
    with ready_to_send(bundle, "hf:lab/model", examples=False) as ready:
        assert "\n| The cat sat on the mat" in (ready / CARD).read_text()
        assert said(ready).address == "hf:lab/model"
    assert private[0] in (bundle / CARD).read_text()  # the one that stays here
    saved = seqae.load(bundle).save(bundle.with_name("saved"), examples=False)
    for path in saved.iterdir():
        assert not [text for text in private if text.encode() in path.read_bytes()], path.name
    assert [probe.text for probe in check_bundle(saved).probes] == list(PROBES)
    again = seqae.load(saved).save(bundle.with_name("again"))
    assert "carries" not in (again / CARD).read_text()
    assert run_seqae("card", bundle, "--no_examples", "--write") == 0
    for path in bundle.iterdir():
        data = path.read_bytes()
        assert not [text for text in private if text.encode() in data], path.name
    assert [probe.text for probe in check_bundle(bundle).probes] == list(PROBES)
    assert "carries" not in (bundle / CARD).read_text()
    assert sha256_of(bundle / "model.safetensors") == weights


def test_a_bundle_that_gives_something_else_takes_no_place(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    calls = iter((["a"], ["b"]))
    monkeypatch.setattr(
        "seqae.bundle.text_autoencoder.TextAutoencoder.reconstruct", lambda *_: next(calls)
    )
    with pytest.raises(ValueError, match="its texts differ"):
        rewrite_bundle(bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_fit_records_its_data_and_carries_no_sentence_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    sentences = [f"the private sentence {number} of mine" for number in range(40)]
    text = write_text(tmp_path / "text.txt", sentences)
    recipe = ["fit", "-c", write_recipe(tmp_path), "--train", text, "--max_epochs", 1]
    run = tmp_path / "run"
    flags = ["--licence", "mit", "--language", "en", "--no_examples", "--run_dir", run]
    assert RECIPE["samples"] == 0
    assert run_seqae(*recipe, *flags, "--data.val_percent", 20) == 0
    assert said(run / "bundle") == Given("mit", ("en",))
    for path in (run / "bundle").iterdir():
        assert b"private sentence" not in path.read_bytes(), path.name
    training = json.loads((run / "bundle" / "training.json").read_text())
    splits = training["corpus"]["splits"]
    assert sum(split["sentences"] for split in splits.values()) == 40
    assert len(splits["train"]["sha256"]) == 64
    assert training["corpus"]["sources"][0]["name"] == "text.txt"
    assert training["hardware"]["cpu"]
    assert training["whole_run"]["optimizer_steps"] == training["optimizer_steps"]
    assert training["card"] == {"licence": "mit", "language": ["en"], "examples": False}
    assert [probe.text for probe in check_bundle(run, strict=True).probes] == list(PROBES)
