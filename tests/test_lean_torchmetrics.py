"""What torchmetrics imports in a command, and when it may import all that it wants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Which of the optional packages are imported behind a command, and whether they are known again.
TELL = """
import sys
from seqae.cli import main
from seqae.lean_torchmetrics import OPTIONAL
try:
    main(sys.argv[1:])
except SystemExit:
    pass
assert "torchmetrics" in sys.modules
from lightning_utilities.core.imports import RequirementCache, package_available
assert bool(RequirementCache("scipy")) == package_available("scipy") == True
print(sorted(OPTIONAL & set(sys.modules)))
"""


def imported_behind(*arguments: object) -> str:
    command = [sys.executable, "-c", TELL, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return done.stdout.splitlines()[-1]


def test_a_command_imports_no_metrics_of_sound_and_no_language_models() -> None:
    assert imported_behind("fit", "--data.train", "missing.txt") == "[]"


@pytest.mark.parametrize("place", ["argument", "configuration", "run folder"])
def test_the_classes_of_somebody_else_find_all_of_torchmetrics(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked for before anything is imported: a callback may want any metric."""
    from seqae import lean_torchmetrics

    asked: list[str] = []
    monkeypatch.setattr(lean_torchmetrics, "_taken_for_missing", lambda: asked.append("lean"))
    config = tmp_path / "config.yaml"
    config.write_text("trainer:\n  callbacks:\n  - class_path: theirs.metrics.Judge\n")
    arguments = {
        "argument": ["fit", "--trainer.callbacks=theirs.Judge"],
        "configuration": ["fit", f"--config={config}"],
        "run folder": ["fit", "--resume", str(tmp_path)],
    }[place]
    lean_torchmetrics.import_torchmetrics(arguments)
    assert not asked


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "-c", "gru", "--data.train", "my.txt", "--run_dir", "runs/A.B"],
        ["fit", "--model.autoencoder.encoder", "GRUEncoder", "--data.train", "missing.yaml"],
        ["fit", "--trainer.logger", "lightning.pytorch.loggers.CSVLogger", "\0"],
        ["fit", "--data.train", "/data/my.Text"],
    ],
)
def test_other_words_are_no_classes(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from seqae import lean_torchmetrics

    asked: list[str] = []

    def ask() -> None:
        asked.append("lean")
        raise ImportError

    monkeypatch.setattr(lean_torchmetrics, "_taken_for_missing", ask)
    lean_torchmetrics.import_torchmetrics(arguments)
    assert asked
