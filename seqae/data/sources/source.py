"""From a name to a Source: what there is to read, in parts that can be read on their own."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seqae.data.builtin import BUILTIN_CORPORA
from seqae.data.sources.delimited import CsvReader, TsvReader
from seqae.data.sources.files import STANDARD_INPUT, SourceFile, find_files, quote
from seqae.data.sources.json_lines import JsonLinesReader
from seqae.data.sources.reader import Keys, Reader
from seqae.data.sources.records import Block, BlockReader, Counts, Format, Position, ReadOptions
from seqae.data.sources.text import TextReader

READER_VERSION = 2  # part of every fingerprint: raise it when the rules of a record change


def reader_of(format: Format) -> type[Reader]:
    """The class of reader for a format."""
    if format in ("parquet", "arrow"):
        from seqae.data.sources import arrow  # it takes a while to import

        return arrow.ParquetReader if format == "parquet" else arrow.ArrowReader
    return READERS[format]


READERS: dict[Format, type[Reader]] = {
    "text": TextReader,
    "jsonl": JsonLinesReader,
    "csv": CsvReader,
    "tsv": TsvReader,
}


@dataclass(frozen=True)
class Part:
    """A part of a source: all blocks of a reader, or, in turns with other parts, every n-th.

    Attributes:
        reader: what reads it.
        turns: how many parts take turns with the blocks.
        turn: which of these this one is.
    """

    reader: BlockReader
    turns: int = 1
    turn: int = 0

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the part, or go on behind the block whose `end` is `start`.

        Raises:
            ValueError: as Reader.blocks.
            OSError: as Reader.blocks.
        """
        if self.turns == 1:
            yield from self.reader.blocks(start)
            return
        count = start["block"] if start else 0
        for index, block in enumerate(self.reader.blocks(start and start["at"]), start=count):
            if index % self.turns == self.turn:
                yield replace(block, end={"at": block.end, "block": index + 1})


class Source(ABC):
    """Something to read, named by the user; opened by `open_source`.

    Args:
        name: as the user named it.
        options: how it is read.
        keys: what error messages name.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        options.check(keys.section)
        self.name, self.options, self.keys = name, options, keys

    @property
    @abstractmethod
    def can_reread(self) -> bool:
        """Whether a second pass is possible: not so for standard input and pipes."""

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """A key for a cache of what this source gives, or None where it can be read only once."""

    @property
    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What a run's record says of it, as plain data: the revision of a data set, say."""

    @property
    def size(self) -> int | None:
        """Bytes in all, in the unit of the blocks' `weight`; None where it is not known."""
        return None

    @abstractmethod
    def parts(self, wanted: int = 1) -> list[Part]:
        """Cut the source into parts; together they give each record once.

        Args:
            wanted: parts that can be read at the same time. There are at least as many, unless the
                source can be read only once; a part may be empty. For 1, the parts are its files,
                in the order of reading.
        """

    def blocks(self) -> Iterator[Block]:
        """Read all of it, in order.

        Raises:
            ValueError: if a record cannot be read and `errors` is strict, or none is kept.
            OSError: if a file has gone or cannot be read.
        """
        counts = Counts()
        for part in self.parts():
            for block in part.blocks():
                counts.add(block.counts)
                yield block
        self.check_usable(counts)

    def texts(self) -> Iterator[str]:
        """The texts of all kept records, in order; raises as `blocks`."""
        for block in self.blocks():
            yield from block.texts

    def check_usable(self, counts: Counts) -> None:
        """Refuse a source of which nothing was kept.

        Raises:
            ValueError: naming why each record was dropped.
        """
        if not counts.kept:
            shown = STANDARD_INPUT if self.name == "-" else quote(self.name)
            raise ValueError(
                f"`{self.keys.source}` must hold text, but there are no usable sentences in "
                f"{shown}: {counts}. Give at least one record that is not blank and not too long."
            )


class FileSource(Source):
    """Files: one, those of a folder or a pattern, standard input, a pipe, a built-in corpus.

    What cannot be found or read is refused here, before anything is done.

    Raises:
        ValueError: if an option is out of range or a file is an archive.
        FileNotFoundError: if there is no such source, or nothing to read in the folder.
        PermissionError: if the source may not be read.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        super().__init__(name, options, keys)
        place, column = split_column(name)
        if column is not None:
            self.options = options = replace(options, column=column)
        files = find_files(place, keys.source, options.format)
        self.readers = [self._reader_of(file, options, column is not None) for file in files]

    def _reader_of(self, file: SourceFile, options: ReadOptions, has_column: bool) -> Reader:
        """Make the reader of a file, and refuse columns of what has none."""
        is_named = options.format == "auto" or file.kind == "builtin"
        format = file.format if is_named else options.format
        reader = reader_of(format)(file, options, self.keys)
        if format == "text" and (has_column or options.target_column is not None):
            which = "its column" if has_column else f"`{self.keys.section}target_column`"
            raise ValueError(
                f"`{self.keys.source}` must have columns where {which} is given, but "
                f"{quote(file.shown)} is read as text, which has none. Use JSON lines, CSV or "
                f"Parquet, or set `{self.keys.section}format` if it is one of these."
            )
        return reader

    @property
    def can_reread(self) -> bool:  # noqa: D102
        return all(reader.file.kind in ("regular", "builtin") for reader in self.readers)

    @property
    def fingerprint(self) -> str | None:
        """It changes with the path, size or time of change of any file, and with the options.

        Of a built-in corpus, with its content.
        """
        if not self.can_reread:
            return None
        files = [
            [f"builtin:{file.name}", BUILTIN_CORPORA[file.name].sha256]
            if file.kind == "builtin"
            else [os.path.abspath(file.name), file.stamp]
            for file in (reader.file for reader in self.readers)
        ]
        told = json.dumps([READER_VERSION, vars(self.options), files])
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def record(self) -> dict[str, Any]:  # noqa: D102
        return {"files": len(self.readers)}

    @property
    def size(self) -> int | None:  # noqa: D102
        stamps = [None if reader.file.is_packed else reader.file.stamp for reader in self.readers]
        return None if None in stamps else sum(stamp[0] for stamp in stamps if stamp)

    def parts(self, wanted: int = 1) -> list[Part]:  # noqa: D102
        if wanted <= len(self.readers) or not self.can_reread:
            return [Part(reader) for reader in self.readers]
        each = -(-wanted // len(self.readers))
        parts: list[Part] = []
        for reader in self.readers:
            if len(spans := reader.spans(each)) == each:
                parts += [Part(replace(reader, span=span)) for span in spans]
            else:
                parts += [Part(reader, each, turn) for turn in range(each)]
        return parts


def split_column(name: str) -> tuple[str, str | None]:
    """Split `FILE#COLUMN`, unless a file of the whole name exists."""
    place, mark, column = name.rpartition("#")
    if not mark or os.path.lexists(os.path.expanduser(name)):
        return name, None
    return place, column


def open_source(
    name: str,
    key: str,
    options: ReadOptions | None = None,
    section: str = "",
    revision: str | None = None,
) -> Source:
    """Find what the user means.

    A bare word that names a built-in corpus means that corpus; a file of the same name is written
    with its folder or suffix (`./hsk`, `hsk.txt`). `-` is standard input.

    Args:
        name: a file, a folder, a pattern (`*.txt`), `-`, the name of a built-in corpus,
            `hf:OWNER/NAME` or `nltk:CORPUS`; a file, folder or pattern may name its column,
            `FILE#COLUMN`.
        key: the configuration key that holds `name`; error messages begin with it.
        options: how it is read.
        section: what the keys of the options begin with in the configuration.
        revision: commit of a data set of the hub, whatever its name says; others have none.

    Raises:
        ValueError: if an option is out of range or a file is an archive.
        FileNotFoundError: if there is no such source, or nothing to read in the folder.
        PermissionError: if the source may not be read.
    """
    options, keys = options or ReadOptions(), Keys(key, section)
    if name.startswith("hf:"):
        from seqae.data.sources.hub import HubSource  # datasets takes a second to import

        return HubSource(name, options, keys, revision)
    if name.startswith("nltk:"):
        from seqae.data.sources.nltk_corpora import NltkSource

        return NltkSource(name, options, keys)
    return FileSource(name, options, keys)
