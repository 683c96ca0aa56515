"""Reads protocol buffers (developers.google.com/protocol-buffers/docs/encoding) of a stranger."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | float | bytes

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
MAX_VARINT = 10  # bytes of a number


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """List the fields of a message in their order.

    Args:
        message: without its own length in front.

    Yields:
        The number of a field, and its value: of four or eight bytes a float, counted ones as they
        are, which may be text or another message.

    Raises:
        ValueError: if it ends within a field, or has one of a kind that nobody writes any more.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise ValueError(f"has field {number} at byte {at:,}")
        value: Value
        if kind == VARINT:
            value, at = _varint(message, at)
        elif kind == COUNTED:
            size, at = _varint(message, at)
            value, at = _cut(message, at, size)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size, form = (8, "<d") if kind == EIGHT_BYTES else (4, "<f")
            data, at = _cut(message, at, size)
            value = struct.unpack(form, data)[0]
        else:
            raise ValueError(f"has a field of kind {kind} at byte {at:,}")
        yield number, value


def signed(number: int) -> int:
    """Take the number of a field for an int32 or int64, which may be negative."""
    return number - 2**64 if number >= 2**63 else number


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; return it, and where the next byte is."""
    number = 0
    for index in range(MAX_VARINT):
        if at >= len(message):
            raise ValueError(f"ends within a number, at byte {at:,}")
        number |= (message[at] & 127) << (7 * index)
        at += 1
        if message[at - 1] < 128:
            return number & (2**64 - 1), at
    raise ValueError(f"has a number without an end at byte {at:,}")


def _cut(message: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(message) - at:
        raise ValueError(f"ends within a field of {size:,} bytes, at byte {len(message):,}")
    return message[at : at + size], at + size
