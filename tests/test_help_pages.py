"""The pages of `-h`: they name only options that there are, with their defaults."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from small import run_seqae
from typing_extensions import override

from seqae import __version__
from seqae.cli import HELP_PAGES, TASKS, TRAINING, help_page, help_topic, overview
from seqae.parser import options_of
from seqae.synonyms import OPTIONS
from seqae.tasks.runner import decoding_options, function_of, make_parser
from seqae.training.command.cli_options import Command
from seqae.training.command.lightning_cli import TrainingCLI

Out = pytest.CaptureFixture[str]
UNSET = (None, -1, [], "")  # defaults that a page says in words, or not at all


class Parsers(TrainingCLI):
    """Makes the parsers of the training commands, and parses nothing."""

    @override
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise StopIteration

    @override
    def _add_subcommands(self, parser: Any, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        made[self.command] = self._subcommand_parsers[self.command]


made: dict[str, ArgumentParser] = {}


def parser_of(command: str) -> ArgumentParser:
    if command in TASKS:
        task = function_of(TASKS[command][0], command)
        return make_parser(task, command, decoding_options(task))
    wanted: Command = "fit" if command in ("fit", "prepare") else "predict"
    if wanted not in made:
        with pytest.MonkeyPatch.context() as patch, suppress(StopIteration):
            patch.setattr(sys, "argv", ["seqae"])
            Parsers(wanted, [])
    return made[wanted]


def entries(page: str) -> Iterator[tuple[str, str]]:
    """Each option that begins a line, and what is said of it."""
    for entry in re.split(r"\n(?=  \S|\S|\n)", page):
        if match := re.match(r"  (?:-c, )?--([\w.]+)", entry):
            yield match[1], " ".join(entry.split())


@pytest.mark.parametrize("command", [*TRAINING, *TASKS])
def test_a_page_agrees_with_the_options(command: str) -> None:
    page = help_page(command)
    lines = page.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert page.startswith(f"usage: seqae {command} ")
    assert lines[-1].startswith(f"example: seqae {command} ")
    defaults = {option.dest: option.default for option in options_of(parser_of(command))}
    synonyms = OPTIONS if command in TRAINING else {}
    mentioned = {name.rstrip(".") for name in re.findall(r"--([\w.]+)", page)} - {"help"}
    assert {synonyms.get(name, name) for name in mentioned} <= {*defaults, "resume"}
    for name, said in entries(page):
        default = defaults[synonyms.get(name, name)]
        if match := re.search(r"\[(.+?)\]$", said):
            assert match[1] == str(default).replace("False", "false"), said
        else:
            assert default in UNSET, said


def test_there_is_a_page_for_each_command() -> None:
    assert {path.stem for path in HELP_PAGES.iterdir()} == {*TRAINING, *TASKS, "completion"}


def test_a_page_needs_neither_torch_nor_a_parser() -> None:
    code = (
        "import sys; from seqae.cli import main; main(['fit', '-h']);"
        "sys.exit(bool({'torch', 'lightning', 'jsonargparse', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout == help_page("fit")


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["x"], None),
        (["-h"], ""),
        (["x", "--help"], ""),
        (["--help", "data"], "data"),
        (["--help=all"], "all"),
        (["-h", "--seed", "3"], ""),
        (["run", "--", "--help"], None),
    ],
)
def test_the_topic(arguments: list[str], topic: str | None) -> None:
    assert help_topic(arguments) == topic


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        (["sample", "--help", "decoding"], "--top_k", "--count"),
        (["evaluate", "--help", "reading"], "--reading.column", "--limit"),
        (["encode", "--help=device"], "--device", "--input"),
        (["fit", "--help", "checkpoint"], "--checkpoint.keep", "--data.train"),
        (["fit", "--help", "GRUEncoder"], "--model.autoencoder.encoder.hidden_dim", "--data"),
    ],
)
def test_a_part_of_the_help(capsys: Out, arguments: list[str], shown: str, hidden: str) -> None:
    assert run_seqae(*arguments) == 0
    said = capsys.readouterr().out
    assert f"  {shown} " in said
    assert f"  {hidden}" not in said


def test_an_unknown_part(capsys: Out) -> None:
    assert run_seqae("sample", "--help", "decding") == 2
    assert capsys.readouterr().err == (
        "seqae: error: `--help` must be alone or followed by all, decoding, but it is followed by "
        "decding. Did you mean decoding?\n"
    )


@pytest.mark.parametrize(
    ("asked", "page"),
    [(["help", "encode"], "encode"), (["data", "-h"], "data report"), (["data"], "data report")],
)
def test_help_is_asked_for_in_other_words(asked: list[str], page: str, capsys: Out) -> None:
    assert run_seqae(*asked) == (2 if asked == ["data"] else 0)
    assert capsys.readouterr().out.strip() == help_page(page).strip()


def test_help_and_version_are_words_too(capsys: Out) -> None:
    assert run_seqae("help") == run_seqae("version") == 0
    assert capsys.readouterr().out == f"{overview()}\nseqae {__version__}\n"
