"""The demo that ships with the package: small, intact, found by name, as good as its card says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small import run_seqae

import seqae
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.io import load
from seqae.tasks.evaluate.texts import read_split


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_fits_into_the_wheel() -> None:
    assert sum(path.stat().st_size for path in DEMO_FOLDER.iterdir()) < 3_000_000


def test_the_command_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "we were at last able to buy a car"
    assert run_seqae("reconstruct", "demo", sentence) == 0
    assert capsys.readouterr().out.count(sentence) == 1


def test_it_has_all_that_commands_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("check", "demo") == 0
    assert run_seqae("sample", "demo", "--count", 2) == 0
    assert run_seqae("compare", "demo", "demo") == 0
    assert "test/exact_match" in capsys.readouterr().out


def test_unseen_sentences_come_back_as_its_card_says() -> None:
    model = seqae.load("demo")
    texts = read_split(model, Path("demo"), "test").sample(300, seed=1).inputs
    exact = sum(a == b for a, b in zip(texts, model.reconstruct(texts), strict=True)) / 300
    said = json.loads((DEMO_FOLDER / "metrics.json").read_text())["test/exact_match"]
    assert exact == pytest.approx(said, abs=0.04)  # 2.5 standard errors of 300 sentences


def test_a_bundle_of_that_name_wins(elsewhere: Path) -> None:
    (elsewhere / "demo").mkdir()
    assert seqae.load("demo").latent_dim == 256  # not by being there
    (elsewhere / "demo").rmdir()
    shutil.copytree(DEMO_FOLDER, elsewhere / "demo")
    (elsewhere / "demo" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="was changed or damaged"):
        load("demo")


def test_nothing_is_written_into_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in DEMO_FOLDER.iterdir()}
    assert run_seqae("prior", "demo", "--limit", 200) == 1
    assert "`model` must be a bundle or a run of yours" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in DEMO_FOLDER.iterdir()} == before
