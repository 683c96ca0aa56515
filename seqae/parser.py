"""OneLineParser: what is wrong on a command line or in a YAML file, in one line.

jsonargparse describes an error over several lines. Here it becomes the key, what it must be, what
it is and the way out; a message that is not understood is printed as it is.
"""

from __future__ import annotations

import os
import re
from argparse import Action
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NoReturn, Union, get_args, get_origin

import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser  # type: ignore[attr-defined]
from typing_extensions import override

from seqae.component import Component, concrete_subclasses
from seqae.terminal import fail

# What jsonargparse (4.53) and argparse say of a wrong value, and of a key that they do not know.
WRONG = re.compile(
    r'Parser key "(?P<key>[^"]+)".*?: (?P<reason>.*?(?:(?:value|path string): (?P<value>.+))?)$'
)
UNKNOWN = re.compile(
    r"(?:Group '(?P<group>.+?)' .*)?\b[Oo]ption '(?P<key>.+?)'"
    r"|unrecognized arguments: (?P<word>\S+)"
)
REQUIRED = "arguments are required: "

# The arguments of each part of a model have a parser of their own, which does not know the part's
# key. It leaves this mark where the key goes, and the parser above puts the key there.
PART = "\0"

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
MAX_LISTED = 12  # names in a line


class OneLineParser(ArgumentParser):
    """A parser that says what is wrong in one line, and exits with status 2."""

    when_missing: ClassVar[str] = "Add what is missing."

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        line = explain(self, " ".join(message.split()), ex)
        if not self.exit_on_error:  # jsonargparse made this parser for the arguments of a part
            raise ArgumentError(None, line) from ex
        self.exit_with(line.replace(PART, ""))

    def exit_with(self, line: str) -> NoReturn:
        """Print an error and exit."""
        fail(line, status=2)


class ConfigFile(ActionConfigFile):
    """Read options from a YAML file, and name a file that cannot be read."""

    @override
    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        if os.path.isfile(values):
            try:
                yaml.compose(Path(values).read_text(encoding="utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"`config` must be UTF-8 text, but {values} is not: {error}."
                ) from error
            except yaml.YAMLError as error:
                reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
                parser.error(
                    f"`config` must be YAML, but {values} is not: {reason}. Check that line."
                )
        elif ":" not in values:  # otherwise it may be YAML itself
            parser.error(f"`config` must be a file, but there is no {values}. Check the path.")
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


def explain(parser: OneLineParser, message: str, error: BaseException | None = None) -> str:
    """Turn a message of jsonargparse's into ours.

    Args:
        parser: the parser that gives it: the program's, or that of a part's arguments.
        message: its text, in one line.
        error: the exception that it comes from.
    """
    if match := WRONG.match(message):
        while error is not None and not (isinstance(error, ArgumentError) and PART in str(error)):
            error = error.__cause__ or error.__context__
        if error is not None:
            return str(error).replace(PART, f"{PART}{match['key']}.init_args.")
        return _wrong_value(parser, match["key"], match["reason"], match["value"])
    if match := UNKNOWN.search(message):
        if match["word"] is None:
            return _unknown(parser, ".".join(filter(None, (match["group"], match["key"]))))
        if match["word"].startswith("-"):
            return _unknown(parser, match["word"].lstrip("-").partition("=")[0])
        way_out = "Options begin with --, and stand before the other arguments or after them."
        return f"`{match['word']}` is not known. {way_out}"
    if REQUIRED in message:
        known = {option.dest for option in options_of(parser)}
        keys = message.partition(REQUIRED)[2].split(", ")
        keys = [key if key in known else key.partition(".")[2] for key in keys]  # fit.KEY
        names = [f"`{PART}{key}`" for key in keys]
        names[-2:] = [" and ".join(names[-2:])]
        return f"{', '.join(names)} must be given. {parser.when_missing}"
    return message


def _unknown(parser: OneLineParser, key: str) -> str:
    known = sorted({option.dest for option in options_of(parser)} - {"help"})
    group, _, word = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == group]
    close = get_close_matches(key, known, n=1, cutoff=0.9)
    for names in () if close else (beside, known):
        words = {name.rpartition(".")[2]: name for name in reversed(names)}
        close = close or [words[match] for match in get_close_matches(word, words, n=1)]
    if close:
        way_out = f"Did you mean `{PART}{close[0]}`?"
    elif (group or not parser.exit_on_error) and 0 < len(beside) <= MAX_LISTED:
        way_out = f"There are {', '.join(beside)}."
    else:
        way_out = "`--help` lists the options."
    return f"`{PART}{key}` is not known. {way_out}"


def _wrong_value(parser: OneLineParser, key: str, reason: str, value: str | None) -> str:
    option = next((option for option in options_of(parser) if option.dest == key), None)
    hint = None if option is None else type_of(option)
    if value is None or option is None or hint is None:
        return f"`{PART}{key}` cannot be used: {reason}"
    words = choices(hint)
    close = get_close_matches(value, words, n=1)
    if option.nargs == "+":
        way_out = f"Put other arguments before `--{key}`."
    elif close:
        way_out = f"Did you mean {close[0]}?"
    elif hint is int and value.endswith(".0"):
        way_out = f"Write {value[:-2]}."
    else:
        way_out = "Choose one of these." if words else "Write a value of that type."
    expected = f"one of {', '.join(words)}" if words else " or ".join(_in_words(hint))
    return f"`{PART}{key}` must be {expected}, but it is {value} instead. {way_out}"


def choices(hint: Any) -> list[str]:
    """List the words, or the classes, that a value of this type may be; none if it may be more.

    Args:
        hint: the type.
    """
    if get_origin(hint) is Literal:
        return [str(option) for option in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Component):
        return [cls.__name__ for cls in concrete_subclasses(hint)]
    if get_origin(hint) in (Union, UnionType):
        parts = [choices(part) for part in get_args(hint) if part is not NoneType]
        return list(dict.fromkeys(name for part in parts for name in part)) if all(parts) else []
    return []


def _in_words(hint: Any) -> list[str]:
    if get_origin(hint) in (Union, UnionType):
        return list(dict.fromkeys(word for part in get_args(hint) for word in _in_words(part)))
    if get_origin(hint) is list:
        return ["a list"]
    if hint is NoneType:
        return ["null"]
    name = getattr(hint, "__name__", str(hint))
    article = "an" if name[0] in "AEIOU" else "a"
    return choices(hint) or [WORDS.get(hint) or f"{article} {name}"]


def options_of(parser: ArgumentParser) -> Iterator[Action]:
    """Give the options of a parser and of its subcommands, which jsonargparse keeps private."""
    yield from parser._actions
    if (subcommands := parser._subcommands_action) is not None:
        for below in subcommands._name_parser_map.values():
            yield from below._actions


def type_of(option: Action) -> Any:
    """Give the type that an option was declared with, if there is one; this is private, too."""
    return getattr(option, "_typehint", None)
