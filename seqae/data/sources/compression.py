"""Opening a file and unpacking it on the way.

What turns out to be damaged, to change while it is read or to be a decompression bomb is refused in
one line.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Any, cast

from seqae.data.builtin import open_builtin
from seqae.data.sources.discovery import SourceFile, one_line, quote, refusal, stamp_of

COMPRESSED_BYTES = 1 << 16  # read at a time to be unpacked
BOMB_FLOOR = 1 << 26  # 64 MiB: below it, no ratio of packed to unpacked is a danger
COPIED_BYTES = 1 << 20  # read at a time where it is not the reader who asks


def open_file(
    file: SourceFile, key: str, max_expansion: int, stack: ExitStack, offset: int = 0
) -> Callable[[int], bytes]:
    """Open a file and unpack it on the way.

    Args:
        file: from `find_files`.
        key: the configuration key that named it, for the error message.
        max_expansion: how many times its packed size it may unpack to; 0 lifts the limit.
        stack: closes the file.
        offset: bytes of the unpacked file to leave out at the begin.

    Returns:
        A function that reads up to so many bytes, and none at the end.

    Raises:
        ValueError: on reading, if the file is damaged, changed or unpacks too far.
        OSError: if it cannot be read.
    """
    if file.kind == "builtin":
        text = stack.enter_context(open_builtin(file.name))
        text.seek(offset)
        return text.read
    if file.kind == "stdin":
        if sys.stdin is None:  # so it is in a process without a console
            raise refusal(key, file.shown, FileNotFoundError())
        # read1 gives what is there, so that a slow pipe is not waited for.
        return cast(io.BufferedReader, sys.stdin.buffer).read1
    raw = open_raw(file, key, stack)
    unpacked = _unpack(raw, file.compression, stack)
    if unpacked is raw and file.kind == "regular":
        raw.seek(offset)
        offset = 0
    size = file.stamp[0] if file.compression and file.stamp else None
    limit = ExpansionLimit(file, key, max_expansion, size)

    def read(size: int) -> bytes:
        try:
            data: bytes = unpacked.read(size) or b""
        except (EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise refusal(key, file.shown, error) from None
            raise damage(file, key, error) from None
        if not data:
            check_unchanged(file, key, raw)
        limit.add(len(data))
        return data

    while offset and (skipped := len(read(min(offset, COPIED_BYTES)))):
        offset -= skipped
    return read


def open_raw(file: SourceFile, key: str, stack: ExitStack) -> io.FileIO:
    """Open a regular file or a pipe, as it is.

    Raises:
        ValueError: if it is not the file any more that was found.
        OSError: if it cannot be read.
    """
    try:
        raw = stack.enter_context(io.FileIO(file.name))
    except OSError as error:
        raise refusal(key, file.shown, error) from None
    check_unchanged(file, key, raw)
    return raw


def open_seekable(
    file: SourceFile, key: str, max_expansion: int, stack: ExitStack
) -> io.FileIO | IO[bytes]:
    """Open a file of which any byte can be reached; a temporary copy where that is not so.

    Raises:
        ValueError, OSError: as open_file, and if there is no room for the copy.
    """
    if file.kind == "regular" and not file.is_compressed:
        return open_raw(file, key, stack)
    read = open_file(file, key, max_expansion, stack)
    try:
        copy = stack.enter_context(tempfile.TemporaryFile(prefix="seqae-"))  # noqa: SIM115
    except OSError as error:
        raise _no_room(file, key, error) from None
    while data := read(COPIED_BYTES):
        try:
            copy.write(data)
        except OSError as error:
            raise _no_room(file, key, error) from None
    copy.seek(0)
    return copy


def check_unchanged(file: SourceFile, key: str, raw: io.FileIO) -> None:
    """Check that a file is still what it was when it was found.

    Raises:
        ValueError: if it is not.
    """
    if file.stamp is not None and file.stamp != stamp_of(os.fstat(raw.fileno())):
        raise ValueError(
            f"`{key}` must not change while it is in use, but {quote(file.shown)} did. "
            f"Start again when it is complete."
        )


class ExpansionLimit:
    """Stops what unpacks to many times its size.

    Args:
        file: what is unpacked.
        key: the configuration key that named it.
        max_expansion: how many times its packed size it may unpack to; 0 lifts the limit.
        size: packed; without it, there is no limit.
    """

    def __init__(self, file: SourceFile, key: str, max_expansion: int, size: int | None) -> None:
        self.file, self.key, self.max_expansion = file, key, max_expansion
        self.given = 0
        self.limit: int | None = None
        if max_expansion and size is not None:
            self.limit = max(BOMB_FLOOR, size * max_expansion)

    def add(self, size: int) -> None:
        """So many bytes more.

        Raises:
            ValueError: if that is too much.
        """
        self.given += size
        if self.limit is not None and self.given > self.limit:
            raise ValueError(
                f"`{self.key}` must not unpack to more than {self.max_expansion:,} times its size, "
                f"but {quote(self.file.shown)} does. Set `max_expansion: 0` if you trust it."
            )


def damage(file: SourceFile, key: str, error: BaseException) -> ValueError:
    """Say in one line that a file is damaged."""
    what = one_line(str(error)) or type(error).__name__
    return ValueError(
        f"`{key}` must be whole, but {quote(file.shown)} is damaged or cut off: "
        f"{what.rstrip('.')}. Fetch or pack it again."
    )


def _no_room(file: SourceFile, key: str, error: OSError) -> OSError:
    return OSError(
        f"`{key}` must be a file that is not packed, or fit into the temporary folder "
        f"{quote(tempfile.gettempdir())}, but copying {quote(file.shown)} there failed: "
        f"{error.strerror}. Unpack it by hand, or set TMPDIR."
    )


def _unpack(raw: io.FileIO, packing: str, stack: ExitStack) -> Any:
    if packing == ".zst":
        # The library zstandard 0.25 reads a file that was cut off without a word; Arrow tells.
        import pyarrow as pa  # it takes a while, and text as it is does not need it

        return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    if not packing:
        return raw
    buffered = stack.enter_context(io.BufferedReader(raw))
    if packing == ".gz":
        return gzip.GzipFile(fileobj=buffered)
    return _Streams(buffered, bz2.BZ2Decompressor if packing == ".bz2" else lzma.LZMADecompressor)


class _Streams:
    """Packed streams, one after the other; what is none is an error.

    BZ2File and LZMAFile take whatever follows the first stream and does not begin like one for the
    end of the file, and say nothing.
    """

    def __init__(
        self,
        raw: IO[bytes],
        decompressor: type[bz2.BZ2Decompressor] | type[lzma.LZMADecompressor],
    ) -> None:
        self._raw, self._new = raw, decompressor
        self._current = decompressor()
        self._began = False  # whether the current one has been given anything

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        while True:
            if self._current.eof:
                packed = self._current.unused_data
                self._current, self._began = self._new(), False
            else:
                packed = self._raw.read(COMPRESSED_BYTES) if self._current.needs_input else b""
                if self._current.needs_input and not packed:
                    if self._began:
                        raise EOFError("it ends within a stream")
                    return b""
            if not self._began and self._new is lzma.LZMADecompressor:
                packed = packed.lstrip(b"\0")  # streams of xz may be padded
            self._began = self._began or bool(packed)
            if self._began and (data := self._current.decompress(packed, size)):
                return data
