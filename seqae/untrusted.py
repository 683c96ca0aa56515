"""Read small files that may come from a stranger: capped before they are read, counted before YAML.

YAML and JSON can cost far more than their bytes: aliases multiply, and brackets nest deeper than a
parser's stack.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**22  # what is parsed takes some 30 times as much memory
MAX_DEPTH = 64  # of brackets and indentation; a configuration has 8
MAX_NODES = 2**18  # of YAML once its aliases are put in; a configuration has about 200

# What is left of JSON without these is its brackets.
_NO_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^][{}"]+', re.DOTALL)

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built so


def read_capped(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file that may be at most so large.

    Raises:
        ValueError: as `check_size`.
    """
    check_size(path, limit)
    return path.read_bytes()


def check_size(path: Path, limit: int = MAX_BYTES) -> None:
    """Refuse a file before it is read, or hashed.

    Raises:
        ValueError: if it is too large, or no regular file: a device or a pipe may never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is no regular file")
    if status.st_size > limit:
        raise ValueError(f"{path.name} has {status.st_size:,} bytes, and may have {limit:,}")


def load_yaml(data: bytes) -> Any:
    """Parse YAML as plain data, if its brackets and aliases are few.

    Raises:
        ValueError: if it is no YAML, no UTF-8, nests deeper than `MAX_DEPTH`, or its aliases
            multiply to more than `MAX_NODES` nodes.
    """
    text = data.decode("utf-8")
    try:
        _count_nodes(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def load_json(data: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: if it is no JSON, no UTF-8, or nests deeper than `MAX_DEPTH`: whoever reads or
            shows it takes a step of the stack for each level.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("its brackets nest too deep") from error
    if depth_of_json(data) > MAX_DEPTH:
        raise ValueError("its brackets nest too deep")
    return value


def shown(value: object, width: int = 80) -> str:
    """Show a value of a stranger's file in a message: in one line, and not all of a long one."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def mark_of(data: bytes) -> Path:
    """Return the file that says, if it exists, that this user trusts a run's configuration."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "seqae" / "trusted" / hashlib.sha256(data).hexdigest()


def remember(data: bytes) -> None:
    """Keep that this user trusts a run's configuration, on this machine."""
    mark = mark_of(data)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:  # a home that cannot be written: the question comes again
        pass


def depth_of_json(data: bytes) -> int:
    """Say how deep brackets nest in a text that was parsed; 0 if not deeper than `MAX_DEPTH`."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for bracket in _NO_BRACKETS.sub(b"", data):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _count_nodes(text: str) -> None:
    sizes: dict[str | None, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # anchor, and nodes below so far
    for event in yaml.parse(text, Loader=_Loader):
        anchor, size = None, 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias *{event.anchor} has no end or no beginning")
            size = sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        if anchor is not None:
            sizes[anchor] = size
        outer, before = open_nodes.pop()
        open_nodes.append((outer, before + size))
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"its brackets nest deeper than {MAX_DEPTH}")
        if before + size > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES:,} values, its aliases put in")
