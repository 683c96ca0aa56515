"""Wrong usage, told in the house's grammar: the full key, what it must be, the way out.

jsonargparse says what is wrong with a part's argument from within the part (`Option 'hiden_dim' is
not accepted`), and of a wrong value every type that it tried. Here this becomes one line that a
person can act on; a message that is not known here is passed on as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from types import FrameType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from seqae.component import Component, concrete_subclasses

UNKNOWN = re.compile(
    r"(?:Subcommand|Group|Option) '(?P<where>[^']+)' "
    r"(?:does not accept option '(?P<key>[^']+)'|is not accepted.*)"
)
UNRECOGNIZED = re.compile(r"unrecognized arguments: (?P<key>\S+)")
REQUIRED = re.compile(r"the following arguments are required: (?P<keys>.+)")
WRONG_VALUE = re.compile(r'Parser key "(?P<key>[^"]+)"(?: element \d+)?: (?P<reason>.+)')
NO_FILE = re.compile(r"File does not exist: '(?P<path>.+)'")
NOT_YAML = re.compile(r"Problems parsing config: (?P<reason>.+)")
VALUE = re.compile(
    r"(?:Got value: |Given value: |Expected a dot import path string: |Expected a path but )"
    r"(?P<value>.+?)(?: either not accessible or invalid.*)?$"
)
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
LISTED = 12  # names that a line may list


def explain(parser: ArgumentParser, message: str) -> str:
    """Turn what the parser says into one line.

    Args:
        parser: the parser that says it: the program's, or that of a part's arguments.
        message: what it says.
    """
    message = " ".join(message.split())
    if found := UNKNOWN.match(message):
        key = found["key"] or found["where"]
        where = found["where"] if message.startswith("Group") else ""
        return _tell_unknown(parser, ".".join(filter(None, [where, key])))
    if found := UNRECOGNIZED.match(message):
        return _tell_unknown(parser, found["key"].lstrip("-").partition("=")[0])
    if found := REQUIRED.match(message):
        return _tell_missing(found["keys"].split(", "))
    if found := WRONG_VALUE.match(message):
        return _tell_wrong(parser, found["key"], found["reason"])
    if found := NOT_YAML.match(message):
        reason = found["reason"].replace(' in "<unicode string>",', " at")
        return f"`config` must be YAML, but {_config_file()} is not: {reason}. Check that line."
    return message


def choices(hint: Any) -> list[str]:
    """The words, or the classes, that a value of this type may be; nothing if it may be more.

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


def _tell_unknown(parser: ArgumentParser, key: str) -> str:
    known = sorted({action.dest for action in _actions(parser)} - {"help"})
    parent, dot, word = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    close = get_close_matches(key, known, n=1, cutoff=0.9)
    for names in [] if close else [beside, known]:
        words = {name.rpartition(".")[2]: name for name in reversed(names)}
        close = close or [words[found] for found in get_close_matches(word, words, n=1)]
    place = _place()
    if close:
        way_out = f"Did you mean `{place}{close[0]}`?"
    elif (dot or place) and 0 < len(beside) <= LISTED:
        way_out = f"There are {', '.join(name for name in beside)}."
    else:
        way_out = "`--help` lists the options."
    return f"`{place}{key}` is not known. {way_out}"


def _tell_missing(keys: list[str]) -> str:
    names = [f"`{key.partition('.')[2] if key.startswith('fit.') else key}`" for key in keys]
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    recipe = "Start from a recipe: `-c gru`." if "." in told else "Add what is missing."
    return f"{told} must be given. {recipe}"


def _tell_wrong(parser: ArgumentParser, key: str, reason: str) -> str:
    if found := NO_FILE.match(reason):
        return f"`{key}` must be a file, but there is no {found['path']}. Check the path."
    found = VALUE.search(reason)
    action = next((action for action in _actions(parser) if action.dest == key), None)
    hint = getattr(action, "_typehint", None)
    if found is None or hint is None:
        return f"`{_place()}{key}` cannot be used: {reason}"
    value, words = found["value"], choices(hint)
    close = get_close_matches(value, words, n=1)
    if close:
        way_out = f"Did you mean {close[0]}?"
    elif hint is int and re.fullmatch(r"-?\d+\.0", value):
        way_out = f"Write {value[:-2]}."
    else:
        way_out = "Choose one of these." if words else "Write a value of that type."
    if getattr(action, "nargs", None) == "+":
        way_out = f"Put other arguments before `--{key}`."
    expected = f"one of {', '.join(words)}" if words else " or ".join(_words(hint))
    return f"`{_place()}{key}` must be {expected}, but it is {value} instead. {way_out}"


def _words(hint: Any) -> list[str]:
    if get_origin(hint) in (Union, UnionType):
        return list(dict.fromkeys(word for part in get_args(hint) for word in _words(part)))
    if get_origin(hint) is Literal:
        return [str(option) for option in get_args(hint)]
    if hint is NoneType:
        return ["null"]
    if get_origin(hint) is list:
        return ["a list"]
    name = getattr(hint, "__name__", str(hint))
    return [WORDS.get(hint) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"]


def _actions(parser: ArgumentParser) -> Iterator[Any]:
    """The options of a parser and of its subcommands."""
    yield from parser._actions
    commands = getattr(parser, "_subcommands_action", None)
    for below in commands._name_parser_map.values() if commands else ():
        yield from below._actions


def _place() -> str:
    """The key of the part whose arguments are being read, with a dot, or nothing.

    A part has a parser of its own, which does not know where the part stands; the call stack does.
    """
    keys = [
        f"{frame.f_locals['self'].dest}.init_args."
        for frame in _stack()
        if frame.f_code.co_name == "_check_type" and "self" in frame.f_locals
    ]
    return "".join(reversed(keys))


def _config_file() -> str:
    for frame in _stack():
        if frame.f_code.co_name == "apply_config":
            return str(frame.f_locals.get("value", "it"))
    return "it"


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
