"""README.md does what it says: its commands and its Python, run in order in one folder.

What the blocks train on is made small: the built-in corpus is a file of a few sentences, recipes
train for two steps, and `my.txt` exists. What needs a network, a GPU or minutes is not run, but
must exist: the scripts, and every file and option that is named.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from small import CONFIGS, ROOT, SENTENCES, run_seqae, write_text

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "2", "--threads", "1"]
SMALL += ["--checkpoint.every_n_steps", "1", "--data.val_percent", "20"]


def blocks(*languages: str) -> list[tuple[str, str]]:
    return [(name, code) for name, code in BLOCK.findall(README) if name in languages]


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block; a line may go on after a backslash."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def all_commands() -> list[list[str]]:
    return [words for _, code in blocks("bash", "sh", "shell") for words in commands(code)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository to somebody who follows the README."""
    (tmp_path / "configs").symlink_to(CONFIGS)
    write_text(tmp_path / "my.txt", [*SENTENCES, *(f"{text} again" for text in SENTENCES)])
    for name in ("present.txt", "past.txt"):
        write_text(tmp_path / name, SENTENCES[:4])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_in_place(words: list[str], place: Path) -> None:
    """Run one command of the README, a small one in its stead where it trains."""
    arguments = words[1:]
    if "gpu.yaml" in " ".join(words):
        return  # parsed by test_configs.py
    if arguments[0] == "fit" and "--resume" not in arguments:
        arguments += SMALL
        if "--data.train" not in arguments:
            arguments += ["--data.train", "my.txt"]
        if "--run_dir" not in arguments:
            arguments += ["--run_dir", str(place / f"run{len(list(place.iterdir()))}")]
    if "--help" in arguments or ".help" in " ".join(arguments):
        assert run_seqae(*arguments) == 0
        return
    assert run_seqae(*arguments) == 0, shlex.join(words)


def small_training(code: str) -> str:
    """The block with a small corpus and a short training; every name stays as it is written."""
    code = code.replace('train="wordnet-examples"', 'train="my.txt"')
    code = re.sub(r"max_steps=\d+", "max_steps=1", code)
    return code.replace("pl.Trainer(", "pl.Trainer(enable_progress_bar=False, accelerator='cpu', ")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice to whoever writes a Trainer
def test_blocks_run_in_order(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["seqae"])
    ran = 0
    names: dict[str, Any] = {}
    for language, code in blocks("bash", "sh", "shell", "python"):
        if language == "python":
            exec(compile(small_training(code), "README.md", "exec"), names)
            ran += 1
            continue
        for words in commands(code):
            if words[0] == "seqae":
                run_in_place(words, place)
                ran += 1
    assert ran >= 5


def test_scripts_exist_and_may_be_run() -> None:
    named = {words[0] for words in all_commands() if words[0].startswith("scripts/")}
    assert {"scripts/quickstart", "scripts/test"} <= named
    for name in named:
        assert os.access(ROOT / name, os.X_OK), name


def test_every_command_is_one_that_is_known() -> None:
    from seqae.cli import TASKS, TRAINING

    inline = re.findall(r"`seqae (\w+)", README)
    named = {words[1] for words in all_commands() if words[0] == "seqae"} | set(inline)
    assert named <= {command.split()[0] for command in (*TASKS, *TRAINING)}


def test_every_file_that_is_named_is_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    named = re.findall(r"`((?:configs|scripts|docs|seqae)/[\w./-]+)`", README)
    options = [word for words in all_commands() for word in words if word.startswith("configs/")]
    missing = {path for path in (*links, *named, *options) if not (ROOT / path).exists()}
    assert not missing


def test_inline_help_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    for command in re.findall(r"`seqae (fit --[\w.]+(?: \w+)?)`", README):
        if "help" in command:
            assert run_seqae(*shlex.split(command)) == 0
            assert capsys.readouterr().out.startswith("usage: seqae")
