"""The script of `seqae completion`, in bash itself."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from small import run_seqae

from seqae.cli import TASKS, TRAINING
from seqae.completion import script
from seqae.recipes import recipe_names

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "seqae.bash"
    path.write_text(script([*TRAINING], TASKS), encoding="utf-8")
    return path


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("seqae neigh", ["neighbours", "neighbors"]),
        ("seqae fit --checkpoint.k", ["--checkpoint.keep"]),
        ("seqae fit --max_s", ["--max_steps"]),
        ("seqae train --data.too_long tr", ["truncate"]),
        ("seqae fit -c overlays/e", ["overlays/early_stopping"]),
        ("seqae fit --model.autoencoder.encoder L", ["LSTMEncoder"]),
        ("seqae encode --too_long ''", ["error", "truncate", "split"]),
        ("seqae encode runs/mine --o", ["--output"]),
        ("seqae encode runs/m", []),  # a file, which bash completes itself
        ("seqae data r", ["report"]),
        ("seqae data report --clean", None),
        ("seqae recipes show a", [name for name in recipe_names() if name.startswith("a")]),
        ("seqae completion z", ["zsh"]),
    ],
)
def test_bash_completes(completion: Path, words: str, expected: list[str] | None) -> None:
    count = len(shlex.split(words))
    lines = [
        f"source {shlex.quote(str(completion))}",
        f"COMP_WORDS=({words}) COMP_CWORD={count - 1}",
        "_seqae",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        [str(BASH), "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    found = done.stdout.split()
    assert done.stderr == ""
    if expected is None:
        assert "--cleaning.lowercase" in found
    else:
        assert found == expected


@pytest.mark.parametrize("arguments", [[], ["fish"], ["bash", "zsh"]])
def test_another_shell(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run_seqae("completion", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("seqae: error: `shell` must be one of bash, zsh, but ")
