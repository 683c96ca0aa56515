"""OneLineParser: report wrong usage in one line that names the key, the value and the way out.

jsonargparse parses the arguments of a part, such as an encoder, with a parser of its own. If
something is wrong there, that parser raises its line as an error, and the outer parser puts the key
of the part in front. A message that is not recognised is printed as jsonargparse words it.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from textwrap import shorten
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser
from typing_extensions import override

from seqae.component import Component, concrete_subclasses
from seqae.synonyms import ADVICE, POSITIONALS, RENAMED
from seqae.synonyms import OPTIONS as SYNONYMS
from seqae.terminal import fail

# What jsonargparse says, of which each part must be found: an inner parser's line, then the rest.
IN_PART = re.compile(r"Parser key \"([^\"]+)\"[\s\S]+? class_path '[^']+':\s+(`.+)")
UNKNOWN = re.compile(
    r"(?:Group '(?P<group>[^']+)' )?(?:does not accept option|Option|unrecognized arguments:) "
    r"'?(?P<key>[^\s=']+)"
)
WRONG_VALUE = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\"[\s\S]+"
    r"(?:Got value|Given value|import path string): (?P<value>.+)"
)
MISSING = re.compile(r"the following arguments are required: (.+)")

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    NoneType: "null",
}
MAX_LISTED = 12  # names in one line


class OneLineParser(ArgumentParser):
    """A parser that reports what is wrong in one line, and exits with status 2."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        line = explain(getattr(ex, "subcommand_parser", self), message)
        if not self.exit_on_error:  # the parser of a part: the outer one reports the error
            super().error(line, ex)
        self.exit_with(line)

    def exit_with(self, line: str) -> NoReturn:
        """Print an error and exit."""
        fail(line, status=2)


def explain(parser: ArgumentParser, message: str) -> str:
    """Turn an error message of jsonargparse into one line.

    Args:
        parser: the parser that knows the options in question.
        message: what jsonargparse says, of several lines.
    """
    if match := IN_PART.match(message):
        key, line = match.groups()
        return re.sub(r"`(?=[a-z_])", f"`{key}.init_args.", line)
    if match := UNKNOWN.search(message):
        return _explain_unknown(parser, ".".join(filter(None, match.group("group", "key"))))
    if match := MISSING.match(message):
        keys = [f"`{key.removeprefix('fit.')}`" for key in match[1].split(", ")]
        listed = " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))
        way_out = "Start from a recipe: `-c gru`." if "." in listed else "Add what is missing."
        if listed == "`save_dir`":  # of a logger
            way_out = "Write `.` for the run's folder."
        return f"{listed} must be given. {way_out}"
    if match := WRONG_VALUE.match(message):
        for option in options_of(parser):
            if option.dest == match["key"]:
                return _explain_value(option, match["value"])
    return shorten(message, 1000)


def show_help(
    parser: OneLineParser, topic: str, groups: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Print the help of a part of the options.

    Args:
        parser: which has them.
        topic: `all`, a part of keys (`data`, `data.reading`, `reading`), the name of a group, or
            a class that an option may be.
        groups: names for several options that have no key in common.
    """
    options, groups = options_of(parser), groups or {}
    keys = {option.dest for option in options}
    key = SYNONYMS.get(topic, topic)
    is_shown = [
        f".{key}." in f".{option.dest}." or option.dest in groups.get(topic, ())
        for option in options
    ]
    with_classes = [option for option in options if f"{option.dest}.help" in keys]
    classes = {name: option.dest for option in with_classes for name in choices(type_of(option))}
    if topic == "all":
        print(parser.format_help(), end="")
    elif any(is_shown):
        for option, shown in zip(options, is_shown, strict=True):
            option.help = option.help if shown else SUPPRESS
        parser.usage = parser.description = parser.epilog = SUPPRESS
        print(parser.format_help().strip("\n"))
    elif topic in classes:
        parser.parse_args([f"--{classes[topic]}.help={topic}"])
    else:
        parts = {key.partition(".")[0] for key in keys if "." in key}
        topics = ["all", *sorted(parts), *groups, *classes]
        close = get_close_matches(topic, topics, n=1)
        way_out = f"Did you mean {close[0]}?" if close else "Choose one of these, or a key."
        parser.exit_with(
            f"`--help` must be alone or followed by {', '.join(topics)}, but it is followed by "
            f"{topic}. {way_out}"
        )


def options_of(parser: ArgumentParser) -> list[Action]:
    """List the options of a parser, those of its subcommands not included."""
    return parser._actions


def type_of(option: Action) -> Any:
    """Return the type that an option was declared with, or None."""
    return getattr(option, "_typehint", None)


def choices(hint: Any) -> list[str]:
    """List the words or classes that a value may be; an empty list if it may be something else.

    Args:
        hint: the type of the value.
    """
    if get_origin(hint) is Literal:
        return [str(option) for option in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Component):
        return [cls.__name__ for cls in concrete_subclasses(hint)]
    if get_origin(hint) in (Union, UnionType):
        members = [choices(member) for member in get_args(hint) if member is not NoneType]
        return list(dict.fromkeys(sum(members, []))) if all(members) else []
    return []


def _explain_unknown(parser: ArgumentParser, argument: str) -> str:
    key = argument.lstrip("-")
    if key in ADVICE:
        return f"`{key}` is not known. {ADVICE[key]}"
    known = sorted({option.dest for option in options_of(parser)} - {"help"})
    if (name := RENAMED.get(key)) in known:
        return f"`{key}` is not known. It is called `{name}` now: write `--{name}`."
    for option in options_of(parser):
        if not option.option_strings and key in (option.dest, *POSITIONALS.get(option.dest, ())):
            return f"`{key}` is not known. Leave out its name: `{parser.prog} {key.upper()}`."
    siblings = [name for name in known if _parent(name) == _parent(key)]
    is_listed = "." in key or not parser.exit_on_error  # not the long list of the top level
    if close := _closest(key, siblings, known):
        way_out = f"Did you mean `{close}`?"
    elif is_listed and 0 < len(siblings) <= MAX_LISTED:
        way_out = f"There are {', '.join(siblings)}."
    else:
        way_out = (
            "`--help all` lists the options; they go before the other arguments or after them."
        )
    return f"`{key}` is not known. {way_out}"


def _closest(key: str, siblings: Sequence[str], known: Sequence[str]) -> str | None:
    """Return a key spelt alike, or one whose last word is: a sibling, or else any key."""
    if whole := get_close_matches(key, known, n=1, cutoff=0.9):
        return whole[0]
    for names in (siblings, known):
        by_last_word = {name.rpartition(".")[2]: name for name in reversed(names)}
        if words := get_close_matches(key.rpartition(".")[2], by_last_word, n=1, cutoff=0.7):
            return by_last_word[words[0]]
    return None


def _parent(key: str) -> str:
    return key.rpartition(".")[0]


def _explain_value(option: Action, value: str) -> str:
    hint = type_of(option)
    words = choices(hint)
    expected = f"one of {', '.join(words)}" if words else " or ".join(_type_names(hint))
    if option.nargs == "+":
        way_out = f"Put other arguments before `--{option.dest}`."
    elif close := get_close_matches(value, words, n=1):
        way_out = f"Did you mean {close[0]}?"
    elif words:
        way_out = "Choose one of these."
    elif hint is int and re.fullmatch(r"-?\d+\.0", value):
        way_out = f"Write {value[:-2]}."
    elif list[str] in (hint, *get_args(hint)) and "[" not in value:
        way_out = f"Write '[{value}]'."
    else:
        way_out = "Write a value of that type."
    return f"`{option.dest}` must be {expected}, but it is {value} instead. {way_out}"


def _type_names(hint: Any) -> list[str]:
    if get_origin(hint) in (Union, UnionType):
        return list(dict.fromkeys(name for part in get_args(hint) for name in _type_names(part)))
    name = getattr(hint, "__name__", str(hint))
    article = "an" if name[0] in "AEIOU" else "a"
    return choices(hint) or [TYPE_NAMES.get(get_origin(hint) or hint) or f"{article} {name}"]
