"""What `seqae check` finds, step by step, in bundles that are whole, unusual or broken."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import contracts
import pytest
import torch
from small import run_seqae

from seqae.bundle.bundle_check import Examination, check_bundle, examine
from seqae.bundle.io import write_bundle
from seqae.bundle.manifest import CARD, FILES, MANIFEST
from seqae.bundle.probe_sentences import PROBES, probe_rows
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent

Out = pytest.CaptureFixture[str]
STEPS = [
    "manifest",
    "hashes",
    "config",
    "tokenizer",
    "weights",
    "records",
    "priors",
    "card",
    "evaluation",
    "other files",
    "versions",
    "sentences",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = ByteTokenizer()
    parts = GRUEncoder(6, position_dim=8), DeterministicLatent(5), GRUDecoder(7, position_dim=8)
    built = SequenceAutoencoder(*parts, embedding_dim=6).build(tokenizer.vocabulary, 26).eval()
    rows = probe_rows(TextAutoencoder(built, tokenizer), ["a cat", "x"])
    folder = tmp_path_factory.mktemp("written") / "bundle"
    write_bundle(folder, built, tokenizer, {"val/loss": 1.0}, {"optimizer_steps": 3}, rows)
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def change(folder: Path, name: str, content: object) -> None:
    """Change a JSON file on purpose: the manifest too."""
    (folder / name).write_text(json.dumps(content))
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in FILES]
    (folder / MANIFEST).write_text("".join(lines))


def statuses(examination: Examination) -> dict[str, str]:
    return {row.check: row.status for row in examination.rows}


def test_a_whole_bundle_passes_every_step(written: Path, capsys: Out) -> None:
    examination = check_bundle(written, strict=True)
    assert statuses(examination) == dict.fromkeys(STEPS, "ok")
    assert [(probe.text, probe.is_as_stored) for probe in examination.probes] == [
        ("a cat", True),
        ("x", True),
    ]
    assert run_seqae("check", written, "--strict") == 0
    shown = capsys.readouterr().out
    assert all(f" {step} " in shown for step in STEPS)
    assert shown.endswith("intact; 2 sentences of the self-test are reconstructed as before.\n")


def test_json_is_the_whole_report(written: Path, bundle: Path, capsys: Out) -> None:
    assert run_seqae("check", written, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert [row["check"] for row in report["checks"]] == STEPS
    assert report["sentences"][0]["as_stored"]
    (bundle / "model.safetensors").write_bytes(b"")
    assert run_seqae("check", bundle, "--json") == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert not report["passed"]
    assert [row["status"] for row in report["checks"]] == ["ok", "failed"] + ["not checked"] * 10
    assert f"seqae: error: {report['error']}\n" == err


@pytest.mark.parametrize(
    ("kind", "step", "found"),
    [
        ("edited", "card", "README.md, the model card, has been edited, or another version"),
        ("gone", "card", "there is no README.md, the model card"),
        ("pickle", "other files", "pytorch_model.bin, run.py: no part of a bundle, and never read"),
        ("older", "versions", f"written by torch 1.0 ({torch.__version__} here)"),
    ],
)
def test_what_is_unusual_is_a_warning_and_strict_fails(
    bundle: Path, capsys: Out, kind: str, step: str, found: str
) -> None:
    if kind == "edited":
        (bundle / CARD).write_text("# Mine\n")
    elif kind == "gone":
        (bundle / CARD).unlink()
    elif kind == "pickle":
        (bundle / "pytorch_model.bin").write_bytes(b"\x80\x04")
        (bundle / "run.py").write_text("raise SystemExit")
        (bundle / ".gitattributes").write_text("")  # the hub puts one into each repository
    else:
        change(bundle, "environment.json", {"torch": "1.0", "jax": "2"})
    (warning,) = check_bundle(bundle).warnings
    assert warning.check == step
    assert warning.found.startswith(found)
    assert run_seqae("check", bundle) == 0
    assert f"! │ {step}" in capsys.readouterr().out
    assert run_seqae("check", bundle, "--strict") == 1
    assert (
        f"seqae: error: `strict` must find nothing unusual in {bundle}, but there is: {step}"
        in (capsys.readouterr().err)
    )
    assert contracts.refusal(check_bundle, bundle, strict=True).startswith("`strict`")


def test_a_sentence_that_comes_back_otherwise_fails_and_is_shown(bundle: Path, capsys: Out) -> None:
    rows = json.loads((bundle / "selftest.json").read_text())
    change(bundle, "selftest.json", [{**rows[0], "reconstruction": "a dog"}, rows[1]])
    assert run_seqae("check", bundle) == 1
    out, err = capsys.readouterr()
    assert "✗ │ sentences" in out
    assert err.startswith("seqae: error: `selftest` must give the reconstructions that the bundle")
    assert [probe.is_as_stored for probe in examine(bundle).probes] == [False, True]


def test_without_stored_sentences_our_own_are_tried(bundle: Path) -> None:
    change(bundle, "selftest.json", [])
    examination = check_bundle(bundle)
    assert [probe.text for probe in examination.probes] == list(PROBES)
    assert all(probe.stored is None for probe in examination.probes)


def test_what_is_no_bundle_gets_one_line(tmp_path: Path, capsys: Out) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        assert run_seqae("check", path) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("seqae: error: `model` must be the folder of a bundle")
