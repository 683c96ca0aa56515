"""`seqae export`: what it writes, says and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import run_seqae

from seqae.interchange.onnx.onnx_folder import NAMES

Out = pytest.CaptureFixture[str]


def test_export_onnx(tmp_path: Path, capsys: Out) -> None:
    folder = tmp_path / "demo_onnx"
    assert run_seqae("export", "demo", "--format", "onnx", "--output", folder) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{folder}: agrees with torch; largest difference")
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)


def test_what_is_refused(tmp_path: Path, capsys: Out) -> None:
    def refusal(*arguments: object) -> tuple[int, str]:
        return run_seqae("export", *arguments), capsys.readouterr().err

    status, message = refusal("demo")
    assert status == 1
    assert "`output` must be the folder to write, but it is not given" in message
    status, message = refusal("demo", "--format", "gguf", "--output", tmp_path / "out")
    assert status == 2
    assert "format" in message
    (tmp_path / "mine.txt").touch()
    status, message = refusal("demo", "--format", "onnx", "--output", tmp_path)
    assert status == 1
    assert "has mine.txt instead" in message
    assert message.count("\n") == 1
