"""Errors of parts and of libraries, put in terms of the options that a user has given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from traceback import walk_tb
from typing import Any

# What jsonargparse says if a class cannot be made: each way that it tried, and the configuration.
TRIED = re.compile(r"^\s*- (.+(?:\n(?!\s*- |Given value).+)*)", re.MULTILINE)
CLASS_PATH = re.compile(r"class_path='([\w.]+)'")
INTRODUCTION = re.compile(r"^Problem with given class_path '[^']+':\s*")
BARE_KEY = re.compile(r"`(\w+)`(?= (?:must|of|cannot))")


def explain(error: ValueError, options: Mapping[str, Any]) -> ValueError:
    """Put an error in terms of the configuration: its key in full, or the part that failed.

    Args:
        error: raised while the parts were made or checked.
        options: the configuration.

    Returns:
        The error to show instead; the same one if there is nothing to add.
    """
    message = str(error)
    if message.startswith("Does not validate against any of the Union"):
        return _explain_union(error, options)
    match = BARE_KEY.match(message)
    if match is None or match[1] in options:
        return error
    name, owner = match[1], _class_that_raised(error)
    found = [(key, cls) for key, cls in _keys(options) if key.endswith(f".{name}")]
    own = [key for key, cls in found if cls == owner] or [key for key, _ in found]
    if len(set(own)) != 1:
        return error
    return ValueError(message.replace(f"`{name}`", f"`{own[0]}`", 1))


def _explain_union(error: ValueError, options: Mapping[str, Any]) -> ValueError:
    message = str(error)
    tried = [INTRODUCTION.sub("", text) for text in TRIED.findall(message)]
    reasons = [text.splitlines()[0] for text in tried if not text.startswith("Expected a ")]
    if reasons and BARE_KEY.match(reasons[0]):  # the one class that is not abstract was refused
        return explain(ValueError(reasons[0]), options)
    paths = CLASS_PATH.findall(message.partition("Given value:")[2])
    if not reasons or not paths:
        return error
    owner = paths[-1].rpartition(".")[2]
    keys = [key for key, cls in _keys(options) if cls == owner]
    key = keys[0].partition(".init_args")[0] if keys else "trainer"
    return ValueError(
        f"`{key}` must be a class that can be made here, but {owner} cannot: "
        f"{reasons[0].rstrip('.')}. Install what is missing, or leave it out."
    )


def _class_that_raised(error: BaseException) -> str | None:
    """Name the class in whose constructor the error was raised, if there is one."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if frame.f_code.co_name == "__init__" and "self" in frame.f_locals:
            return type(frame.f_locals["self"]).__name__
    return None


def _keys(value: Any, prefix: str = "", owner: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield each key below a part of the configuration, and the class that it is an argument of."""
    if isinstance(value, list):
        for item in value:
            yield from _keys(item, prefix, owner)
        return
    if not isinstance(value, Mapping):
        return
    if "class_path" in value:
        owner = str(value["class_path"]).rpartition(".")[2]
        prefix = f"{prefix}.init_args"
        yield prefix, owner
        value = value.get("init_args") or {}
    for name, item in value.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        yield key, owner or ""
        yield from _keys(item, key, owner)
