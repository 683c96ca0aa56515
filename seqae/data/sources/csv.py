"""CSV and TSV: a row is a record, and the first row names the columns.

Python's `csv` reads them, strictly. It cannot recover from a stray quote, which opens a field that
swallows the rest of the file. Here, a row that cannot be read loses its first line only, and
reading starts again after that line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

from typing_extensions import override

from seqae.data.sources.discovery import quote
from seqae.data.sources.lines import newlines_only
from seqae.data.sources.reader import Reader
from seqae.data.sources.records import BLANK, MALFORMED, NOT_UTF8, TOO_LONG, Block, Counts, Position


class DelimitedReader(Reader):
    """Reads one record a row. A quoted field may hold delimiters, line ends and doubled quotes.

    The number of a record is that of its first line. A line with a NUL is malformed, as it was for
    `csv` before Python 3.11.
    """

    delimiter: ClassVar[str]

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        parser = CsvParser(self, start)
        begin = end = start["offset"] if start else 0
        buffer, enough = b"", 0
        with ExitStack() as stack:
            for chunk, at, end in self.chunks(stack, begin if start else None):
                if chunk is None:
                    yield from parser.parse(buffer, begin, at, is_last=True)
                    yield parser.drop_long_line(end)
                    buffer, enough = b"", 0
                    continue
                begin = begin if buffer else at
                buffer += chunk
                if len(buffer) < enough:
                    continue
                yield from parser.parse(buffer, begin, end, is_last=False)
                buffer, begin = buffer[parser.used :], begin + parser.used
                enough = self._enough(len(buffer))
            yield from parser.parse(buffer, begin, end, is_last=True)

    def _enough(self, size: int) -> int:
        """Return how many bytes to gather before parsing, when `size` bytes are not a row yet.

        A long row is parsed again from its beginning, with twice as many bytes each time. The
        result does not depend on where reading began, so the blocks do not, either.
        """
        return self.block_bytes << (size // self.block_bytes).bit_length() if size else 0


@final
class CsvReader(DelimitedReader):
    """Reads fields with commas between them."""

    delimiter = ","


@final
class TsvReader(DelimitedReader):
    """Reads fields with tabs between them, and quotes as in CSV."""

    delimiter = "\t"


@dataclass(frozen=True)
class Header:
    """Layout of the rows.

    Attributes:
        width: fields of a row.
        chosen: indices of the fields to read.
    """

    width: int
    chosen: list[int]


class CsvParser:
    """Parses a file buffer by buffer.

    Args:
        reader: of the file.
        start: where to begin.

    Attributes:
        used: bytes of the last buffer before a row that does not end in it.
    """

    def __init__(self, reader: DelimitedReader, start: Position | None) -> None:
        self.reader = reader
        self.line: int = start["line"] if start else 0
        self.offset: int = start["offset"] if start else 0
        self.header: Header | None = None
        if start and "width" in start:  # it is not if only blank lines came before
            self.header = Header(start["width"], start["chosen"])
        self.used = 0

    def parse(self, buffer: bytes, begin: int, end: int, is_last: bool) -> Iterator[Block]:
        """Yield the rows of a buffer as a block, if there are any.

        Args:
            buffer: whole lines; a row begins with the first.
            begin: offset of the buffer in the file.
            end: offset of its end.
            is_last: whether a row must end with the buffer.
        """
        counts = Counts()
        lines, wrong = self._decode(buffer, counts)
        limit = self.reader.options.max_line_bytes
        row_reader = RowReader(lines, self.reader.delimiter, limit, is_last)
        with _field_size_limit(limit):
            if self.header is None:
                self.header = self._find_header(row_reader, counts)
            rows = list(row_reader.read(self.header.width)) if self.header else []
        columns, numbers = self._choose(rows, wrong, counts)
        self.line += row_reader.at
        self.used = len(buffer)
        if row_reader.at < len(lines):
            self.used = sum(map(len, buffer.splitlines(keepends=True)[: row_reader.at]))
        if counts.read:
            yield self._block(columns, numbers, counts, min(end, begin + self.used)).stripped()

    def drop_long_line(self, end: int) -> Block:
        """Return the block of a single line over the cap, which ends at byte `end`."""
        if self.header is None:
            raise self._no_header("a line of more than `max_line_bytes`")
        self.line += 1
        counts = Counts(read=1)
        counts.dropped[TOO_LONG] += 1
        return self._block([[] for _ in self.header.chosen], [], counts, end)

    def _block(
        self, columns: list[list[str]], numbers: list[int], counts: Counts, offset: int
    ) -> Block:
        weight, self.offset = offset - self.offset, offset
        end: Position = {"line": self.line, "offset": offset}
        if self.header:
            end = {**end, "width": self.header.width, "chosen": self.header.chosen}
        block = Block(self.reader.shown, [], [], counts, end, weight=weight)
        return block.with_columns(columns, numbers)

    def _decode(self, buffer: bytes, counts: Counts) -> tuple[list[str], set[int]]:
        """Decode lines; return them, and the indices of those that were not UTF-8."""
        buffer = newlines_only(buffer)
        try:
            return [line + "\n" for line in buffer.decode("utf-8").split("\n")[:-1]], set()
        except UnicodeDecodeError:
            pass
        lines, wrong = [], set()
        for index, raw in enumerate(buffer.split(b"\n")[:-1]):
            text = raw.decode("utf-8", "replace")
            if text.encode("utf-8") != raw:
                wrong.add(index)
                if self.reader.options.errors == "strict":
                    self.reader.decode(raw, self.line + index + 1, counts)  # raises the error
            lines.append(text + "\n")
        return lines, wrong

    def _find_header(self, row_reader: RowReader, counts: Counts) -> Header | None:
        """Take the first row that is not blank, unless its end has not been read yet."""
        for row in row_reader.read(None):
            if row.fields is None:
                raise self._no_header(f"a line that {row.fault}")
            if row.fields:
                return self._check_header([name.strip() for name in row.fields])
            counts.read += 1
            counts.dropped[BLANK] += 1
        return None

    def _no_header(self, what: str) -> ValueError:
        return ValueError(
            f"`{self.reader.keys.source}` must begin with a row of column names, but "
            f"{quote(self.reader.file.shown)} begins with {what} instead. Mend it."
        )

    def _check_header(self, names: list[str]) -> Header:
        for column in self.reader.columns:
            if names.count(column) > 1:
                raise ValueError(
                    f"`{self.reader.keys.source}` must have columns of different names, but "
                    f"{quote(self.reader.file.shown)} has {names.count(column)} of the name "
                    f"{quote(column)} instead. Rename one."
                )
            if column not in names:
                raise self.reader.refuse_column(column, names)
        return Header(len(names), [names.index(column) for column in self.reader.columns])

    def _choose(
        self, rows: list[Row], wrong: set[int], counts: Counts
    ) -> tuple[list[list[str]], list[int]]:
        """Return the columns of the usable rows, and their numbers; count all rows."""
        chosen = self.header.chosen if self.header else [0 for _ in self.reader.columns]
        columns: list[list[str]] = [[] for _ in chosen]
        numbers = []
        for row in rows:
            counts.read += 1
            number = self.line + row.begin + 1
            if row.fields is None:
                fault = f"rows like its header, but there is a line that {row.fault}"
                self.reader.drop(MALFORMED, number, fault, counts)
            elif not row.fields:
                counts.dropped[BLANK] += 1
            elif self._is_usable(row, wrong, counts):
                numbers.append(number)
                for column, index in zip(columns, chosen, strict=True):
                    column.append(row.fields[index])
        return columns, numbers

    def _is_usable(self, row: Row, wrong: set[int], counts: Counts) -> bool:
        """Tell whether a row was UTF-8, or may be used with U+FFFD in it; count it otherwise."""
        if not wrong or wrong.isdisjoint(range(row.begin, row.end)):
            return True
        if self.reader.options.errors == "skip":
            counts.dropped[NOT_UTF8] += 1
            return False
        counts.repaired += 1
        return True


class Row(NamedTuple):
    """A row, or a line that could not be read as one.

    Attributes:
        begin: index of its first line.
        end: index of the line after it.
        fields: of the row, empty for a blank line; None if it could not be read.
        fault: what is wrong with the line.
    """

    begin: int
    end: int
    fields: list[str] | None
    fault: str = ""


class RowReader:
    r"""Reads rows from lines.

    Args:
        lines: each ends with \n.
        delimiter: between fields.
        limit: most bytes of a row.
        is_last: whether a row must end with the last line.

    Attributes:
        at: index of the line where the next row begins.
    """

    def __init__(self, lines: list[str], delimiter: str, limit: int, is_last: bool) -> None:
        self.lines, self.delimiter, self.limit, self.is_last = lines, delimiter, limit, is_last
        self.at = 0
        self.is_exhausted = False

    def read(self, width: int | None) -> Iterator[Row]:
        """Yield one row after the other.

        Args:
            width: fields of a row; None allows any number.
        """
        while self.at < len(self.lines):
            rows = csv.reader(self._feed(width), delimiter=self.delimiter, strict=True)
            begin = self.at
            try:
                for fields in rows:
                    if width is not None and len(fields) != width and fields:
                        raise csv.Error(f"has {len(fields):,} fields and not {width:,}")
                    row = Row(self.at, begin + rows.line_num, fields)
                    self.at = row.end
                    yield row
            except csv.Error as error:
                if self.is_exhausted and not self.is_last:
                    return
                self.at += 1
                yield Row(self.at - 1, self.at, None, _describe(error))

    def _feed(self, width: int | None) -> Iterator[str]:
        """Yield lines to `csv`, but stop a row that does not end."""
        begin = self.at
        size = fields = 0
        for index in range(self.at, len(self.lines)):
            line = self.lines[index]
            if "\0" in line:
                raise csv.Error("has a NUL")
            if self.at != begin:
                begin, size, fields = self.at, 0, 0
            size += len(line) if line.isascii() else len(line.encode())
            if index > begin and size > self.limit:
                raise csv.Error(f"opens a quote that is not closed within {self.limit:,} bytes")
            yield line
            if index > begin and width is not None and self.at == begin:
                # The line ended within quotes again, or `csv` would have yielded a row.
                fields += '"' in line.replace('""', "")
                if fields >= width:
                    raise csv.Error(f"has more than {width:,} fields")
        self.is_exhausted = True


def _describe(error: csv.Error) -> str:
    """Say what is wrong with a line, to complete "a line that ..."."""
    message = str(error)
    if message == "unexpected end of data":
        return "opens a quote that is not closed"
    if "expected after" in message:
        return "has text after a closing quote"
    return message if message.startswith(("has", "opens")) else f"cannot be read ({message})"


@contextmanager
def _field_size_limit(limit: int) -> Iterator[None]:
    """Let `csv` read fields of a size; it has one limit for the whole process."""
    before = csv.field_size_limit(max(limit, csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)
