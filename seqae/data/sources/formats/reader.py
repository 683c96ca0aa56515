"""Reader: from one file of one format to blocks of records; the base of the readers of files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from seqae.data.sources.discovery import SourceFile
from seqae.data.sources.formats.compression import open_file
from seqae.data.sources.formats.content import check_content
from seqae.data.sources.formats.lines import Chunk, newlines_only, read_chunks
from seqae.data.sources.records import (
    NOT_UTF8,
    TOO_LONG,
    Block,
    Counts,
    Position,
    ReadOptions,
    setting,
)
from seqae.data.sources.walking import quote

# Larger blocks measured no faster, and this size is below the default cap of a line.
BLOCK_BYTES = 1 << 18
HEAD_BYTES = 1 << 12  # to look at, at the beginning of a file, if blocks are smaller
MIN_SPAN_BYTES = 1 << 16  # a smaller part of a file is not worth opening the file for
MAX_LISTED_COLUMNS = 20  # in a message


@dataclass(frozen=True)
class Keys:
    """The configuration keys that error messages name.

    Attributes:
        source: the key that holds the source, such as `data.train`.
        section: the prefix of the keys of ReadOptions, `data.reading.` or nothing.
    """

    source: str
    section: str = ""

    def setting(self, name: str, value: str) -> str:
        """Write an option of reading as the user would."""
        return setting(self.section, name, value)


class HeadFirst:
    """Reads like a function of `open_file`, after a look at the beginning.

    Args:
        read: returns up to a number of bytes, and none at the end.
        size: bytes to look at; a pipe may give less.

    Attributes:
        head: these bytes.
    """

    def __init__(self, read: Callable[[int], bytes], size: int) -> None:
        self._read = read
        self.head = self._rest = read(size) if size else b""
        self._is_whole = len(self.head) == size  # or else, waiting for more may take forever

    def __call__(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end."""
        data, self._rest = self._rest[:size], self._rest[size:]
        if len(data) < size and (self._is_whole or not data):
            data += self._read(size - len(data))
        return data


@dataclass(frozen=True)
class Reader(ABC):
    """Reads a file, or a part of it; plain data, so that workers can have a copy.

    Attributes:
        file: what to read.
        options: how to read it.
        keys: for error messages.
        span: the part to read, (begin, stop), in bytes, row groups or the like: each format has
            its unit. None reads all.
        block_bytes: bytes to read at a time; it does not change the records.
    """

    file: SourceFile
    options: ReadOptions
    keys: Keys
    span: tuple[int, int] | None = None
    block_bytes: int = BLOCK_BYTES

    # What the numbers of a block and the ends of a span count, for messages.
    unit: ClassVar[str] = "line"
    span_unit: ClassVar[str] = "byte"

    @abstractmethod
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the part, as many records at a time as fit a block.

        Args:
            start: the `end` of a block, to continue after it.

        Raises:
            ValueError: if a record cannot be read and `errors` is strict; or if the file is
                damaged, has changed since it was found, or unpacks too far.
            OSError: if the file has gone or cannot be read.
        """

    def spans(self, wanted: int) -> list[tuple[int, int]]:
        """Cut the file into at most `wanted` parts that can be read independently.

        Empty if the file cannot be cut. Then one part reads it, or several parts share its blocks.
        """
        return []

    def byte_spans(self, wanted: int) -> list[tuple[int, int]]:
        """Cut a file of lines by bytes: each line begins in exactly one part.

        Empty unless the bytes can be reached, as in a regular file that is not compressed.
        """
        if self.file.stamp is None or self.file.is_compressed:
            return []
        size = self.file.stamp[0]
        wanted = min(wanted, max(1, size // MIN_SPAN_BYTES))
        cuts = [size * index // wanted for index in range(wanted + 1)]
        return list(zip(cuts, cuts[1:], strict=False))

    @property
    def shown(self) -> str:
        """The file, and which part of it, for people."""
        if self.span is None or not self.span[0]:
            return self.file.shown
        return f"{self.file.shown} after {self.span_unit} {self.span[0]:,}"

    def chunks(
        self, stack: ExitStack, start: int | None, opened: HeadFirst | None = None
    ) -> Iterator[Chunk]:
        """Read the part in chunks of whole lines.

        Args:
            stack: closes the file.
            start: byte at which a line begins, to continue there; None begins with the part.
            opened: the file, if it is open already and nothing of it was read.
        """
        begin, stop = self.span or (0, None)
        begin = begin if start is None else start
        read = opened or self.open_text(stack, max(0, begin - 1), stop)
        return read_chunks(read, self.block_bytes, self.options.max_line_bytes, begin, stop)

    def open_text(self, stack: ExitStack, offset: int = 0, stop: int | None = None) -> HeadFirst:
        """Open a file of text, and refuse what is none where it begins.

        Args:
            stack: closes the file.
            offset: bytes of the decompressed file to skip.
            stop: byte of the file up to which it is to be read, or a little further.

        Raises:
            ValueError: if it does not hold UTF-8 text, as check_content.
        """
        options, key = self.options, self.keys.source
        read = open_file(self.file, key, options.max_expansion, stack, offset, stop)
        opened = HeadFirst(read, 0 if offset else max(self.block_bytes, HEAD_BYTES))
        check_content(opened.head, self.file, self.keys.source)
        return opened

    @property
    def columns(self) -> list[str]:
        """The columns to read: that of the texts and, for paired text, that of the targets."""
        target = self.options.target_column
        return [self.options.column] if target is None else [self.options.column, target]

    def decode(self, raw: bytes, number: int, counts: Counts) -> str | None:
        """Decode the bytes of one record as UTF-8, or drop and count it.

        Args:
            raw: the bytes.
            number: line or row of the record.
            counts: where to count.

        Returns:
            The text; None if the record is dropped.

        Raises:
            ValueError: if it is not UTF-8 and `errors` is strict.
        """
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.options.errors == "strict":
                raise ValueError(self._describe_bytes(raw, number, error.start)) from None
        if self.options.errors == "skip":
            counts.dropped[NOT_UTF8] += 1
            return None
        counts.repaired += 1
        return raw.decode("utf-8", "replace")

    def drop(
        self, reason: str, number: int, fault: str, counts: Counts, advice: str = "Mend it"
    ) -> None:
        """Count a record that cannot be read, or stop at it.

        Args:
            reason: under which to count it.
            number: its line or row.
            fault: what the source must hold and does not, to complete "must hold ... instead".
            counts: where to count.
            advice: what to do, besides skipping it.

        Raises:
            ValueError: if `errors` is strict.
        """
        if self.options.errors == "strict":
            raise ValueError(
                f"`{self.keys.source}` must hold {fault} instead, at {self.unit} {number:,} of "
                f"{quote(self.shown)}. {advice}, or set {self.keys.setting('errors', 'skip')}."
            )
        counts.dropped[reason] += 1

    def refuse_column(
        self, wanted: str, present: Iterable[object], suggestion: str = ""
    ) -> ValueError:
        """Make the error that a column is missing.

        Args:
            wanted: `options.column` or `options.target_column`.
            present: the names of the columns that the file has.
            suggestion: what to do; by default to choose another column.
        """
        names = [quote(str(name)) for name in present]
        listed, others = names[:MAX_LISTED_COLUMNS], len(names) - MAX_LISTED_COLUMNS
        more = f" and {others:,} more" if others > 0 else ""
        choose = f"Choose one of these, or write {quote(self.file.shown + '#COLUMN')}."
        which = "column" if wanted == self.options.column else "target_column"
        return ValueError(
            f"`{self.keys.section}{which}` must be a column of {quote(self.file.shown)}, which has "
            f"{', '.join(listed) or 'none'}{more}, but it is {quote(wanted)} instead. "
            f"{suggestion or choose}"
        )

    def _describe_bytes(self, raw: bytes, number: int, index: int) -> str:
        """Say where a record is not UTF-8, and how to convert the file."""
        how = " (`iconv -f LATIN1 -t UTF-8`)"
        return (
            f"`{self.keys.source}` must be UTF-8 text, but {self.unit} {number:,} of "
            f"{quote(self.shown)} has the invalid byte 0x{raw[index]:02x} at byte {index + 1:,} "
            f"instead. Convert the file{how if self.unit == 'line' else ''}, or set "
            f"`{self.keys.section}errors` to replace or skip."
        )


class LineReader(Reader):
    """Reads files in which each line is a record."""

    @override
    def spans(self, wanted: int) -> list[tuple[int, int]]:
        return self.byte_spans(wanted)

    def line_blocks(
        self, start: Position | None, opened: HeadFirst | None = None
    ) -> Iterator[Block]:
        """Read blocks of decoded lines; drop lines that cannot be decoded."""
        line, offset = (start["line"], start["offset"]) if start else (0, None)
        with ExitStack() as stack:
            for data, begin, end in self.chunks(stack, offset, opened):
                counts = Counts()
                texts, numbers = self._decode_lines(data, line + 1, counts)
                line += counts.read
                position = {"line": line, "offset": end}
                yield Block(self.shown, texts, numbers, counts, position, weight=end - begin)

    def _decode_lines(
        self, lines: bytes | None, first: int, counts: Counts
    ) -> tuple[list[str], range | list[int]]:
        """Decode whole lines, the first of which has the number `first`, and count them."""
        if lines is None:
            counts.read += 1
            counts.dropped[TOO_LONG] += 1
            return [], []
        lines = newlines_only(lines)
        try:
            decoded = lines.decode("utf-8").split("\n")
        except UnicodeDecodeError:
            pass
        else:
            decoded.pop()  # the empty text after the last line end
            counts.read += len(decoded)
            return decoded, range(first, first + len(decoded))
        texts, numbers = [], []
        for number, raw in enumerate(lines.split(b"\n")[:-1], start=first):
            counts.read += 1
            if (text := self.decode(raw, number, counts)) is not None:
                texts.append(text)
                numbers.append(number)
        return texts, numbers
