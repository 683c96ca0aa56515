"""CSV and TSV: a row is a record, and the first row names the columns.

A CSV has fields in quotes. A TSV is plain text between tabs, as the field writes it: a quote there
is a character of the sentence, so a line is a row whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, final

from typing_extensions import override

from seqae.data.sources.formats.csv_rows import Dialect, Row, RowReader, field_size_limit
from seqae.data.sources.formats.lines import newlines_only
from seqae.data.sources.formats.reader import Reader
from seqae.data.sources.records import (
    BLANK,
    MALFORMED,
    NOT_UTF8,
    TOO_LONG,
    TYPED_TAB,
    Block,
    Counts,
    Position,
)
from seqae.data.sources.walking import quote

OTHER_DELIMITERS = (";", "\t", "|", ",")  # to suggest, if one of them would give the column


class DelimitedReader(Reader):
    """Reads one record a row, in the dialect of the options.

    The number of a record is that of its first line. A line with a NUL is malformed, as it was for
    `csv` before Python 3.11.
    """

    default: ClassVar[Dialect]

    @property
    def dialect(self) -> Dialect:
        """How a row is written."""
        options, default = self.options, self.default
        has_quotes = {"auto": default.has_quotes, "minimal": True, "none": False}
        delimiter = "\t" if options.delimiter == TYPED_TAB else options.delimiter
        return Dialect(delimiter or default.delimiter, has_quotes[options.quoting], options.escape)

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
    """Reads fields with commas between them, some of them in quotes."""

    default = Dialect(",")


@final
class TsvReader(DelimitedReader):
    """Reads fields with tabs between them, in which a quote is text."""

    default = Dialect("\t", has_quotes=False)


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
        self.reader, self.dialect = reader, reader.dialect
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
        row_reader = RowReader(lines, self.dialect, limit, is_last)
        with field_size_limit(limit):
            if self.header is None:
                self.header = self._find_header(row_reader, counts)
            # One by one: a list of all rows would double the time, in Python's garbage collector.
            rows = row_reader.read(self.header.width) if self.header else ()
            columns, numbers = self._choose(rows, lines, wrong, counts)
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
                line = row_reader.lines[row.begin]
                quoted = (some for some in OTHER_DELIMITERS if f'"{some}"' in line)
                raise self._no_header(f"a line that {row.fault}", next(quoted, None))
            if row.fields:
                return self._check_header([name.strip() for name in row.fields])
            counts.read += 1
            counts.dropped[BLANK] += 1
        return None

    def _no_header(self, what: str, delimiter: str | None = None) -> ValueError:
        advice = "Mend it." if delimiter is None else self._suggest_delimiter(delimiter)
        return ValueError(
            f"`{self.reader.keys.source}` must begin with a row of column names, but "
            f"{quote(self.reader.file.shown)} begins with {what} instead. {advice}"
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
                raise self.reader.refuse_column(column, names, self._suggestion(column, names))
        return Header(len(names), [names.index(column) for column in self.reader.columns])

    def _suggestion(self, column: str, names: list[str]) -> str:
        """Say how the rows seem to be written, if in another dialect; empty if in this one."""
        keys = self.reader.keys
        if column in [name.strip('"') for name in names]:
            return f"Its names are in quotes: set {keys.setting('quoting', 'minimal')}."
        header, own = self.dialect.delimiter.join(names), self.dialect.delimiter
        found = {
            other: [name.strip().strip('"') for name in header.split(other)]
            for other in OTHER_DELIMITERS
            if other != own and other in header
        }
        likely = [other for other, others in found.items() if column in others or len(names) == 1]
        if not likely:
            return ""
        best = max(likely, key=lambda other: (column in found[other], len(found[other])))
        return self._suggest_delimiter(best)

    def _suggest_delimiter(self, delimiter: str) -> str:
        shown = "a tab" if delimiter == "\t" else repr(delimiter)
        value = TYPED_TAB if delimiter == "\t" else delimiter
        way_out = self.reader.keys.setting("delimiter", f"'{value}'")
        return f"It looks as if its fields were separated by {shown}: set {way_out}."

    def _choose(
        self, rows: Iterable[Row], lines: list[str], wrong: set[int], counts: Counts
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
                advice = self._advice(lines[row.begin], row.fault)
                self.reader.drop(MALFORMED, number, fault, counts, advice)
            elif not row.fields:
                counts.dropped[BLANK] += 1
            elif self._is_usable(row, wrong, counts):
                numbers.append(number)
                for column, index in zip(columns, chosen, strict=True):
                    column.append(row.fields[index])
        return columns, numbers

    def _advice(self, line: str, fault: str) -> str:
        """Say what to do about a line that could not be read."""
        keys = self.reader.keys
        if self.dialect.has_quotes and "quote" in fault:
            return f"Mend it, set {keys.setting('quoting', 'none')} if quotes are text"
        if not self.dialect.has_quotes and '"' in line:
            return f"Mend it, set {keys.setting('quoting', 'minimal')} if fields are in quotes"
        return "Mend it"

    def _is_usable(self, row: Row, wrong: set[int], counts: Counts) -> bool:
        """Tell whether a row was UTF-8, or may be used with U+FFFD in it; count it otherwise."""
        if not wrong or wrong.isdisjoint(range(row.begin, row.end)):
            return True
        if self.reader.options.errors == "skip":
            counts.dropped[NOT_UTF8] += 1
            return False
        counts.repaired += 1
        return True
