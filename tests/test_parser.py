"""The parser's lines, and the private parts of jsonargparse and the wording they are made of."""

from __future__ import annotations

from typing import Literal

import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback

from seqae.component import Component
from seqae.parser import OneLineParser, choices, options_of, type_of


class Wheel(Component):
    """A part."""

    def __init__(self, spokes: int = 32) -> None:
        self.spokes = spokes


class Bicycle(Component):
    """A part that has another."""

    def __init__(self, wheel: Wheel, gears: int = 1) -> None:
        self.wheel = wheel
        self.gears = gears


@pytest.fixture
def parser() -> OneLineParser:
    parser = OneLineParser(prog="shop")
    parser.add_argument("--name", type=str | None)
    parser.add_argument("--colour", type=Literal["red", "green"])
    parser.add_argument("--bicycle", type=Bicycle | None)
    parser.add_argument("--callbacks", type=list[Callback] | Callback | None)
    parser.add_argument("--tags", type=list[str] | None)
    return parser


def test_a_parser_lists_its_options(parser: ArgumentParser) -> None:
    dests = [option.dest for option in options_of(parser)]
    assert dests == [
        "help",
        "name",
        "colour",
        "bicycle.help",
        "bicycle",
        "callbacks.help",
        "callbacks",
        "tags",
    ]


def test_an_option_has_its_type(parser: ArgumentParser) -> None:
    types = {option.dest: type_of(option) for option in options_of(parser)}
    assert types["help"] is None
    assert choices(types["colour"]) == ["red", "green"]
    assert choices(types["bicycle"]) == ["Bicycle"]
    assert choices(types["name"]) == []


LINES = {
    "--nmae=x": "`nmae` is not known. Did you mean `name`?",
    "--colour=redd": "`colour` must be one of red, green, but it is redd instead. "
    "Did you mean red?",
    "--bicycle=Bicyle": "`bicycle` must be one of Bicycle, but it is Bicyle instead. "
    "Did you mean Bicycle?",
    "--bicycle.geers=3": "`bicycle.init_args.geers` is not known. "
    "Did you mean `bicycle.init_args.gears`?",
    "--bicycle.gears=many": "`bicycle.init_args.gears` must be a whole number, but it is many "
    "instead. Write a value of that type.",
    "--bicycle.wheel.spokes=many": "`bicycle.init_args.wheel.init_args.spokes` must be a whole "
    "number, but it is many instead. Write a value of that type.",
    "--callbacks=x": "`callbacks` must be a list or a Callback or null, but it is x instead. "
    "Write a value of that type.",
    "--tags=new": "`tags` must be a list or null, but it is new instead. Write '[new]'.",
}


@pytest.mark.parametrize("argument", LINES)
def test_line(parser: OneLineParser, capsys: pytest.CaptureFixture[str], argument: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([argument] if "." not in argument else ["--bicycle=Bicycle", argument])
    assert capsys.readouterr().err == f"seqae: error: {LINES[argument]}\n"


def test_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser()
    for key in ("a", "b", "c"):
        parser.add_argument(f"--{key}", type=int, required=True)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([])
    said = capsys.readouterr().err
    assert said == "seqae: error: `a`, `b` and `c` must be given. Add what is missing.\n"
