r"""Where a line ends: stretches of whole lines, with their byte offsets, from any stream of bytes.

The rules, the same everywhere:

- a line ends at `\n`, `\r\n` or `\r`, and nowhere else (not at U+2028, U+0085 or a form feed);
- one byte order mark at the start of a file is no text;
- a line over a cap is not held in memory; it is told as one that was too long.

A stream can be taken up at any byte: lines that begin before it belong to whoever reads the part
before. So a file cut at arbitrary bytes gives each line exactly once, as Hadoop's input splits do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# What may come with a line and is no part of it: a byte order mark, and the \r of a line end.
NO_TEXT_BYTES = 4


class Stretch(NamedTuple):
    """Whole lines, or one line over the cap.

    Attributes:
        data: bytes that end with a line end, which the last line of a stream is given if it has
            none; None stands for one line over the cap.
        begin: offset of the first of these bytes in the stream.
        end: offset of the byte after them in the stream.
    """

    data: bytes | None
    begin: int
    end: int


def read_stretches(
    read: Callable[[int], bytes],
    block_bytes: int,
    max_line_bytes: int,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Stretch]:
    """Cut a stream into stretches of whole lines.

    Args:
        read: gives up to so many bytes, and none at the end; from byte `start - 1` on if `start` is
            not 0, because the byte before says whether a line begins at `start`.
        block_bytes: how much is read at a time; a stretch ends behind the last line before a
            multiple of it.
        max_line_bytes: the cap.
        start: lines that begin before this byte are left out.
        stop: lines that begin at this byte or after it are left out.
    """
    for stretch in _read_stretches(read, block_bytes, max_line_bytes, start, stop):
        if stretch.data is None or len(stretch.data) <= max_line_bytes:
            yield stretch
        else:
            yield from _without_long_lines(stretch.data, stretch, max_line_bytes)


def _read_stretches(
    read: Callable[[int], bytes],
    block_bytes: int,
    max_line_bytes: int,
    start: int,
    stop: int | None,
) -> Iterator[Stretch]:
    """Read as `read_stretches`; a line over the cap may stand among others, if it came in whole."""
    at, rest = max(0, start - 1), bytearray()  # what was read and not given yet; where that begins
    skipping = start > 0  # within a line that begins before `start`
    dropped_from = None  # where a line over the cap began, when within one
    # Up to the next multiple, so that stretches end where they do wherever reading began: parts
    # that take turns with them, and go on at different places, must agree on them.
    while data := read(block_bytes - (at + len(rest)) % block_bytes):
        seen = max(0, len(rest) - 1)  # the last byte may be a \r whose \n comes now
        rest += data
        if skipping or dropped_from is not None:
            over = _after_first_line_end(rest, 0)
            cut = over or _unheld(rest)
            at, seen = at + cut, 0
            del rest[:cut]
            if not over:
                continue
            if dropped_from is not None:
                yield Stretch(None, dropped_from, at)
            skipping, dropped_from = False, None
        if stop is not None and at >= stop:
            return
        end = _after_last_line_end(rest, seen)
        is_last = stop is not None and at + end >= stop
        if stop is not None and is_last:
            # The last line of ours is the one that holds the byte before `stop`.
            end = _after_first_line_end(rest, stop - 1 - at)
        if end:
            yield _stretch(bytes(rest[:end]), at, at + end)
            at += end
            del rest[:end]
        if is_last:
            return
        if len(rest) > max_line_bytes + NO_TEXT_BYTES:
            cut = _unheld(rest)
            dropped_from, at = at, at + cut
            del rest[:cut]
    end = at + len(rest)
    if dropped_from is not None:
        yield Stretch(None, dropped_from, end)
    elif rest and not skipping and (stop is None or at < stop) and (at or rest != BYTE_ORDER_MARK):
        yield _stretch(bytes(rest) + b"\n", at, end)


def _without_long_lines(data: bytes, stretch: Stretch, max_line_bytes: int) -> Iterator[Stretch]:
    begin = at = stretch.begin
    for line in data.splitlines(keepends=True):
        after = min(at + len(line), stretch.end)
        if len(line.rstrip(b"\r\n")) > max_line_bytes:
            if at > begin:
                yield Stretch(data[begin - stretch.begin : at - stretch.begin], begin, at)
            yield Stretch(None, at, after)
            begin = after
        at = after
    if at > begin:
        yield Stretch(data[begin - stretch.begin :], begin, at)


def newlines_only(data: bytes) -> bytes:
    r"""Whole lines, all of which end with \n."""
    if b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _unheld(data: bytearray) -> int:
    r"""How many bytes are none of a line end whose second half may come: all but a last \r."""
    return len(data) - data.endswith(b"\r")


def _stretch(data: bytes, begin: int, end: int) -> Stretch:
    if begin == 0 and data.startswith(BYTE_ORDER_MARK):
        begin = len(BYTE_ORDER_MARK)
        data = data[begin:]
    return Stretch(data, begin, end)


def _after_first_line_end(data: bytearray, start: int) -> int:
    r"""The index after the first line end at or after `start`, or 0.

    A \r at the very end is none yet: a \n may follow that belongs to it.
    """
    newline, carriage = data.find(b"\n", start), data.find(b"\r", start, len(data) - 1)
    if carriage < 0 or 0 <= newline < carriage:
        return newline + 1
    return carriage + (2 if data[carriage + 1 : carriage + 2] == b"\n" else 1)


def _after_last_line_end(data: bytearray, start: int) -> int:
    """The index after the last line end at or after `start`, or 0; a last CR is none yet."""
    return max(data.rfind(b"\n", start), data.rfind(b"\r", start, len(data) - 1)) + 1
