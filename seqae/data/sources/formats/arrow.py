"""Parquet and Arrow (IPC) files: a row is a record, and only the columns of the text are read.

Arrow notices damage late or not at all, so everything that it returns is validated before use.
"""

from __future__ import annotations

import errno
import io
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import IO, Any, ClassVar, NamedTuple, final

from typing_extensions import override

from seqae.data.sources.discovery import refusal
from seqae.data.sources.formats.arrow_text import is_text, to_values
from seqae.data.sources.formats.compression import (
    ExpansionLimit,
    check_unchanged,
    damage,
    open_seekable,
)
from seqae.data.sources.formats.nested import all_fields, column_of, root_of
from seqae.data.sources.formats.reader import MAX_LISTED_COLUMNS, Reader
from seqae.data.sources.records import NO_TEXT, TOO_LONG, Block, Counts, Position
from seqae.data.sources.walking import one_line, quote
from seqae.extras import extra
from seqae.remote.byte_stream import RemoteStream
from seqae.remote.store import FailedStore, RemoteChanged

with extra("data"):
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet as pq

# Few, because a dictionary of 1 MB, the usual size, can put as much text into every row.
BLOCK_ROWS = 1024
READ_BYTES = 1 << 20  # read at a time of a column of a row group
FILE_MAGIC = b"ARROW1"  # begins an IPC file, but not an IPC stream

Bytes = io.FileIO | RemoteStream | IO[bytes]


class Piece(NamedTuple):
    """Consecutive rows of one group.

    Attributes:
        batch: an Arrow RecordBatch of the columns to read.
        group: index of the row group or record batch.
        row: rows of that group up to the end of this piece.
        share: of the file, from 0 to 1, up to the end of this piece; None if the position in the
            file tells it.
    """

    batch: Any
    group: int
    row: int
    share: float | None


class TableReader(Reader):
    """Reads one record a row; null is a record without text.

    A file that is compressed or comes through a pipe is copied to a temporary file first.
    """

    unit = "row"
    ending: ClassVar[str]  # of the names of such files

    @abstractmethod
    def open_table(self, file: Bytes) -> tuple[Any, Any]:
        """Open a file with Arrow's class for it; return it and its schema. Raises anything."""

    @abstractmethod
    def count_groups(self, table: Any) -> int:
        """Count the groups of rows that can be reached; 0 if they can only be read in order."""

    @abstractmethod
    def pieces(self, table: Any, group: int, row: int, stop: int | None) -> Iterator[Piece]:
        """Read from a row of a group up to (without) the group `stop`. Raises anything."""

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        with ExitStack() as stack:
            file = self._open(stack)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            limit = ExpansionLimit(self.file, self.keys.source, self.options.max_expansion, size)
            table = self._open_checked(file)
            at = start or self._begin(table, size)
            for piece, values in self._read(file, table, at):
                limit.add(sum(len(value or "") + 1 for column in values for value in column))
                counts = Counts(read=len(values[0]))
                columns, numbers = self._choose(values, at["number"] + 1, counts)
                offset = file.tell() if piece.share is None else int(size * piece.share)
                weight, number = offset - at["offset"], at["number"] + counts.read
                at = {"group": piece.group, "row": piece.row, "number": number, "offset": offset}
                block = Block(self.shown, [], [], counts, at, weight=weight)
                yield block.with_columns(columns, numbers).stripped()
            self._check_unchanged(file)

    def _begin(self, table: Any, size: int) -> Position:
        group = self.span[0] if self.span else 0
        offset = size * group // self.count_groups(table) if group else 0
        return {"group": group, "row": 0, "number": 0, "offset": offset}

    def _read(
        self, file: Bytes, table: Any, at: Position
    ) -> Iterator[tuple[Piece, list[list[str | bytes | None]]]]:
        """Read from a position; yield each piece with the values of its columns."""
        pieces = self.pieces(table, at["group"], at["row"], self.span[1] if self.span else None)
        while True:
            with self._reporting_damage(file):
                piece = next(pieces, None)
                if piece is None:
                    return
                values = [to_values(column_of(piece.batch, column)) for column in self.columns]
            yield piece, values

    @override
    def spans(self, wanted: int) -> list[tuple[int, int]]:
        if self.file.kind not in ("regular", "remote") or self.file.is_compressed:
            return []
        with ExitStack() as stack:
            file = self._open(stack)
            with self._reporting_damage(file):
                groups = self.count_groups(self.open_table(file)[0])
        wanted = min(wanted, max(1, groups))
        cuts = [groups * index // wanted for index in range(wanted + 1)]
        return list(zip(cuts, cuts[1:], strict=False))

    def _open(self, stack: ExitStack) -> Bytes:
        return open_seekable(self.file, self.keys.source, self.options.max_expansion, stack)

    def _open_checked(self, file: Bytes) -> Any:
        """Open the table, and check that it has the columns."""
        with self._reporting_damage(file):
            table, schema = self.open_table(file)
            fields = [*all_fields(schema)]
        for column in self.columns:
            searched = schema if column in schema.names else ()
            kinds = [field.type for field in searched if field.name == column]
            kinds = kinds or [kind for name, kind in fields if name == column]
            if not kinds:
                raise self.refuse_column(column, [name for name, _ in fields])
            if len(kinds) > 1 or not is_text(kinds[0]):
                what = (
                    f"{len(kinds)} columns"
                    if len(kinds) > 1
                    else f"of type {one_line(str(kinds[0]))}"
                )
                texts = [quote(name) for name, kind in fields if is_text(kind)][:MAX_LISTED_COLUMNS]
                raise ValueError(
                    f"`{self.keys.source}` must have one column of text of the name that is "
                    f"asked for, but {quote(column)} of {quote(self.file.shown)} is {what} "
                    f"instead. Choose one of text: {', '.join(texts) or 'none'}."
                )
        return table

    def _choose(
        self, values: list[list[str | bytes | None]], first: int, counts: Counts
    ) -> tuple[list[list[str]], Sequence[int]]:
        """Return the columns of the usable rows, and their numbers; count the others.

        Args:
            values: of each column.
            first: number of the first row.
            counts: where to count.
        """
        # Most often all rows are usable, which is quickly seen: a character has at most 4 bytes.
        enough = self.options.max_line_bytes // 4
        plain = [[v for v in column if type(v) is str and len(v) <= enough] for column in values]
        if all(len(some) == counts.read for some in plain):
            return plain, range(first, first + counts.read)
        columns: list[list[str]] = [[] for _ in values]
        numbers = []
        for number, row in enumerate(zip(*values, strict=True), start=first):
            texts = self._texts(row, number, counts)
            if texts is not None:
                numbers.append(number)
                for column, text in zip(columns, texts, strict=True):
                    column.append(text)
        return columns, numbers

    def _texts(
        self, row: Sequence[str | bytes | None], number: int, counts: Counts
    ) -> list[str] | None:
        """Return the text and, for paired text, the target; None if the row is dropped."""
        values = [value for value in row if value is not None]
        if len(values) < len(row):
            counts.dropped[NO_TEXT] += 1
            return None
        if any(self._is_too_long(value) for value in values):
            counts.dropped[TOO_LONG] += 1
            return None
        wrong = next((value for value in values if isinstance(value, bytes)), None)
        if wrong is not None and self.decode(wrong, number, counts) is None:
            return None
        return [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            for value in values
        ]

    def _is_too_long(self, value: str | bytes) -> bool:
        limit = self.options.max_line_bytes
        if isinstance(value, str) and len(value) <= limit < 4 * len(value):
            return len(value.encode()) > limit
        return len(value) > limit

    @contextmanager
    def _reporting_damage(self, file: Bytes) -> Iterator[None]:
        """Turn any error into one that says in one line why reading failed."""
        try:
            yield
        except (RemoteChanged, FailedStore):
            raise
        except Exception as error:  # of Arrow, or of Python when it uses what Arrow returned
            self._check_unchanged(file)
            # An impossible offset, to which damage can lead, is an invalid argument of a seek.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise refusal(self.keys.source, self.file.shown, error) from None
            raise damage(self.file, self.keys.source, error, self.ending) from None

    def _check_unchanged(self, file: Bytes) -> None:
        if isinstance(file, (io.FileIO, RemoteStream)):  # not a copy
            check_unchanged(self.file, self.keys.source, file)


@final
class ParquetReader(TableReader):
    """Reads Parquet; a span counts row groups."""

    span_unit = "row group"
    ending = ".parquet"

    @override
    def open_table(self, file: Bytes) -> tuple[Any, Any]:
        # With pre_buffer, Arrow would hold all of a row group at the same time.
        table = pq.ParquetFile(
            file, pre_buffer=False, buffer_size=READ_BYTES, page_checksum_verification=True
        )
        total = table.metadata.num_rows
        rows = sum(table.metadata.row_group(n).num_rows for n in range(self.count_groups(table)))
        if rows != total:
            raise ValueError(f"it should have {total:,} rows, but its row groups have {rows:,}")
        return table, table.schema_arrow

    @override
    def count_groups(self, table: Any) -> int:
        return int(table.metadata.num_row_groups)

    @override
    def pieces(self, table: Any, group: int, row: int, stop: int | None) -> Iterator[Piece]:
        groups = self.count_groups(table)
        for number in range(group, groups if stop is None else stop):
            rows, done = table.metadata.row_group(number).num_rows, 0
            for batch in table.iter_batches(
                BLOCK_ROWS, row_groups=[number], columns=self.columns, use_threads=False
            ):
                done += batch.num_rows
                if done > row:
                    new = batch.slice(max(0, batch.num_rows - (done - row)))
                    yield Piece(new, number, done, (number + min(1.0, done / rows)) / groups)
            if done != rows:
                raise ValueError(f"row group {number} has {done:,} rows rather than {rows:,}")
            row = 0


@final
class ArrowReader(TableReader):
    """Reads Arrow's IPC files (also known as Feather) and streams; a span counts batches."""

    span_unit = "record batch"
    ending = ".arrow"

    @override
    def open_table(self, file: Bytes) -> tuple[Any, Any]:
        schema = _open_ipc(file, []).schema
        roots = [root_of(column, schema.names) for column in self.columns]
        fields = [index for index, name in enumerate(schema.names) if name in roots]
        return _open_ipc(file, fields), schema

    @override
    def count_groups(self, table: Any) -> int:
        if isinstance(table, pa.ipc.RecordBatchFileReader):
            return int(table.num_record_batches)
        return 0

    @override
    def pieces(self, table: Any, group: int, row: int, stop: int | None) -> Iterator[Piece]:
        groups = self.count_groups(table)
        for number, batch in _batches(table, group, stop or groups):
            for begin in range(row, batch.num_rows, BLOCK_ROWS):
                piece = batch.slice(begin, BLOCK_ROWS)
                done = begin + piece.num_rows
                share = (number + done / batch.num_rows) / groups if groups else None
                yield Piece(piece, number, done, share)
            row = 0


def _batches(table: Any, start: int, stop: int) -> Iterator[tuple[int, Any]]:
    if isinstance(table, pa.ipc.RecordBatchFileReader):
        return ((number, table.get_batch(number)) for number in range(start, stop))
    return islice(enumerate(table), start, None)


def _open_ipc(file: Bytes, fields: list[int]) -> Any:
    """Open a file or stream to read some fields, or all if none are given."""
    file.seek(0)
    is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
    file.seek(0)
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file, options=options)
