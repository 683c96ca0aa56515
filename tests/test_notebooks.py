"""The notebooks run from top to bottom, each in a kernel of its own, and are kept without outputs.

Outputs in git would be old after the next change, and make each change of a word one of a picture.
The one that trains is slow: 39 s. The default run only reads its code.
"""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from small import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}


def execute(name: str, folder: Path) -> list[Any]:
    """Run a notebook in a folder: the outputs of each cell."""
    notebook: Any = nbformat.read(NOTEBOOKS[name], as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    interrupt = signal.getsignal(signal.SIGINT)  # which nbclient takes and does not give back
    try:
        NotebookClient(notebook, timeout=250, kernel_name="python3", resources=resources).execute()
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def text_of(outputs: list[Any]) -> str:
    found = [output.get("text") or output["data"]["text/plain"] for output in outputs]
    return "".join(found)


def test_they_are_kept_without_outputs() -> None:
    assert set(NOTEBOOKS) == {"first_look", "train_and_judge"}
    for path in NOTEBOOKS.values():
        notebook: Any = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert not cell.get("outputs"), "jupyter nbconvert --clear-output --inplace"
            assert cell.get("execution_count") is None
            if cell.cell_type == "code":
                ast.parse(cell.source.replace("%matplotlib inline\n", ""))


def test_the_first_look_runs(tmp_path: Path) -> None:
    outputs = execute("first_look", tmp_path)
    assert all(own for own in outputs[1:]), "a cell that shows nothing"
    assert "-> the cat sat on the mat" in text_of(outputs[1])
    (shown,) = outputs[3]
    assert shown["data"]["text/html"].startswith('<iframe sandbox="allow-scripts" ')
    assert any("image/png" in output.get("data", {}) for output in outputs[4])
    assert (tmp_path / "atlas.html").stat().st_size < 500_000


@pytest.mark.slow
def test_the_training_does_what_the_notebook_says(tmp_path: Path) -> None:
    """That was 99 % of 100 sentences, in 39 s on one core."""
    outputs = execute("train_and_judge", tmp_path)
    assert all(own for own in outputs if own is not outputs[4]), "a cell that shows nothing"
    assert any("image/png" in output.get("data", {}) for output in outputs[2])
    match = re.search(r"the model +exact +(\d+)%", text_of(outputs[3]))
    assert match is not None
    assert int(match[1]) >= 90
