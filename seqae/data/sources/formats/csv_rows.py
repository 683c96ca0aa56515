"""Rows of delimited fields: from lines to rows, in a dialect, strictly.

Python's `csv` reads them. It cannot recover from a stray quote, which opens a field that swallows
the rest of the file. Here, a row that cannot be read loses its first line only, and reading starts
again after that line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Dialect:
    """How a row is written.

    Attributes:
        delimiter: between two fields.
        has_quotes: whether a field may be in quotes, and then hold delimiters, line ends and
            doubled quotes; or else a quote is text.
        escape: the character after which the next one is text; None if there is none.
    """

    delimiter: str
    has_quotes: bool = True
    escape: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether each line is a row, and each delimiter ends a field."""
        return not self.has_quotes and self.escape is None

    def read(self, lines: Iterable[str]) -> Any:
        """Read rows with a `csv.reader`."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE,
            escapechar=self.escape,
            strict=True,
        )

    @property
    def opens(self) -> str:
        """What is wrong with a line whose row does not end, to complete "a line that ..."."""
        if self.has_quotes:
            return "opens a quote that is not closed"
        return "ends with an escape"

    def has_quote(self, line: str) -> bool:
        """Tell whether a line has a quote that opens or closes a field."""
        if not self.has_quotes:
            return False
        if self.escape is not None:
            line = self._escaped.sub("", line)
        return '"' in line.replace('""', "")

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.escape or "") + ".", re.DOTALL)


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
        dialect: how a row is written.
        limit: most bytes of a row.
        is_last: whether a row must end with the last line.

    Attributes:
        at: index of the line where the next row begins.
    """

    def __init__(self, lines: list[str], dialect: Dialect, limit: int, is_last: bool) -> None:
        self.lines, self.dialect, self.limit, self.is_last = lines, dialect, limit, is_last
        self.at = 0
        self.is_exhausted = False

    def read(self, width: int | None) -> Iterator[Row]:
        """Yield one row after the other.

        Args:
            width: fields of a row; None allows any number.
        """
        if self.dialect.is_plain:
            yield from self._split(width)
            return
        while self.at < len(self.lines):
            rows = self.dialect.read(self._feed(width))
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
                yield Row(self.at - 1, self.at, None, self._describe(error))

    def _split(self, width: int | None) -> Iterator[Row]:
        """Yield rows as `read`, of a dialect in which each line is one."""
        for at in range(self.at, len(self.lines)):
            line = self.lines[at]
            self.at = at + 1
            fields = line[:-1].split(self.dialect.delimiter) if line != "\n" else []
            if "\0" in line:
                yield Row(at, at + 1, None, "has a NUL")
            elif width is not None and len(fields) != width and fields:
                yield Row(at, at + 1, None, f"has {len(fields):,} fields and not {width:,}")
            else:
                yield Row(at, at + 1, fields)

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
                raise csv.Error(f"{self.dialect.opens} within {self.limit:,} bytes")
            yield line
            if index > begin and width is not None and self.at == begin:
                # The line ended within quotes again, or `csv` would have yielded a row.
                fields += self.dialect.has_quote(line)
                if fields >= width:
                    raise csv.Error(f"has more than {width:,} fields")
        self.is_exhausted = True

    def _describe(self, error: csv.Error) -> str:
        """Say what is wrong with a line, to complete "a line that ..."."""
        message = str(error)
        if message == "unexpected end of data":
            return self.dialect.opens
        if "expected after" in message:
            return "has text after a closing quote"
        is_ours = message.startswith(("has", "opens", "ends"))
        return message if is_ours else f"cannot be read ({message})"


@contextmanager
def field_size_limit(limit: int) -> Iterator[None]:
    """Let `csv` read fields of a size; it has one limit for the whole process."""
    before = csv.field_size_limit(max(limit, csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)
