"""Copy sources that can be read only once (standard input, a pipe) to files."""

from __future__ import annotations

import hashlib
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

from seqae.data.sources.base import Source
from seqae.data.sources.discovery import SourceFile, find_files, refusal
from seqae.data.sources.file_source import FileSource

COPY_BYTES = 1 << 20  # copied at a time


def spool(source: Source, folder: Path) -> Source:
    """Return a source that can be read any number of times.

    Args:
        source: returned as it is if it can be read again.
        folder: for the copies.

    Raises:
        OSError: if it cannot be copied.
    """
    if source.can_reread or not isinstance(source, FileSource):
        return source
    return SpooledSource(source, folder)


class SpooledSource(FileSource):
    """Copies the pipes of a source, and reads the copies.

    Args:
        source: its pipes are read here.
        folder: for the copies.
    """

    def __init__(self, source: FileSource, folder: Path) -> None:
        self.name, self.options, self.keys = source.name, source.options, source.keys
        self._left_out = source._left_out
        self.readers = [
            replace(reader, file=_copy(reader.file, folder, source.keys.source))
            if reader.file.kind in ("pipe", "stdin")
            else reader
            for reader in source.readers
        ]

    @property
    def fingerprint(self) -> str:
        """Changes with what came through the pipes, but not with the location of the copies."""
        files = [
            Path(reader.file.name).name
            if reader.file.title
            else [reader.file.name, reader.file.stamp]
            for reader in self.readers
        ]
        return self.hash_of(files)


def _copy(file: SourceFile, folder: Path, key: str) -> SourceFile:
    """Copy a pipe to a file named by the hash of its content; messages show the old name."""
    digest = hashlib.sha256()
    unfinished = folder / "unfinished"
    with ExitStack() as stack, unfinished.open("wb") as copy:
        if file.kind == "stdin":
            if sys.stdin is None:  # it was closed
                raise refusal(key, file.shown, FileNotFoundError())
            pipe: IO[bytes] = sys.stdin.buffer
        else:
            pipe = stack.enter_context(Path(file.name).open("rb"))
        while data := pipe.read(COPY_BYTES):
            digest.update(data)
            copy.write(data)
    suffixes = "" if file.kind == "stdin" else "".join(Path(file.name).suffixes)
    path = folder / f"{digest.hexdigest()}{suffixes}"
    unfinished.rename(path)
    return replace(find_files(str(path), key).files[0], title=file.name)
