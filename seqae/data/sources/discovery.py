"""Find the files of a source: one, those of a folder or a pattern, a pipe, standard input.

What cannot be found or read is refused in one line before any work is done.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from seqae.data.builtin import BUILTIN_CORPORA, builtin_names
from seqae.data.sources.records import Format

STANDARD_INPUT = "standard input"
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
ARCHIVES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".zip", ".7z", ".rar", ".lz4", ".z")

SUFFIXES: dict[Format, tuple[str, ...]] = {
    "text": (".txt",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather"),
}

PATTERN = re.compile(r"[*?[]")


@dataclass(frozen=True)
class SourceFile:
    """One thing to read.

    Attributes:
        kind: of the thing.
        name: its path, or the name of the built-in corpus.
        stamp: (size, mtime_ns) of a regular file, None for other kinds.
        title: the name that people know it by, if it is another one.
    """

    kind: Literal["regular", "pipe", "stdin", "builtin"]
    name: str
    stamp: tuple[int, int] | None = None
    title: str | None = None

    @property
    def shown(self) -> str:
        """The name to show to people."""
        return self.title or self.name

    @property
    def compression(self) -> str:
        """The suffix that says how it is compressed, or an empty text."""
        suffix = os.path.splitext(self.name)[1].lower()
        return suffix if suffix in COMPRESSED_SUFFIXES and self.kind in ("regular", "pipe") else ""

    @property
    def is_compressed(self) -> bool:
        """Whether reading decompresses it, so that its bytes can be reached only in order."""
        return self.kind == "builtin" or bool(self.compression)

    @property
    def format(self) -> Format:
        """The format that its name tells, or else text."""
        if self.kind in ("regular", "pipe"):
            suffix = _suffix(self.name)
            for known, suffixes in SUFFIXES.items():
                if suffix in suffixes:
                    return known
        return "text"


def find_files(source: str, key: str, wanted: Format = "auto") -> list[SourceFile]:
    """List the files of a source in the order of reading.

    Args:
        source: a file, a folder, a pattern, `-`, or the name of a built-in corpus.
        key: the configuration key that holds it, for error messages.
        wanted: the format, which decides which files of a folder to read.

    Raises:
        ValueError: if a file is an archive.
        FileNotFoundError: if there is no such source, or nothing to read in the folder.
        PermissionError: if a file may not be read.
    """
    if source == "-":
        return [SourceFile("stdin", STANDARD_INPUT)]
    if source in BUILTIN_CORPORA:
        return [SourceFile("builtin", source)]
    try:
        paths, must = _list_paths(os.path.expanduser(source), wanted)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        shown = isinstance(error, OSError) and error.filename or source
        raise refusal(key, shown, error) from None
    if not paths:
        raise FileNotFoundError(f"`{key}` must {must} {quote(source)}. Check it, or name one file.")
    return [_inspect(path, key) for path in paths]


def _list_paths(path: str, wanted: Format) -> tuple[list[str], str]:
    """List the files that a path means, and say what it must be if there are none."""
    if PATTERN.search(path) and not os.path.lexists(path):
        return sorted(set(_matching(path))), "be a pattern that fits a file, but none fits"
    if not stat.S_ISDIR(os.stat(path).st_mode):
        return [path], ""
    suffixes = _folder_suffixes(wanted)
    must = f"be a folder with {', '.join(suffixes)} files, but there is none in or below"
    return sorted(_files_below(path, suffixes)), must


def _folder_suffixes(wanted: Format) -> tuple[str, ...]:
    if wanted != "auto":
        return SUFFIXES[wanted]
    # A .json file beside data is most often what some tool says of the data.
    return tuple(suffix for some in SUFFIXES.values() for suffix in some if suffix != ".json")


def _files_below(path: str, suffixes: Sequence[str]) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

    # Links to folders are not followed: they can run in circles.
    for folder, folders, names in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _suffix(name) in suffixes and not name.startswith("."):
                yield os.path.join(folder, name)


def _matching(pattern: str) -> Iterator[str]:
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


def _inspect(path: str, key: str) -> SourceFile:
    """Find out what a path is; refuse what cannot be read."""
    if _suffix(path) in ARCHIVES:
        raise ValueError(
            f"`{key}` must be a file that is not compressed, or only as .gz, .bz2, .xz or .zst, "
            f"but {quote(path)} is an archive of another kind. Unpack it first."
        )
    try:
        status = os.stat(path)
    except OSError as error:
        raise refusal(key, path, error) from None
    if not stat.S_ISREG(status.st_mode):
        return SourceFile("pipe", path)
    if not os.access(path, os.R_OK):
        raise refusal(key, path, PermissionError())
    return SourceFile("regular", path, stamp_of(status))


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Return what changes when the file changes: its size and mtime_ns."""
    return status.st_size, status.st_mtime_ns


def _suffix(path: str) -> str:
    """Return the suffix that tells the format: the last one, but not a `.gz` or the like."""
    stem, suffix = os.path.splitext(path.lower())
    return os.path.splitext(stem)[1] if suffix in COMPRESSED_SUFFIXES else suffix


def refusal(key: str, path: str, error: OSError | ValueError) -> OSError:
    """Make the error that says in one line why a path cannot be read."""
    if isinstance(error, PermissionError):
        return PermissionError(
            f"`{key}` must be readable, but there is no permission to read {quote(path)}. "
            f"Change its mode (chmod) or read a copy."
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        return FileNotFoundError(
            f"`{key}` must be a file, a folder, a pattern such as 'data/*.txt', - for standard "
            f"input, hf:OWNER/NAME, nltk:CORPUS or one of {', '.join(builtin_names())}, but there "
            f"is no {quote(path)}. Check the path."
        )
    return OSError(
        f"`{key}` must be readable, but reading {quote(path)} failed: {error.strerror}. "
        f"Check the path and the disk."
    )


def without_path(source: str) -> str:
    """Return a source's name without the path of a file, for what others read."""
    return source if source.startswith(("hf:", "nltk:", "memory:")) else os.path.basename(source)


def quote(text: str) -> str:
    """Quote a path for a message, in one line of limited length."""
    shown = repr(text)
    return shown if len(shown) <= 200 else f"{shown[:150]}...{shown[-47:]}"


def one_line(text: str) -> str:
    """Put a library's message into one line of limited length, without control characters."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
