r"""Where a line ends: chunks of whole lines, with their byte offsets, from any stream of bytes.

The rules, the same everywhere:

- a line ends at `\n`, `\r\n` or `\r`, and nowhere else (not at U+2028, U+0085 or a form feed);
- one byte order mark at the start of a file is no text;
- a line over a cap is never held in memory; it is reported as too long.

Reading can begin at any byte: a line that begins before it belongs to the reader of the part
before. So a file cut at arbitrary bytes gives each line exactly once, as Hadoop's input splits do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Bytes that may come with a line but are no part of it: a byte order mark, the \r of a line end.
NO_TEXT_BYTES = 4


class Chunk(NamedTuple):
    """Whole lines, or one line over the cap.

    Attributes:
        data: bytes that end with a line end, which is added to the last line of a stream if it has
            none; None for one line over the cap.
        begin: offset of the first of these bytes in the stream.
        end: offset of the byte after them in the stream.
    """

    data: bytes | None
    begin: int
    end: int


def read_chunks(
    read: Callable[[int], bytes],
    block_bytes: int,
    max_line_bytes: int,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Chunk]:
    """Cut a stream into chunks of whole lines.

    Args:
        read: returns up to the given number of bytes, and none at the end; it begins at byte
            `start - 1` if `start` is not 0, because this byte tells whether a line begins at
            `start`.
        block_bytes: bytes to read at a time; a chunk ends after the last line before a multiple of
            it.
        max_line_bytes: the cap.
        start: lines that begin before this byte are skipped.
        stop: lines that begin at this byte or after it are skipped.
    """
    for chunk in _read_chunks(read, block_bytes, max_line_bytes, start, stop):
        if chunk.data is None or len(chunk.data) <= max_line_bytes:
            yield chunk
        else:
            yield from _without_long_lines(chunk.data, chunk, max_line_bytes)


def _read_chunks(
    read: Callable[[int], bytes],
    block_bytes: int,
    max_line_bytes: int,
    start: int,
    stop: int | None,
) -> Iterator[Chunk]:
    """Read as `read_chunks`, but a line over the cap may be among others if it was read at once."""
    at, rest = max(0, start - 1), bytearray()  # bytes read but not yielded, and where they begin
    skipping = start > 0  # within a line that begins before `start`
    dropped_from = None  # where a line over the cap began, when within one
    # Up to the next multiple, so that chunks end at the same bytes wherever reading began: parts
    # that share a reader, and continue at different positions, must agree on them.
    while data := read(block_bytes - (at + len(rest)) % block_bytes):
        seen = max(0, len(rest) - 1)  # the last byte may be a \r whose \n comes now
        rest += data
        if skipping or dropped_from is not None:
            over = _after_first_line_end(rest, 0)
            cut = over or _complete(rest)
            at, seen = at + cut, 0
            del rest[:cut]
            if not over:
                continue
            if dropped_from is not None:
                yield Chunk(None, dropped_from, at)
            skipping, dropped_from = False, None
        if stop is not None and at >= stop:
            return
        end = _after_last_line_end(rest, seen)
        is_last = stop is not None and at + end >= stop
        if stop is not None and is_last:
            # The last line of this part is the one that holds the byte before `stop`.
            end = _after_first_line_end(rest, stop - 1 - at)
        if end:
            yield _chunk(bytes(rest[:end]), at, at + end)
            at += end
            del rest[:end]
        if is_last:
            return
        if len(rest) > max_line_bytes + NO_TEXT_BYTES:
            cut = _complete(rest)
            dropped_from, at = at, at + cut
            del rest[:cut]
    end = at + len(rest)
    if dropped_from is not None:
        yield Chunk(None, dropped_from, end)
    elif rest and not skipping and (stop is None or at < stop) and (at or rest != BYTE_ORDER_MARK):
        yield _chunk(bytes(rest) + b"\n", at, end)


def _without_long_lines(data: bytes, chunk: Chunk, max_line_bytes: int) -> Iterator[Chunk]:
    begin = at = chunk.begin
    for line in data.splitlines(keepends=True):
        after = min(at + len(line), chunk.end)
        if len(line.rstrip(b"\r\n")) > max_line_bytes:
            if at > begin:
                yield Chunk(data[begin - chunk.begin : at - chunk.begin], begin, at)
            yield Chunk(None, at, after)
            begin = after
        at = after
    if at > begin:
        yield Chunk(data[begin - chunk.begin :], begin, at)


def newlines_only(data: bytes) -> bytes:
    r"""Make all line ends of whole lines \n."""
    if b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _complete(data: bytearray) -> int:
    r"""Count the bytes before a line end that may be incomplete: all but a \r at the end."""
    return len(data) - data.endswith(b"\r")


def _chunk(data: bytes, begin: int, end: int) -> Chunk:
    if begin == 0 and data.startswith(BYTE_ORDER_MARK):
        begin = len(BYTE_ORDER_MARK)
        data = data[begin:]
    return Chunk(data, begin, end)


def _after_first_line_end(data: bytearray, start: int) -> int:
    r"""Return the index after the first line end at or after `start`, or 0.

    A \r at the very end does not count yet: it may be followed by its \n.
    """
    newline, carriage = data.find(b"\n", start), data.find(b"\r", start, len(data) - 1)
    if carriage < 0 or 0 <= newline < carriage:
        return newline + 1
    return carriage + (2 if data[carriage + 1 : carriage + 2] == b"\n" else 1)


def _after_last_line_end(data: bytearray, start: int) -> int:
    r"""Return the index after the last line end at or after `start`, or 0; skip a \r at the end."""
    return max(data.rfind(b"\n", start), data.rfind(b"\r", start, len(data) - 1)) + 1
