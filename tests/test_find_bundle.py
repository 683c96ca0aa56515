"""A model is found by what people name; what is none says which folder may be meant."""

from __future__ import annotations

from pathlib import Path

import contracts
import pytest

import seqae


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, with empty files for those that only have to be there."""
    monkeypatch.chdir(tmp_path)
    run = Path("runs/mine")
    for name in ("config.yaml", "checkpoints/last.ckpt", "bundle/config.json"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    (run / "bundle" / "model.safetensors").touch()
    return run


def test_what_is_no_path() -> None:
    for wrong in (None, 5):
        message = contracts.refusal(seqae.load, wrong)
        assert message.startswith("`model` must be the folder of a bundle or of a run that has one")
        assert message.endswith(f"but it is {wrong} instead. Give its path.")


def test_a_part_of_a_model(run: Path) -> None:
    for part, what, whole in (
        ("checkpoints/last.ckpt", "run", "runs/mine"),
        ("config.yaml", "run", "runs/mine"),
        ("checkpoints", "run", "runs/mine"),
        ("bundle/model.safetensors", "bundle", "runs/mine/bundle"),
    ):
        message = contracts.refusal(seqae.load, run / part)
        assert message.endswith(f"It is a part of a {what}: give {whole} instead.")
        assert (f"runs/mine/{part} is a file." in message) == (run / part).is_file()


def test_a_damaged_bundle_is_not_sent_to_its_run(run: Path) -> None:
    for name in (run, run / "bundle", str(run / "bundle")):
        message = contracts.refusal(seqae.load, name)
        assert "runs/mine/bundle has no file tokenizer.json. Check the path, or get" in message


def test_other_files_and_folders(run: Path) -> None:
    Path("config.yaml").touch()  # of a project, which is no run
    Path("notes.txt").touch()
    assert "notes.txt is a file. Check the path" in contracts.refusal(seqae.load, "notes.txt")
    message = contracts.refusal(seqae.load, "runs/yours")
    assert message.endswith(
        "there is no folder runs/yours. Check the path; of the hub it is hf:runs/yours."
    )
    assert "runs has no file config.json. Check" in contracts.refusal(seqae.load, "runs")
