"""A training that starts from a bundle: it has the bundle's weights, tokenizer and figures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small import SENTENCES, read_rows, run_seqae, write_text

import seqae
from seqae.bundle.io import load
from seqae.data.datamodule import TextDataModule
from seqae.files import sha256_of
from seqae.training.starting.bundle_settings import bundle_settings, init_arguments
from seqae.training.starting.warm_start import WarmStart

QUICK = ["--threads", 1, "--samples", 0, "--prior_sentences", 0, "--accelerator", "cpu"]
OTHER = [f"a dog {does} the old mat {i}" for i in range(12) for does in ("sees", "likes")]


def mean_nats(bundle: Path, corpus: Any) -> float:
    """Cross-entropy of a bundle in nats per token, by torch's own function."""
    model = load(bundle).autoencoder
    nats = tokens = 0.0
    with torch.no_grad():
        for index in range(len(corpus)):
            batch = corpus.__getitems__([index])
            logits = model(batch)[0]
            nats += float(torch.nn.functional.cross_entropy(logits, batch.target[0]) * len(logits))
            tokens += len(logits)
    return nats / tokens


def test_step_zero_is_the_bundle(overfit_run: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "other.txt", OTHER)
    source = shutil.copytree(overfit_run / "bundle", tmp_path / "source")
    run = tmp_path / "run"
    options = ["--data.train", text, "--data.val", text, "--max_steps", 2, "--run_dir", run]
    options += ["--model.autoencoder.encoder.dropout", 0.1, "--checkpoint.every_n_steps", 1]
    assert run_seqae("fit", "--init", source, *options, *QUICK) == 0
    first = read_rows(run / "metrics.jsonl")[0]
    data = TextDataModule(
        train=str(text), val=str(text), tokenizer=load(source).tokenizer, max_length=64
    )
    data.setup("fit")
    assert first["step"] == 0
    assert first["val/loss"] == pytest.approx(mean_nats(source, data.corpora["val"]), abs=1e-5)
    # What the run keeps: the very tokenizer, and whence it came, by name and hash alone.
    kept = (run / "tokenizer.json").read_bytes()
    assert kept == (source / "tokenizer.json").read_bytes()
    shutil.rmtree(source)
    assert run_seqae("fit", "--resume", run, "--max_steps", 4, *QUICK[:2]) == 0
    training = json.loads((run / "bundle" / "training.json").read_text())
    assert training["init"].keys() == {"bundle", "sha256", "parts"}
    assert training["init"]["bundle"] == "source"
    assert str(tmp_path) not in (run / "bundle" / "training.json").read_text()
    assert run_seqae("validate", run) == 0


def test_parts_of_a_bundle_for_another_model(overfit_run: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"document": s, "summary": s[:9]}) + "\n" for s in OTHER))
    run, source = tmp_path / "run", overfit_run / "bundle"
    options = ["--data.train", pairs, "--max_steps", 1, "--run_dir", run, "--lr", 0]
    recipe = ["-c", "experiments/summarization_headlines"]
    named = ["--init", source, "--init_parts", "encoder", "embedding"]
    assert run_seqae("fit", *recipe, *named, *options, *QUICK) == 0
    old, new = load(source).autoencoder.state_dict(), load(run).autoencoder.state_dict()
    for name, weight in old.items():
        is_taken = name.startswith(("encoder.", "embedding."))
        rows = min(len(weight), len(new[name])) if name in new else 0
        assert not is_taken or torch.equal(weight[:rows], new[name][:rows])
    assert json.loads((run / "bundle/training.json").read_text())["init"]["parts"] == [
        "encoder",
        "embedding",
    ]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--model.autoencoder.encoder", "TransformerEncoder"], "GRUEncoder .* TransformerEncoder"),
        (["--vocab_size", 999], "vocab_size.* 300 .* 999"),
        (["--data.cleaning.lowercase", "true"], "lowercase` must be False .* True"),
        (["--init_parts", "encodr"], "`init_parts` must be among decoder.* encodr"),
        (["--resume", "runs/x"], "`init` must not be given for a run that is resumed"),
    ],
)
def test_contradictions_are_one_line(
    option: list[object],
    told: str,
    overfit_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = write_text(tmp_path / "other.txt", OTHER)
    options = ["--data.train", text, "--run_dir", tmp_path / "run", *option, *QUICK]
    assert run_seqae("fit", "--init", overfit_run, *options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(told, lines[0])
    assert not (tmp_path / "run").exists()


def test_a_fetched_bundle_is_read_where_it_is(overfit_run: Path, tmp_path: Path) -> None:
    """What it says of its origin is recorded, and nothing is fetched from there."""
    bundle = Path(shutil.copytree(overfit_run / "bundle", tmp_path / "bundle"))
    for origin, told in (("hf:nobody/none@v1", "hf:nobody/none@v1"), ("/etc/x", "bundle")):
        record = {"origin": origin, "manifest": sha256_of(bundle / "MANIFEST.sha256")}
        (bundle / "origin.json").write_text(json.dumps(record))
        start = WarmStart.read(str(bundle))
        assert start.name == told
        assert start.bundle.tokenizer.fingerprint == load(bundle).tokenizer.fingerprint


def test_fit_in_python_needs_no_recipe(tmp_path: Path) -> None:
    model = seqae.fit(
        OTHER, init="demo", max_steps=1, run_dir=tmp_path / "run", threads=1, prior_sentences=0
    )
    assert model.tokenizer.fingerprint == seqae.load("demo").tokenizer.fingerprint
    assert model.details["training"]["init"]["bundle"] == "demo"


def test_more_positions_do_as_the_bundle_does(overfit_run: Path) -> None:
    start = WarmStart.read(str(overfit_run))
    longer = type(start.bundle.autoencoder).from_config(start.bundle.autoencoder.config())
    longer.build(start.bundle.tokenizer.vocabulary, 80)
    longer.load_state_dict(start._fitted(longer))
    ids = start.bundle.tokenizer.encode([" ".join(SENTENCES[8:12])])
    batch = seqae.collate([torch.tensor(row) for row in ids], start.bundle.tokenizer.vocabulary)
    assert batch.token_ids.shape[1] > 64 or len(ids[0]) > 20
    own = start.bundle.autoencoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(longer.eval()(batch), own(batch))


def test_a_strangers_training_json_names_nothing_that_is_imported() -> None:
    bundle = seqae.load("demo")
    bundle.details["training"]["config"]["model"]["objective"] = {"class_path": "marking.X"}
    bundle.details["training"]["config"]["model"]["learning_rate"] = {"class_path": "marking.X"}
    assert "marking" not in json.dumps(bundle_settings(bundle, []))


def test_parts_are_words_or_a_list() -> None:
    assert init_arguments(["--init_parts", "a", "b", "-c", "x"]) == [
        '--init_parts=["a", "b"]',
        "-c",
        "x",
    ]
    assert init_arguments(["--init_parts=[a,b]"]) == ['--init_parts=["a", "b"]']


@pytest.mark.parametrize(
    "content", ["the\n<unk>\ncat\n<pad>\n", '["the", "<unk>", "cat", "<pad>"]']
)
def test_a_vocabulary_as_the_tokenizer(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vocab.txt").write_text(content)
    text, run = write_text(tmp_path / "x.txt", ["the cat", "a cat"] * 20), tmp_path / "run"
    options = ["--data.tokenizer", tmp_path / "vocab.txt", "--train", text, "--run_dir", run]
    assert run_seqae("fit", "-c", "gru", *options, "--max_steps", 1, *QUICK) == 0
    assert "4 tokens; pad is <pad>, unk is <unk>; added bos (4), eos (5)" in capsys.readouterr().out
    (tmp_path / "vocab.txt").unlink()
    assert run_seqae("fit", "--resume", run, "--max_steps", 2, *QUICK[:2]) == 0
    tokenizer = load(run).tokenizer
    assert tokenizer.encode(["the cat"]) == [[4, 0, 2, 5]]
    assert str(tmp_path) not in "".join(p.read_text() for p in (run / "bundle").glob("*.json"))
