"""Finding and opening the files of a source: folders, pipes, standard input, packed files.

What cannot be found or read is refused in one line before anything is done; what turns out to be
damaged, to change or to be a decompression bomb is refused while it is read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, cast

from seqae.data.builtin import BUILTIN_CORPORA, builtin_names, open_builtin

BOMB_FLOOR = 1 << 26  # 64 MiB: below it, no ratio of packed to unpacked is a danger
STANDARD_INPUT = "standard input"
ARCHIVES = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip", ".7z", ".rar", ".zst", ".lz4")


@dataclass(frozen=True)
class SourceFile:
    """One thing to read: `stamp` is (size, mtime_ns) of a regular file, None for the others."""

    kind: Literal["regular", "pipe", "stdin", "builtin"]
    name: str
    stamp: tuple[int, int] | None = None


def find_files(source: str, key: str) -> list[SourceFile]:
    """List what a source consists of, in the order of reading.

    Args:
        source: a file, a folder, `-`, or the name of a built-in corpus.
        key: the configuration key that holds it, for the error message.

    Raises:
        ValueError: if it is an archive.
        FileNotFoundError: if there is no such source, or no .txt file in the folder.
        PermissionError: if it may not be read.
    """
    if source == "-":
        return [SourceFile("stdin", STANDARD_INPUT)]
    if source in BUILTIN_CORPORA:
        return [SourceFile("builtin", source)]
    path = os.path.expanduser(source)
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        paths = sorted(_text_files_below(path)) if is_folder else [path]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        shown = isinstance(error, OSError) and error.filename or source
        raise _refusal(key, shown, error) from None
    if not paths:
        raise FileNotFoundError(
            f"`{key}` must be a folder of .txt files, but there is none in or below "
            f"{quote(source)}. Check the path, or name one file."
        )
    return [_look_at(path, key) for path in paths]


def _text_files_below(path: str) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

    # Links to folders are not followed: they can run in circles.
    for folder, folders, names in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(".txt") and not name.startswith("."):
                yield os.path.join(folder, name)


def _look_at(path: str, key: str) -> SourceFile:
    """Find out what a path is, and refuse what cannot be read as text."""
    if path.lower().endswith(ARCHIVES):
        raise ValueError(
            f"`{key}` must be text, or text packed as .gz, .bz2 or .xz, but {quote(path)} is an "
            f"archive of another kind. Unpack it first."
        )
    try:
        status = os.stat(path)
    except OSError as error:
        raise _refusal(key, path, error) from None
    if not stat.S_ISREG(status.st_mode):
        return SourceFile("pipe", path)
    if not os.access(path, os.R_OK):
        raise _refusal(key, path, PermissionError())
    return SourceFile("regular", path, _stamp(status))


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _unpack(raw: io.FileIO, path: str) -> io.RawIOBase | io.BufferedIOBase:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=io.BufferedReader(raw))
    if suffix == ".bz2":
        return bz2.BZ2File(io.BufferedReader(raw))
    if suffix == ".xz":
        return lzma.LZMAFile(io.BufferedReader(raw))
    return raw


def _refusal(key: str, path: str, error: OSError | ValueError) -> OSError:
    """Say in one line why a path cannot be read."""
    if isinstance(error, PermissionError):
        return PermissionError(
            f"`{key}` must be readable, but there is no permission to read {quote(path)}. "
            f"Change its mode (chmod) or read a copy."
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        return FileNotFoundError(
            f"`{key}` must be a text file, a folder of .txt files, - or one of "
            f"{', '.join(builtin_names())}, but there is no {quote(path)}. Check the path."
        )
    return OSError(
        f"`{key}` must be readable, but reading {quote(path)} failed: {error.strerror}. "
        f"Check the path and the disk."
    )


def quote(text: str) -> str:
    """Show a path in a message, in one line and not too long."""
    shown = repr(text)
    return shown if len(shown) <= 200 else f"{shown[:150]}...{shown[-47:]}"


def open_file(
    file: SourceFile, key: str, max_expansion: int, stack: ExitStack
) -> Callable[[int], bytes]:
    """Open a file and unpack it on the way.

    Args:
        file: from `find_files`.
        key: the configuration key that named it, for the error message.
        max_expansion: how many times its packed size it may unpack to; 0 lifts the limit.
        stack: closes the file.

    Returns:
        A function that reads up to so many bytes, and none at the end.

    Raises:
        ValueError: on reading, if the file is damaged, changed or unpacks too far.
        OSError: if it cannot be read.
    """
    if file.kind == "builtin":
        return stack.enter_context(open_builtin(file.name)).read
    if file.kind == "stdin":
        if sys.stdin is None:  # so it is in a process without a console
            raise _refusal(key, file.name, FileNotFoundError())
        # read1 gives what is there, so that a slow pipe is not waited for.
        return cast(io.BufferedReader, sys.stdin.buffer).read1
    try:
        raw = stack.enter_context(io.FileIO(file.name))
    except OSError as error:
        raise _refusal(key, file.name, error) from None
    unpacked = _unpack(raw, file.name)
    may_be_bomb = unpacked is not raw and file.stamp is not None and max_expansion > 0
    limit = max(BOMB_FLOOR, (file.stamp or (0, 0))[0] * max_expansion)
    given = 0

    def read(size: int) -> bytes:
        nonlocal given
        try:
            data = unpacked.read(size) or b""
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise _refusal(key, file.name, error) from None
            raise ValueError(
                f"`{key}` must be whole, but {quote(file.name)} is damaged or cut off: "
                f"{error}. Fetch or pack it again."
            ) from None
        if not data and file.stamp not in (None, _stamp(os.fstat(raw.fileno()))):
            raise ValueError(
                f"`{key}` must not change while it is in use, but {quote(file.name)} "
                f"did. Start again when it is complete."
            )
        given += len(data)
        if may_be_bomb and given > limit:
            raise ValueError(
                f"`{key}` must not unpack to more than {max_expansion:,} times its "
                f"size, but {quote(file.name)} does. Unpack it by hand if you trust it."
            )
        return data

    return read
