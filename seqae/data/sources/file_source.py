"""FileSource: files of any format, found by a name, a folder or a pattern."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from typing_extensions import override

from seqae.data.builtin import BUILTIN_CORPORA
from seqae.data.sources.base import Source, SourcePart
from seqae.data.sources.discovery import SourceFile, find_files, refuse_folder
from seqae.data.sources.formats.csv import CsvReader, DelimitedReader, TsvReader
from seqae.data.sources.formats.jsonl import JsonLinesReader, holds_records
from seqae.data.sources.formats.plain_text import TextReader
from seqae.data.sources.formats.reader import Keys, Reader
from seqae.data.sources.records import WITHOUT_COLUMNS, Format, ReadOptions
from seqae.data.sources.walking import quote, suffix_of


def reader_of(format: Format) -> type[Reader]:
    """Return the class that reads a format."""
    if format in ("parquet", "arrow"):
        from seqae.data.sources.formats import arrow

        return arrow.ParquetReader if format == "parquet" else arrow.ArrowReader
    return READERS[format]


READERS: dict[Format, type[Reader]] = {
    "text": TextReader,
    "jsonl": JsonLinesReader,
    "csv": CsvReader,
    "tsv": TsvReader,
}


class FileSource(Source):
    """Reads a file, the files of a folder or a pattern, standard input, a pipe, a built-in corpus.

    It refuses what cannot be found or read before any work is done.

    Raises:
        ValueError: if an option is out of range or a file is an archive.
        FileNotFoundError: if there is no such source, or nothing to read in the folder.
        PermissionError: if the source may not be read.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        super().__init__(name, options, keys)
        path, column = split_column(name)
        if column is not None:
            self.options = options = replace(options, column=column)
        found = find_files(path, keys.source, options.format)
        self._left_out = found.left_out
        self.readers = [
            reader
            for file in found.files
            if self._is_data(reader := self._reader_of(file, options, column is not None))
        ]
        if self._left_out is not None and not self.readers:
            raise refuse_folder(self._left_out, keys.source, options.format)

    def _is_data(self, reader: Reader) -> bool:
        """Tell whether a file of a folder is to be read; count it if not."""
        is_doubtful = suffix_of(reader.file.name) == ".json"
        if self._left_out is None or not is_doubtful or holds_records(reader):
            return True
        self._left_out.add(reader.file.name, ".json without records")
        return False

    def _reader_of(self, file: SourceFile, options: ReadOptions, has_column: bool) -> Reader:
        """Make the reader of a file; refuse a column of a file that has none."""
        is_named = options.format == "auto" or file.kind == "builtin"
        format = file.format if is_named else options.format
        reader = reader_of(format)(file, options, self.keys)
        if format in WITHOUT_COLUMNS and (has_column or options.target_column is not None):
            which = "its column" if has_column else f"`{self.keys.section}target_column`"
            raise ValueError(
                f"`{self.keys.source}` must have columns where {which} is given, but "
                f"{quote(file.shown)} is read as {format}, which has none. Use JSON lines, CSV or "
                f"Parquet, or set `{self.keys.section}format` if it is one of these."
            )
        return reader

    @override
    @property
    def can_reread(self) -> bool:
        kinds = ("regular", "builtin", "remote")
        return all(reader.file.kind in kinds for reader in self.readers)

    @property
    def fingerprint(self) -> str | None:
        """Changes with the path, size or modification time of any file, and with the options.

        Of a file of a store, its tag stands for the time.

        For a built-in corpus it changes with the content.
        """
        if not self.can_reread:
            return None
        files = [
            [f"builtin:{file.name}", BUILTIN_CORPORA[file.name].sha256]
            if file.kind == "builtin"
            else [file.name if file.kind == "remote" else os.path.abspath(file.name), file.stamp]
            for file in (reader.file for reader in self.readers)
        ]
        return self.hash_of(files)

    @override
    @property
    def record(self) -> dict[str, Any]:
        return {"files": len(self.readers)}

    @override
    @property
    def left_out(self) -> dict[str, dict[str, Any]]:
        return {} if self._left_out is None else self._left_out.kinds

    @override
    @property
    def is_delimited(self) -> bool:
        return any(isinstance(reader, DelimitedReader) for reader in self.readers)

    @override
    @property
    def size(self) -> int | None:
        stamps = [
            None if reader.file.is_compressed else reader.file.stamp for reader in self.readers
        ]
        return None if None in stamps else sum(stamp[0] for stamp in stamps if stamp)

    @override
    def parts(self, wanted: int = 1) -> list[SourcePart]:
        if wanted <= len(self.readers) or not self.can_reread:
            return [SourcePart(reader) for reader in self.readers]
        each = -(-wanted // len(self.readers))
        parts: list[SourcePart] = []
        for reader in self.readers:
            if len(spans := reader.spans(each)) == each:
                parts += [SourcePart(replace(reader, span=span)) for span in spans]
            else:
                parts += [SourcePart(reader, each, offset) for offset in range(each)]
        return parts


def split_column(name: str) -> tuple[str, str | None]:
    """Split `FILE#COLUMN`, unless a file of this machine has the whole name."""
    path, mark, column = name.rpartition("#")
    if not mark or os.path.lexists(os.path.expanduser(name)):
        return name, None
    return path, column
