"""Copy what can be read only once (standard input, a pipe) to files that can be read again."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

from seqae.data.sources.base import READER_VERSION, Source
from seqae.data.sources.discovery import SourceFile, find_files, refusal
from seqae.data.sources.file_source import FileSource

COPIED_BYTES = 1 << 20  # at a time


def spool(source: Source, folder: Path) -> Source:
    """Give a source that can be read any number of times.

    Args:
        source: it is given back as it is where it can be read again.
        folder: where copies are written.

    Raises:
        OSError: if it cannot be copied.
    """
    if source.can_reread or not isinstance(source, FileSource):
        return source
    return SpooledSource(source, folder)


class SpooledSource(FileSource):
    """A source whose pipes were copied.

    Args:
        source: it is read here.
        folder: where the copies are written.
    """

    def __init__(self, source: FileSource, folder: Path) -> None:
        self.name, self.options, self.keys = source.name, source.options, source.keys
        self.readers = [
            replace(reader, file=_copy(reader.file, folder, source.keys.source))
            if reader.file.kind in ("pipe", "stdin")
            else reader
            for reader in source.readers
        ]

    @property
    def fingerprint(self) -> str:
        """It changes with what came through the pipes; where the copies lie says nothing."""
        files = [
            Path(reader.file.name).name
            if reader.file.title
            else [reader.file.name, reader.file.stamp]
            for reader in self.readers
        ]
        told = json.dumps([READER_VERSION, vars(self.options), files])
        return hashlib.sha256(told.encode()).hexdigest()


def _copy(file: SourceFile, folder: Path, key: str) -> SourceFile:
    """Copy to a file that is named by what it holds, and shown by its old name."""
    digest = hashlib.sha256()
    unfinished = folder / "unfinished"
    with ExitStack() as stack, unfinished.open("wb") as copy:
        if file.kind == "stdin":
            if sys.stdin is None:  # so it is where it was closed
                raise refusal(key, file.shown, FileNotFoundError())
            pipe: IO[bytes] = sys.stdin.buffer
        else:
            pipe = stack.enter_context(Path(file.name).open("rb"))
        while data := pipe.read(COPIED_BYTES):
            digest.update(data)
            copy.write(data)
    suffixes = "" if file.kind == "stdin" else "".join(Path(file.name).suffixes)
    named = folder / f"{digest.hexdigest()}{suffixes}"
    unfinished.rename(named)
    return replace(find_files(str(named), key)[0], title=file.name)
