"""README.md does what it says: its commands and its Python, run in order in one folder.

What the blocks train on is made small: the built-in corpus is a file of a few sentences, recipes
train for two steps, and `my.txt` exists. What needs a network, a GPU or minutes is not run, but
must exist: the scripts, and every file and option that is named, in the other pages too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import ROOT, SENTENCES, run_seqae, write_text

from seqae.recipes import recipe_names

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if DOCS / "generated" not in page.parents]
PAGES.remove(DOCS / "log.md")  # it keeps the names of its day
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
    """A folder with the files that the README's commands read."""
    write_text(tmp_path / "my.txt", [*SENTENCES, *(f"{text} again" for text in SENTENCES)])
    for name in ("present.txt", "past.txt"):
        write_text(tmp_path / name, SENTENCES[:4])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_in_place(words: list[str], place: Path) -> None:
    """Run one command of the README, a small one in its stead where it trains."""
    arguments = words[1:]
    if ">" in arguments:
        *arguments, _, output = arguments
        with Path(output).open("w") as file, contextlib.redirect_stdout(file):
            assert run_seqae(*arguments) == 0, shlex.join(words)
        return
    if "overlays/gpu" in words:
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
    from seqae.cli import COMPLETION, RECIPES, TASKS, TRAINING

    inline = re.findall(r"`seqae (\w+)", README)
    named = {words[1] for words in all_commands() if words[0] == "seqae"} | set(inline)
    known = (*COMPLETION, *RECIPES, *TASKS, *TRAINING)
    assert named <= {command.split()[0] for command in known}


def names_of_files(page: Path) -> set[Path]:
    """The files that a page links to or names in backquotes."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    quoted = re.findall(r"`((?:benchmarks|configs|docs|scripts|seqae|tests)/[\w./-]*\w)`", text)
    made = [link for link in links if link.removeprefix("../").startswith("generated/")]
    return {page.parent / link for link in {*links}.difference(made)} | {ROOT / n for n in quoted}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    assert not {str(path) for path in names_of_files(page) if not path.exists()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_recipe_that_is_named_is_there(page: Path) -> None:
    given = re.findall(r" -c ([a-z][\w./-]*)", page.read_text(encoding="utf-8"))
    assert set(given) <= {*recipe_names(), "my.yaml", "sphere.yaml"}


def test_encoder_of_contributing_works() -> None:
    """In a process of its own, so that no other test finds the class."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = [code for language, code in BLOCK.findall(text) if language == "python"]
    checks = """
import torch
encoder = MeanEncoder(4)
encoder.build(embedding_dim=3, max_length=5)
embedded, mask = torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]])
encoded = encoder(embedded, mask)
assert encoded.shape == (2, encoder.output_dim)
assert torch.allclose(encoded[1], encoder.linear(embedded[1, :2].mean(dim=0)), atol=1e-6)
assert Encoder.from_config(encoder.config()).hidden_dim == 4
"""
    program = f"from seqae.model.encoders import *\n{code}\n{checks}"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


def test_tree_of_files_is_that_of_the_repository() -> None:
    tree = README.partition("## Where things are\n\n")[2].partition("\n\n")[0]
    folders = [ROOT]
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - 2
        names = re.split(r", | ", re.split(r" {2,}", line.strip())[0])
        paths = [folders[depth] / name for name in names]
        assert all(path.is_dir() if path.suffix == "" else path.is_file() for path in paths), line
        folders[depth + 1 :] = [paths[0]]
    top = {path.name for path in (ROOT / "seqae").iterdir() if (path / "__init__.py").exists()}
    assert top <= set(re.findall(r"(\w+)/", tree))


def test_inline_help_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    for command in re.findall(r"`seqae (fit --[\w.]+(?: \w+)?)`", README):
        if "help" in command:
            assert run_seqae(*shlex.split(command)) == 0
            assert re.search(r"^  --\w", capsys.readouterr().out, re.MULTILINE), command  # options
