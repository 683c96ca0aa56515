"""Walk over folders: the files below one, those that fit a pattern, and what is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
PATTERN = re.compile(r"[*?[]")

NO_ENDING = "without an ending"
LINKS = "links to folders"
FIRST_NAMES = 3  # of each kind, to name what was left out


@dataclass
class LeftOut:
    """Counts the files of a folder that are not read.

    Attributes:
        folder: its path.
        kinds: by ending, the number of `files` and the `first` of their names.
    """

    folder: str
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, path: str, kind: str | None = None) -> None:
        """Count a file of the folder, by its ending unless a kind is given."""
        name = os.path.relpath(path, self.folder)
        counted = self.kinds.setdefault(kind or _ending(name), {"files": 0, "first": []})
        counted["files"] += 1
        counted["first"] = sorted([*counted["first"], name])[:FIRST_NAMES]

    def __str__(self) -> str:
        return describe_left_out(self.kinds)


def describe_left_out(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the files that are not read, by `LeftOut.kinds`, for a message."""
    parts = []
    for kind, counted in sorted(kinds.items(), key=lambda item: (-item[1]["files"], item[0])):
        more = ", ..." if counted["files"] > len(counted["first"]) else ""
        names = ", ".join(map(quote, counted["first"]))
        parts.append(f"{counted['files']:,} {kind} ({names}{more})")
    return ", ".join(parts)


def files_below(path: str, suffixes: Sequence[str], left_out: LeftOut) -> Iterator[str]:
    """Find the files of a folder that have one of the endings, at any depth.

    What is hidden, as `.git` is, is neither read nor counted.

    Args:
        path: of the folder.
        suffixes: the endings.
        left_out: counts the files that have none of them.
    """

    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

    # Links to folders are not followed: they can run in circles.
    for folder, folders, names in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(link := os.path.join(folder, name)):
                left_out.add(link, LINKS)
        for name in names:
            file = os.path.join(folder, name)
            if name.startswith("."):
                continue
            if suffix_of(name) in suffixes:
                yield file
            else:
                left_out.add(file)


def matching(pattern: str) -> Iterator[str]:
    """Find the files that fit a pattern; unlike glob.glob, fail at a folder that is unreadable."""
    root = os.path.abspath(os.sep) if os.path.isabs(pattern) else ""
    return _matching_below(root, [part for part in pattern.split(os.sep) if part])


def _matching_below(folder: str, parts: list[str]) -> Iterator[str]:
    first, *rest = parts
    if first == "**":
        yield from _matching_below(folder, rest or ["*"])
    elif not PATTERN.search(first):
        path = os.path.join(folder, first)
        if rest and os.path.isdir(path):
            yield from _matching_below(path, rest)
        elif not rest and os.path.exists(path) and not os.path.isdir(path):
            yield path
        return
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if entry.name.startswith(".") and not first.startswith("."):
                continue
            if first == "**":
                if entry.is_dir(follow_symlinks=False):
                    yield from _matching_below(path, parts)
            elif fnmatchcase(entry.name, first):
                if rest and entry.is_dir():
                    yield from _matching_below(path, rest)
                elif not rest and not entry.is_dir():
                    yield path


def suffix_of(path: str) -> str:
    """Return the suffix that tells the format: the last one, but not a `.gz` or the like."""
    stem, suffix = os.path.splitext(path.lower())
    return os.path.splitext(stem)[1] if suffix in COMPRESSED_SUFFIXES else suffix


def _ending(path: str) -> str:
    """Return the ending of a name for people, a `.gz` or the like included."""
    stem, suffix = os.path.splitext(path.lower())
    if suffix in COMPRESSED_SUFFIXES:
        suffix = os.path.splitext(stem)[1] + suffix
    return suffix or NO_ENDING


def quote(text: str) -> str:
    """Quote a path for a message, in one line of limited length."""
    shown = repr(text)
    return shown if len(shown) <= 200 else f"{shown[:150]}...{shown[-47:]}"


def one_line(text: str) -> str:
    """Put a library's message into one line of limited length, without control characters."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
