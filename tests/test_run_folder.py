"""One training at a time writes to a run's folder, whose records a later command goes by."""

from __future__ import annotations

import json
from pathlib import Path

import contracts
import pytest
from filelock import FileLock
from small import figures, numbered, run_seqae, write_recipe, write_text

from seqae.data.datamodule import TextDataModule
from seqae.training.run import run_folder
from seqae.training.run.run_folder import LOCK, RunFolder, pin_revisions


@pytest.fixture
def run(tmp_path: Path) -> Path:
    text = write_text(tmp_path / "text.txt", numbered(60))
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 1]
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "run") == 0
    return tmp_path / "run"


def test_a_folder_that_a_training_writes_to_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "LOCK_TIMEOUT_SECONDS", 0.1)
    before, config = figures(run), (run / "config.yaml").read_bytes()
    capsys.readouterr()
    with FileLock(run / LOCK):
        assert run_seqae("fit", "--resume", run, "--trainer.max_epochs", 2) == 1
    said = capsys.readouterr()
    assert f"waiting for another training, which holds {run}" in said.out
    assert said.err.startswith("seqae: error: `run_dir` must be a folder that no training writes")
    assert said.err.count("\n") == 1
    assert (figures(run), (run / "config.yaml").read_bytes()) == (before, config)
    assert run_seqae("fit", "--resume", run, "--trainer.max_epochs", 2) == 0


def test_a_training_that_has_waited_begins_anew(run: Path) -> None:
    """It has read a checkpoint's name that is not the newest any more."""
    folder = RunFolder(run, {}, is_resumed=True)
    (run / "checkpoints" / "last.ckpt").unlink()
    (run / "checkpoints" / "last.ckpt").symlink_to("step=1.ckpt")
    with pytest.raises(ValueError, match="another one has saved a checkpoint"):
        folder.make()
    folder.release()
    RunFolder(run, {}, is_resumed=True).make()


def test_a_file_system_without_locks_is_done_without(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLock:
        def __init__(self, path: Path) -> None:
            pass

        def acquire(self, timeout: float) -> None:
            raise NotImplementedError

    monkeypatch.setattr(run_folder, "FileLock", NoLock)
    assert run_seqae("fit", "--resume", run, "--trainer.max_epochs", 2) == 0


def test_a_run_keeps_to_the_commits_in_its_data_report(tmp_path: Path) -> None:
    data = TextDataModule(train="hf:lab/texts")
    pin_revisions(data, tmp_path)
    assert not data.revisions
    sources = [{"name": "hf:lab/texts", "record": {"revision": "c0ffee"}}, {"name": "a.txt"}]
    (tmp_path / "data_report.json").write_text(json.dumps({"sources": sources}))
    pin_revisions(data, tmp_path)
    assert data.revisions == {"hf:lab/texts": "c0ffee"}


@pytest.mark.parametrize("report", ["{", "[]", "{}", '{"sources": [{"name": 1}]}'])
def test_a_damaged_data_report_is_refused(tmp_path: Path, report: str) -> None:
    (tmp_path / "data_report.json").write_text(report)
    message = contracts.refusal(pin_revisions, TextDataModule(train="hf:lab/texts"), tmp_path)
    assert message.startswith(f"{tmp_path / 'data_report.json'} must be the data report of a run")
