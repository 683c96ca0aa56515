"""Reader: one file of one format to blocks of records; what the readers of all formats share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from seqae.data.sources.compression import open_file
from seqae.data.sources.discovery import SourceFile, quote
from seqae.data.sources.lines import Stretch, newlines_only, read_stretches
from seqae.data.sources.records import NOT_UTF8, TOO_LONG, Block, Counts, Position, ReadOptions

# Larger blocks measured no faster, and this one is still short of a line cap.
BLOCK_BYTES = 1 << 18
SMALLEST_SPAN = 1 << 16  # bytes; smaller parts of a file are not worth opening it
MOST_NAMES = 20  # of columns that a message lists


@dataclass(frozen=True)
class Keys:
    """The configuration keys that error messages name.

    Attributes:
        source: the one that holds the source, `data.train`.
        section: what the keys of ReadOptions begin with, `data.reading.` or nothing.
    """

    source: str
    section: str = ""


@dataclass(frozen=True)
class Reader(ABC):
    """A file, how to read it, and which part of it; plain data, so that workers can have a copy.

    Attributes:
        file: what to read.
        options: how.
        keys: what error messages name.
        span: the part to read, from and to (without) which byte, row group or the like; the
            reader of a format says what it counts. None reads all.
        block_bytes: how much is read at a time; it has no influence on the records.
    """

    file: SourceFile
    options: ReadOptions
    keys: Keys
    span: tuple[int, int] | None = None
    block_bytes: int = BLOCK_BYTES

    # What a block's numbers count, and a span, for messages.
    unit: ClassVar[str] = "line"
    span_unit: ClassVar[str] = "byte"

    @abstractmethod
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the part, as many records at a time as fit a block.

        Args:
            start: the `end` of a block, to go on behind it.

        Raises:
            ValueError: if a record cannot be read and `errors` is strict; the file is damaged, has
                changed since it was found, or unpacks too far.
            OSError: if it has gone or cannot be read.
        """

    def spans(self, wanted: int) -> list[tuple[int, int]]:
        """Cut the file into at most so many parts that can be read on their own.

        None where it cannot be cut: then it is read whole, or by taking turns.
        """
        return []

    def byte_spans(self, wanted: int) -> list[tuple[int, int]]:
        """Cut a file by bytes, where its bytes can be reached: a regular file that is not packed.

        For readers of lines, each of which begins in exactly one part.
        """
        if self.file.stamp is None or self.file.is_packed:
            return []
        size = self.file.stamp[0]
        wanted = min(wanted, max(1, size // SMALLEST_SPAN))
        cuts = [size * index // wanted for index in range(wanted + 1)]
        return list(zip(cuts, cuts[1:], strict=False))

    @property
    def shown(self) -> str:
        """The file, and the part of it where it is one, for people."""
        if self.span is None or not self.span[0]:
            return self.file.shown
        return f"{self.file.shown} after {self.span_unit} {self.span[0]:,}"

    def stretches(self, stack: ExitStack, start: int | None) -> Iterator[Stretch]:
        """Stretches of whole lines: of the part, from its begin or from `start`, a line's begin."""
        begin, stop = self.span or (0, None)
        begin = begin if start is None else start
        read = open_file(
            self.file, self.keys.source, self.options.max_expansion, stack, max(0, begin - 1)
        )
        return read_stretches(read, self.block_bytes, self.options.max_line_bytes, begin, stop)

    @property
    def columns(self) -> list[str]:
        """The columns that are read: of the texts, and for paired text of the targets."""
        target = self.options.target_column
        return [self.options.column] if target is None else [self.options.column, target]

    def decode(self, raw: bytes, number: int, counts: Counts) -> str | None:
        """Decode the bytes of one record as UTF-8; None if it is dropped, and counted as such.

        Raises:
            ValueError: if it is not UTF-8 and `errors` is strict.
        """
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.options.errors == "strict":
                raise ValueError(self._tell_not_utf8(raw, number, error.start)) from None
        if self.options.errors == "skip":
            counts.dropped[NOT_UTF8] += 1
            return None
        counts.repaired += 1
        return raw.decode("utf-8", "replace")

    def drop(self, reason: str, number: int, fault: str, counts: Counts) -> None:
        """Count a record that cannot be read, or stop at it.

        Args:
            reason: what it is counted under.
            number: its line or row.
            fault: what it must be and what it is: "must ..., but {place} ... instead".
            counts: where it is counted.

        Raises:
            ValueError: if `errors` is strict.
        """
        if self.options.errors == "strict":
            raise ValueError(
                f"`{self.keys.source}` must hold {fault} instead, at {self.unit} {number:,} of "
                f"{quote(self.shown)}. Mend it, or set `{self.keys.section}errors: skip`."
            )
        counts.dropped[reason] += 1

    def refuse_column(self, wanted: str, there: Iterable[object]) -> ValueError:
        """Say in one line which columns a file has.

        Args:
            wanted: `options.column` or `options.target_column`.
            there: the names of those that there are.
        """
        names = [quote(str(name)) for name in there]
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        which = "column" if wanted == self.options.column else "target_column"
        return ValueError(
            f"`{self.keys.section}{which}` must be a column of {quote(self.file.shown)}, which has "
            f"{', '.join(names[:MOST_NAMES]) or 'none'}{more}, but it is {quote(wanted)} instead. "
            f"Choose one of these, or write {quote(self.file.shown + '#COLUMN')}."
        )

    def _tell_not_utf8(self, raw: bytes, number: int, index: int) -> str:
        utf16 = number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        how = f" (`iconv -f {'UTF-16' if utf16 else 'LATIN1'} -t UTF-8`)"
        return (
            f"`{self.keys.source}` must be UTF-8 text, but {self.unit} {number:,} of "
            f"{quote(self.shown)} has the invalid byte 0x{raw[index]:02x} at byte {index + 1:,} "
            f"instead. Convert the file{how if self.unit == 'line' else ''}, or set "
            f"`{self.keys.section}errors` to replace or skip."
        )


class LineReader(Reader):
    """A reader of files in which each line is a record."""

    @override
    def spans(self, wanted: int) -> list[tuple[int, int]]:
        return self.byte_spans(wanted)

    def line_blocks(self, start: Position | None) -> Iterator[Block]:
        """Blocks of lines as they are, decoded; those that cannot be are dropped."""
        line, offset = (start["line"], start["offset"]) if start else (0, None)
        with ExitStack() as stack:
            for data, begin, end in self.stretches(stack, offset):
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
            decoded.pop()  # what stands behind the last line end
            counts.read += len(decoded)
            return decoded, range(first, first + len(decoded))
        texts, numbers = [], []
        for number, raw in enumerate(lines.split(b"\n")[:-1], start=first):
            counts.read += 1
            if (text := self.decode(raw, number, counts)) is not None:
                texts.append(text)
                numbers.append(number)
        return texts, numbers
