"""What torchmetrics imports in a command, and when it may import all that it wants."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import COMMAND

from seqae.lean_torchmetrics import import_torchmetrics, may_run_foreign_code

FOREIGN = "trainer:\n  callbacks:\n  - class_path: theirs.Judge\n"
# A callback that takes what torchmetrics has only if it was imported whole, and stops.
THEIRS = """
from lightning.pytorch import Callback
from torchmetrics.functional.text import bert_score

class Judge(Callback):
    def setup(self, *_, **__):
        raise SystemExit(7)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of somebody else's, from which commands are given."""
    (tmp_path / "theirs.py").write_text(THEIRS)
    (tmp_path / "theirs_too.py").write_text("")
    (tmp_path / "MyLab.py").write_text("")
    (tmp_path / "theirs.yaml").write_text(FOREIGN)
    (tmp_path / "theirs").write_text(FOREIGN)
    (tmp_path / "nested.yaml").write_text("trainer: {callbacks: judges}\n")
    (tmp_path / "judges").write_text("- class_path: theirs.Judge\n")
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "lr=0.1" / "config.yaml").write_text(FOREIGN)
    (tmp_path / "ours.yaml").write_text(
        "# theirs.Judge is not used here\n"
        "model:\n  class_path: seqae.AutoencoderModule\n  learning_rate: 0.1\n"
        "data: {train: my.txt}\n"
    )
    (tmp_path / "my.txt").write_text("A sentence, e.g. this one.\n")
    monkeypatch.delenv("SEQAE_LEAN_IMPORTS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def tell(code: str, *arguments: object) -> str:
    """What code in a process of its own prints last, given arguments."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout.splitlines()[-1]


def test_a_command_imports_no_metrics_of_sound_and_no_language_models() -> None:
    """And what is installed is known again behind it."""
    pytest.importorskip("transformers")
    code = """
import sys
from seqae.cli import main
try:
    main()
except SystemExit:
    pass
assert "torchmetrics" in sys.modules
from lightning_utilities.core.imports import RequirementCache, module_available
from seqae.lean_torchmetrics import OPTIONAL
print(sorted(OPTIONAL & set(sys.modules)))
assert all(RequirementCache(name) and module_available(name) for name in OPTIONAL)
"""
    assert tell(code, "fit", "--data.train", "missing.txt") == "[]"


def test_a_callback_of_somebody_else_finds_all_of_torchmetrics(place: Path) -> None:
    pytest.importorskip("transformers")
    command = [COMMAND, "fit", "-c", "gru", "-c", "nested.yaml", "--data.train", "my.txt"]
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, PYTHONPATH=path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.callbacks=theirs.Judge"],
        ["--trainer.callbacks", "theirs.judge"],
        ["--trainer.callbacks=MyLab._Judge"],
        ["--trainer.callbacks", "[{class_path: theirs_too.Judge}]"],
        ["--trainer.callbacks.on_fit_start=theirs.judge"],
        ["-c", "theirs.yaml"],
        ["-c", "theirs"],
        ["-ctheirs.yaml"],
        ["--config=theirs.yaml"],
        ["-c", "nested.yaml"],
        ["--resume", "lr=0.1"],
        ["--resume=lr=0.1"],
        ["lr=0.1"],
        ["-c", FOREIGN],
        ["--resume", "s3://bucket/run"],
    ],
)
def test_code_of_somebody_else_is_seen(place: Path, arguments: list[str]) -> None:
    assert may_run_foreign_code(["-c", "gru", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "gru", "--data.train", "my.txt", "--run_dir", "runs/A.B"],
        ["-c", "ours.yaml", "--model.autoencoder.encoder", "GRUEncoder"],
        ["-c", "overlays/ddp", "--data.train", "missing.yaml", "--model.learning_rate=0.1"],
        ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger"],
        ["--data.train", "my.Text", "\0", "", "~nobody/x", "a" * 10_000],
    ],
)
def test_what_is_ours_is_seen(place: Path, arguments: list[str]) -> None:
    assert not may_run_foreign_code(arguments)


def test_what_cannot_be_read_beforehand_may_be_anything(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(place / "pipe")
    assert may_run_foreign_code(["-c", "pipe"])  # and is not read
    with (place / "huge.yaml").open("wb") as file:
        file.truncate(2**40)  # sparse
    assert not may_run_foreign_code(["--data.train", "huge.yaml"])  # data
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    assert may_run_foreign_code([])
    monkeypatch.setenv("SEQAE_LEAN_IMPORTS", "1")
    assert not may_run_foreign_code([])


def test_versions_that_cannot_be_told_import_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of lightning_utilities that this relies on are private."""
    from lightning_utilities.core import imports

    assert callable(imports.RequirementCache._check_requirement)
    assert callable(imports.package_available)
    monkeypatch.delattr(imports.RequirementCache, "_check_requirement")
    monkeypatch.setattr(sys, "modules", {**sys.modules})  # torchmetrics is dropped from it
    import_torchmetrics("fit", [])
    assert "torchmetrics" not in sys.modules
