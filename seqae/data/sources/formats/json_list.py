"""Cut a JSON list into its elements while it is read, without parsing them.

Only quotes and brackets are looked at, which is fast and takes no memory but for one element. An
element that is no JSON is found when it is parsed; it costs that element alone, unless it has a
quote or a bracket too many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from seqae.data.sources.formats.lines import BYTE_ORDER_MARK

IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)  # up to a quote that is not escaped
IN_LIST = re.compile(rb'["\[\]{},]')
DEEPER = re.compile(rb'["\[\]{}]')

# Most elements are a text, or an object with nothing nested in it; one match finds their end, which
# is three times as fast.
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
OBJECT = rb'\{[^{}\[\]"]*(?:' + STRING + rb'[^{}\[\]"]*)*\}'
FLAT = re.compile(rb"\s*(?:" + STRING + b"|" + OBJECT + rb")\s*(?=[,\]])", re.DOTALL)


class Element(NamedTuple):
    """An element of a list, or what is there instead of one.

    Attributes:
        raw: its bytes; None if there are more than the cap.
        end: offset of the byte after it and its comma or, for the last, of the end of the file.
        is_last: whether no other one follows.
        fault: what the file must hold and does not; empty if `raw` is an element.
    """

    raw: bytes | None
    end: int
    is_last: bool = False
    fault: str = ""


class InBrackets:
    """Reads one object as a list of one.

    Args:
        read: the object, from its file's beginning, as for `cut_list`.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._has_begun = self._has_ended = False

    def __call__(self, size: int) -> bytes:
        """Read up to about `size` bytes; none at the end."""
        if not self._has_begun:
            self._has_begun = True
            return b"[" + self._read(size).removeprefix(BYTE_ORDER_MARK)
        data = self._read(size)
        if not data and not self._has_ended:
            self._has_ended = True
            return b"]"
        return data


def cut_list(
    read: Callable[[int], bytes], block_bytes: int, max_bytes: int, start: int = 0
) -> Iterator[Element]:
    """Cut a stream that holds one list.

    Args:
        read: returns up to a number of bytes, and none at the end.
        block_bytes: bytes to read at a time.
        max_bytes: an element with more is not held in memory.
        start: offset of what is read first: 0, or the end of an element that was not the last.
    """
    buffer = read(block_bytes)
    begin = start  # offset of the buffer
    at = 0  # where the next element begins in it
    if not start:
        while not buffer.partition(b"[")[1]:  # white space alone comes before it
            begin += len(buffer)
            buffer = read(block_bytes)
        at = buffer.index(b"[") + 1
    scanner, scanned, is_first, is_long = _Scanner(), at, not start, False
    while True:
        flat = FLAT.match(buffer, at) if scanned == at else None
        end = flat.end() if flat else scanner.find_end(buffer, scanned)
        if end < 0:
            is_long = is_long or len(buffer) - at > max_bytes
            kept = b"" if is_long else buffer[at:]
            begin, at, scanned = begin + len(buffer) - len(kept), 0, len(kept)
            data = read(block_bytes)
            buffer = kept + data
            if not data:
                fault = "a list with an end, but it is cut off"
                yield Element(None, begin + len(buffer), True, fault)
                return
            continue
        raw = buffer[at:end].strip()
        element = None if is_long or end - at > max_bytes else raw
        if buffer[end : end + 1] == b"]":
            size, has_more = _skip_blank(buffer[end + 1 :], read, block_bytes)
            after = begin + end + 1 + size
            if raw or is_long or not is_first:
                yield Element(element, after, not has_more)
            if has_more:
                yield Element(None, after, True, "nothing after its list, but there is more")
            return
        at = scanned = end + 1
        is_first = is_long = False
        yield Element(element, begin + at)


class _Scanner:
    """Finds where an element ends: at the next comma or closing bracket of the list itself."""

    def __init__(self) -> None:
        self._depth = 0  # of brackets inside of the element
        self._is_in_string = self._is_escaped = False

    def find_end(self, data: bytes, at: int) -> int:
        """Return the index of the comma or bracket; -1 if it comes with the data after this.

        Args:
            data: what was scanned before, which may be missing, and more.
            at: where to go on.
        """
        while at < len(data):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
            elif self._is_in_string:
                inside = IN_STRING.match(data, at)
                at = inside.end() if inside else at  # it always fits, if only nothing
                self._is_in_string = data[at : at + 1] != b'"'
                self._is_escaped = data[at : at + 1] == b"\\"  # what it escapes comes later
                at += 1
            else:
                found = (DEEPER if self._depth else IN_LIST).search(data, at)
                if found is None:
                    return -1
                at, mark = found.end(), found.group()
                if mark == b'"':
                    self._is_in_string = True
                elif mark in b"[{":
                    self._depth += 1
                elif self._depth:
                    self._depth -= 1
                elif mark != b"}":
                    return at - 1
        return -1


def _skip_blank(rest: bytes, read: Callable[[int], bytes], block_bytes: int) -> tuple[int, bool]:
    """Read to the end; return how many bytes there were, and whether any is not white space."""
    size, has_more = len(rest), bool(rest.strip())
    while data := read(block_bytes):
        size += len(data)
        has_more = has_more or bool(data.strip())
    return size, has_more
