"""Find the files of a source: one, those of a folder or a pattern, a pipe, standard input.

What cannot be found or read is refused in one line before any work is done.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Literal

from seqae.data.builtin import BUILTIN_CORPORA, builtin_names
from seqae.data.sources.records import Format
from seqae.data.sources.walking import (
    COMPRESSED_SUFFIXES,
    PATTERN,
    LeftOut,
    files_below,
    matching,
    quote,
    suffix_of,
)
from seqae.remote.url import is_url, name_of
from seqae.terminal import visible

STANDARD_INPUT = "standard input"
ARCHIVES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".zip", ".7z", ".rar", ".lz4", ".z")

SUFFIXES: dict[Format, tuple[str, ...]] = {
    "text": (".txt",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather"),
}


@dataclass(frozen=True)
class SourceFile:
    """One thing to read.

    Attributes:
        kind: of the thing.
        name: its path or address, or the name of the built-in corpus.
        stamp: (size, mtime_ns) of a regular file, (size, tag) of a remote one; else None.
        title: the name that people know it by, if it is another one.
    """

    kind: Literal["regular", "pipe", "stdin", "builtin", "remote"]
    name: str
    stamp: tuple[int, int | str] | None = None
    title: str | None = None

    @property
    def shown(self) -> str:
        """The name to show to people."""
        return self.title or self.name

    @property
    def compression(self) -> str:
        """The suffix that says how it is compressed, or an empty text."""
        suffix = os.path.splitext(self._named)[1].lower()
        has_suffix = self.kind in ("regular", "pipe", "remote")
        return suffix if suffix in COMPRESSED_SUFFIXES and has_suffix else ""

    @property
    def is_compressed(self) -> bool:
        """Whether reading decompresses it, so that its bytes can be reached only in order."""
        return self.kind == "builtin" or bool(self.compression)

    @property
    def format(self) -> Format:
        """The format that its name tells, or else text."""
        if self.kind in ("regular", "pipe", "remote"):
            suffix = suffix_of(self._named)
            for known, suffixes in SUFFIXES.items():
                if suffix in suffixes:
                    return known
        return "text"

    @property
    def _named(self) -> str:
        """The name that has the suffix: without the query of an address."""
        return name_of(self.name) if self.kind == "remote" else self.name


@dataclass
class FoundFiles:
    """The files of a source.

    Attributes:
        files: in the order of reading.
        left_out: files that are not read, if the source is a folder; None if it is not.
    """

    files: list[SourceFile]
    left_out: LeftOut | None = None


def find_files(source: str, key: str, wanted: Format = "auto") -> FoundFiles:
    """List the files of a source in the order of reading, and what is left out of a folder.

    Args:
        source: a file, a folder or a pattern, here or elsewhere; `-`, or the name of a built-in
            corpus.
        key: the configuration key that holds it, for error messages.
        wanted: the format, which decides which files of a folder to read.

    Raises:
        ValueError: if a file is an archive.
        FileNotFoundError: if there is no such source, or a pattern fits nothing.
        PermissionError: if a file may not be read.
    """
    if source == "-":
        return FoundFiles([SourceFile("stdin", STANDARD_INPUT)])
    if source in BUILTIN_CORPORA:
        return FoundFiles([SourceFile("builtin", source)])
    if is_url(source):
        from seqae.data.sources.remote_files import find_remote_files

        return find_remote_files(source, key, _folder_suffixes(wanted))
    path = os.path.expanduser(source)
    left_out = None
    try:
        if is_pattern := bool(PATTERN.search(path)) and not os.path.lexists(path):
            paths = sorted(set(matching(path)))
        elif stat.S_ISDIR(os.stat(path).st_mode):
            left_out = LeftOut(path)
            paths = sorted(files_below(path, _folder_suffixes(wanted), left_out))
        else:
            paths = [path]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        shown = isinstance(error, OSError) and error.filename or source
        raise refusal(key, shown, error) from None
    if is_pattern and not paths:
        raise FileNotFoundError(
            f"`{key}` must be a pattern that fits a file, but none fits {quote(source)}. Check it, "
            f"or name one file."
        )
    return FoundFiles([_inspect(path, key) for path in paths], left_out)


def refuse_folder(left_out: LeftOut, key: str, wanted: Format) -> FileNotFoundError:
    """Make the error that says that there is nothing to read in a folder, and what there is.

    Args:
        left_out: the files of the folder.
        key: the configuration key that holds it.
        wanted: the format.
    """
    suffixes = ", ".join(_folder_suffixes(wanted))
    there = f", only {left_out}" if left_out.kinds else ""
    return FileNotFoundError(
        f"`{key}` must be a folder with {suffixes} files, but there is none in or below "
        f"{quote(left_out.folder)}{there}. Check it, or give a pattern such as "
        f"{quote(os.path.join(left_out.folder, '*'))}, which reads other files as text."
    )


def _folder_suffixes(wanted: Format) -> tuple[str, ...]:
    if wanted != "auto":
        return SUFFIXES[wanted]
    return tuple(suffix for some in SUFFIXES.values() for suffix in some)


def _inspect(path: str, key: str) -> SourceFile:
    """Find out what a path is; refuse what cannot be read."""
    refuse_archive(path, key)
    try:
        status = os.stat(path)
    except OSError as error:
        raise refusal(key, path, error) from None
    if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        raise ValueError(
            f"`{key}` must be a file, but {quote(path)} is a device, which may never end. Name a "
            f"file, or `-` for standard input."
        )
    if not stat.S_ISREG(status.st_mode):
        return SourceFile("pipe", path)
    if not os.access(path, os.R_OK):
        raise refusal(key, path, PermissionError())
    return SourceFile("regular", path, stamp_of(status))


def refuse_archive(path: str, key: str) -> None:
    """Refuse a file of many files, by its name.

    Raises:
        ValueError: if it is one.
    """
    if suffix_of(path) in ARCHIVES:
        raise ValueError(
            f"`{key}` must be a file that is not compressed, or only as .gz, .bz2, .xz or .zst, "
            f"but {quote(path)} is an archive of another kind. Unpack it first."
        )


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Return what changes when the file changes: its size and mtime_ns."""
    return status.st_size, status.st_mtime_ns


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


def for_people(source: str) -> str:
    """Return how to speak of a source: the name of sentences in memory is a hash."""
    is_in_memory = source.startswith("memory:") and not is_url(source)
    return "the sentences given" if is_in_memory else visible(source)


def without_path(source: str) -> str:
    """Return a source's name without the path of a file, for what others read."""
    if is_url(source):
        return name_of(source)
    return source if source.startswith(("hf:", "nltk:", "memory:")) else os.path.basename(source)
