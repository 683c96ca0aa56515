"""CSV and TSV: a row is a record, and the first one names the columns.

Read by Python's `csv`, strictly. What it does not do by itself is to survive a stray quote, which
to it opens a field that swallows the rest of the file. Here, of a row that cannot be read only the
first line is dropped, and reading begins anew behind that.
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
    """One record a row. A field in quotes may hold delimiters, line ends and doubled quotes.

    The number of a record is that of its first line. A line with a NUL is malformed, as it was to
    `csv` before Python 3.11.
    """

    delimiter: ClassVar[str]

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        reading = Reading(self, start)
        begin = end = start["offset"] if start else 0
        chunk, enough = b"", 0
        with ExitStack() as stack:
            for data, at, end in self.chunks(stack, begin if start else None):
                if data is None:
                    yield from reading.read(chunk, begin, at, is_last=True)
                    yield reading.drop_long_line(end)
                    chunk, enough = b"", 0
                    continue
                begin = begin if chunk else at
                chunk += data
                if len(chunk) < enough:
                    continue
                yield from reading.read(chunk, begin, end, is_last=False)
                chunk, begin = chunk[reading.used :], begin + reading.used
                enough = self._enough(len(chunk))
            yield from reading.read(chunk, begin, end, is_last=True)

    def _enough(self, size: int) -> int:
        """How much to gather where so many bytes are not a row yet.

        Of a long row, twice as much each time; it is read again from its begin. It does not depend
        on where reading began, so that blocks do not either.
        """
        return self.block_bytes << (size // self.block_bytes).bit_length() if size else 0


@final
class CsvReader(DelimitedReader):
    """Fields with commas between them."""

    delimiter = ","


@final
class TsvReader(DelimitedReader):
    """Fields with tabs between them; with quotes as in CSV."""

    delimiter = "\t"


@dataclass(frozen=True)
class Header:
    """How many fields a row has, and which of them are read."""

    width: int
    chosen: list[int]


class Reading:
    """A file that is being read, chunk by chunk.

    Args:
        reader: of this file.
        start: where to begin.

    Attributes:
        used: bytes of the last chunk; behind them a row begins whose end is not in the chunk.
    """

    def __init__(self, reader: DelimitedReader, start: Position | None) -> None:
        self.reader = reader
        self.line: int = start["line"] if start else 0
        self.offset: int = start["offset"] if start else 0
        self.header: Header | None = None
        if start and "width" in start:  # not so after blank lines alone
            self.header = Header(start["width"], start["chosen"])
        self.used = 0

    def read(self, chunk: bytes, begin: int, end: int, is_last: bool) -> Iterator[Block]:
        """Give the rows of a chunk of whole lines as a block, if there are any.

        Args:
            chunk: it begins where a row does.
            begin: where it stands in the file; ...
            end: ... and where it ends.
            is_last: whether a row must end here.
        """
        counts = Counts()
        lines, wrong = self._decode(chunk, counts)
        limit = self.reader.options.max_line_bytes
        rows = Rows(lines, self.reader.delimiter, limit, is_last)
        with _field_size_limit(limit):
            if self.header is None:
                self.header = self._find_header(rows, counts)
            found = list(rows.read(self.header.width)) if self.header else []
        columns, numbers = self._choose(found, wrong, counts)
        self.line += rows.at
        self.used = len(chunk)
        if rows.at < len(lines):
            self.used = sum(map(len, chunk.splitlines(keepends=True)[: rows.at]))
        if counts.read:
            yield self._block(columns, numbers, counts, min(end, begin + self.used)).stripped()

    def drop_long_line(self, end: int) -> Block:
        """Give the block of nothing but a line over the cap, which ends at byte `end`."""
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

    def _decode(self, chunk: bytes, counts: Counts) -> tuple[list[str], set[int]]:
        """Decode lines; say which were not UTF-8, by their index."""
        chunk = newlines_only(chunk)
        try:
            return [line + "\n" for line in chunk.decode("utf-8").split("\n")[:-1]], set()
        except UnicodeDecodeError:
            pass
        lines, wrong = [], set()
        for index, raw in enumerate(chunk.split(b"\n")[:-1]):
            text = raw.decode("utf-8", "replace")
            if text.encode("utf-8") != raw:
                wrong.add(index)
                if self.reader.options.errors == "strict":
                    self.reader.decode(raw, self.line + index + 1, counts)  # says what is wrong
            lines.append(text + "\n")
        return lines, wrong

    def _find_header(self, rows: Rows, counts: Counts) -> Header | None:
        """Take the first row that is not blank, unless its end has not been read yet."""
        for row in rows.read(None):
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
        """Choose the columns of the rows that can be used, count the others."""
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
        """Whether a row was UTF-8, or is to be used with U+FFFD in it."""
        if not wrong or wrong.isdisjoint(range(row.begin, row.end)):
            return True
        if self.reader.options.errors == "skip":
            counts.dropped[NOT_UTF8] += 1
            return False
        counts.repaired += 1
        return True


class Row(NamedTuple):
    """A row, or a line of which none could be made.

    Attributes:
        begin: the index of its first line.
        end: the index of the line after it.
        fields: of the row, none if the line is blank; None if there could no row be made.
        fault: what is wrong with the line.
    """

    begin: int
    end: int
    fields: list[str] | None
    fault: str = ""


class Rows:
    r"""Reads rows from lines.

    Args:
        lines: each ends with \n.
        delimiter: stands between fields.
        limit: bytes of a row at most.
        is_last: whether a row must end with the last line.

    Attributes:
        at: the index of the line where the next row begins.
    """

    def __init__(self, lines: list[str], delimiter: str, limit: int, is_last: bool) -> None:
        self.lines, self.delimiter, self.limit, self.is_last = lines, delimiter, limit, is_last
        self.at = 0
        self.has_run_out = False

    def read(self, width: int | None) -> Iterator[Row]:
        """Give one row after the other.

        Args:
            width: fields of a row; None for any number.
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
                if self.has_run_out and not self.is_last:
                    return
                self.at += 1
                yield Row(self.at - 1, self.at, None, _tell(error))

    def _feed(self, width: int | None) -> Iterator[str]:
        """Give lines to `csv`, but not without end to a row that has no end."""
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
                # It ended within quotes again, or `csv` would have given a row.
                fields += '"' in line.replace('""', "")
                if fields >= width:
                    raise csv.Error(f"has more than {width:,} fields")
        self.has_run_out = True


def _tell(error: csv.Error) -> str:
    """Say what is wrong with a line, after "a line that"."""
    told = str(error)
    if told == "unexpected end of data":
        return "opens a quote that is not closed"
    if "expected after" in told:
        return "goes on behind a closing quote"
    return told if told.startswith(("has", "opens")) else f"cannot be read ({told})"


@contextmanager
def _field_size_limit(limit: int) -> Iterator[None]:
    """Have `csv` take fields of such a size; the limit is one for the whole process."""
    before = csv.field_size_limit(max(limit, csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)
