"""Open a file, and decompress it while it is read.

A file that is damaged, changes while it is read or is a decompression bomb is refused in one line.
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
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import IO, Any, Protocol, cast

from seqae.data.builtin import open_builtin
from seqae.data.sources.discovery import SourceFile, refusal, stamp_of
from seqae.data.sources.formats.content import SIGNATURE_BYTES, kind_of
from seqae.data.sources.walking import one_line, quote
from seqae.extras import extra
from seqae.remote.byte_stream import BLOCK_BYTES, SEEKING_BLOCK_BYTES, RemoteStream
from seqae.remote.store import FailedStore, RemoteChanged

COMPRESSED_BYTES = 1 << 16  # decompressed at a time
BOMB_FLOOR = 1 << 26  # 64 MiB: no expansion to less is a danger
COPY_BYTES = 1 << 20  # copied or skipped at a time

# The most that zstd can read: 2 GiB (`zstd --long=31`). Memory is taken as it fills, up to that.
MAX_WINDOW_LOG = 31
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_HEADER_BYTES = 6  # magic, descriptor, window


def open_file(
    file: SourceFile,
    key: str,
    max_expansion: int,
    stack: ExitStack,
    offset: int = 0,
    stop: int | None = None,
) -> Callable[[int], bytes]:
    """Open a file, and decompress it while it is read.

    Args:
        file: from `find_files`.
        key: the configuration key that names it, for error messages.
        max_expansion: how many times its compressed size it may unpack to; 0 lifts the limit.
        stack: closes the file.
        offset: bytes of the decompressed file to skip.
        stop: byte up to which it is to be read, or a little further.

    Returns:
        A function that reads up to a number of bytes, and none at the end.

    Raises:
        ValueError: while reading, if the file is damaged, has changed or unpacks too far.
        OSError: if it cannot be read.
    """
    if file.kind == "builtin":
        text = stack.enter_context(open_builtin(file.name))
        text.seek(offset)
        return text.read
    if file.kind == "stdin":
        if sys.stdin is None:  # a process without a console
            raise refusal(key, file.shown, FileNotFoundError())
        # read1 returns what is there, without waiting for a slow pipe.
        return cast(io.BufferedReader, sys.stdin.buffer).read1
    raw = open_raw(file, key, stack)
    stream = _decompress(raw, file, key, stack)
    if isinstance(raw, RemoteStream) and stream is raw:
        raw.part_end = stop
    if stream is raw and file.stamp is not None:  # no pipe
        raw.seek(offset)
        offset = 0
    size = file.stamp[0] if file.compression and file.stamp else None
    limit = ExpansionLimit(file, key, max_expansion, size)

    def read(size: int) -> bytes:
        try:
            data: bytes = stream.read(size) or b""
        except (RemoteChanged, FailedStore):
            raise
        except (EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise refusal(key, file.shown, error) from None
            raise damage(file, key, error) from None
        if not data:
            check_unchanged(file, key, raw)
        limit.add(len(data))
        return data

    while offset and (skipped := len(read(min(offset, COPY_BYTES)))):
        offset -= skipped
    return read


def open_raw(
    file: SourceFile, key: str, stack: ExitStack, block_bytes: int = BLOCK_BYTES
) -> io.FileIO | RemoteStream:
    """Open a regular file, a pipe or a file of a store as it is.

    Args:
        file: from `find_files`.
        key: the configuration key that names it, for error messages.
        stack: closes the file.
        block_bytes: asked of a store at a time.

    Raises:
        ValueError: if the file has changed since it was found.
        OSError: if it cannot be read.
    """
    if file.kind == "remote":
        remote = stack.enter_context(closing(RemoteStream(file.name, key, block_bytes)))
        if remote.stamp != file.stamp:
            raise changed(file, key)
        return remote
    try:
        raw = stack.enter_context(io.FileIO(file.name))
    except OSError as error:
        raise refusal(key, file.shown, error) from None
    check_unchanged(file, key, raw)
    return raw


def open_seekable(
    file: SourceFile, key: str, max_expansion: int, stack: ExitStack
) -> io.FileIO | RemoteStream | IO[bytes]:
    """Open a file whose bytes can be reached in any order, or a temporary copy of it.

    Raises:
        ValueError, OSError: as open_file, or if there is no room for the copy.
    """
    if file.kind in ("regular", "remote") and not file.is_compressed:
        return open_raw(file, key, stack, SEEKING_BLOCK_BYTES)
    read = open_file(file, key, max_expansion, stack)
    try:
        copy = stack.enter_context(tempfile.TemporaryFile(prefix="seqae-"))  # noqa: SIM115
    except OSError as error:
        raise _no_room(file, key, error) from None
    while data := read(COPY_BYTES):
        try:
            copy.write(data)
        except OSError as error:
            raise _no_room(file, key, error) from None
    copy.seek(0)
    return copy


def check_unchanged(file: SourceFile, key: str, raw: io.FileIO | RemoteStream) -> None:
    """Check that a file has not changed since it was found.

    Raises:
        ValueError: if it has.
    """
    if file.stamp is None:
        return
    if isinstance(raw, RemoteStream):
        stamp: tuple[int, int | str] = raw.stamp_now()
    else:
        stamp = stamp_of(os.fstat(raw.fileno()))
    if file.stamp != stamp:
        raise changed(file, key)


def changed(file: SourceFile, key: str) -> ValueError:
    """Make the error that names a file that has changed."""
    return ValueError(
        f"`{key}` must not change while it is in use, but {quote(file.shown)} did. "
        f"Start again when it is complete."
    )


class ExpansionLimit:
    """Stops reading a file that unpacks to many times its size.

    Args:
        file: being decompressed.
        key: the configuration key that names it.
        max_expansion: how many times its compressed size it may unpack to; 0 lifts the limit.
        size: bytes of the compressed file; None sets no limit.
    """

    def __init__(self, file: SourceFile, key: str, max_expansion: int, size: int | None) -> None:
        self.file, self.key, self.max_expansion = file, key, max_expansion
        self.total = 0
        self.limit: int | None = None
        if max_expansion and size is not None:
            self.limit = max(BOMB_FLOOR, size * max_expansion)

    def add(self, size: int) -> None:
        """Count decompressed bytes.

        Raises:
            ValueError: if they exceed the limit.
        """
        self.total += size
        if self.limit is not None and self.total > self.limit:
            raise ValueError(
                f"`{self.key}` must not unpack to more than {self.max_expansion:,} times its size, "
                f"but {quote(self.file.shown)} does. Set `max_expansion: 0` if you trust it."
            )


def damage(file: SourceFile, key: str, error: BaseException, ending: str = "") -> ValueError:
    """Make the error that says in one line that a file is damaged, or of quite another kind.

    Args:
        file: that could not be read.
        key: the configuration key that names it.
        error: why.
        ending: that names of such files have, unless it is that of a compression.
    """
    kind = None
    if file.kind == "regular":
        with suppress(OSError), open(file.name, "rb") as raw:
            kind = kind_of(raw.read(SIGNATURE_BYTES))
    if kind and (file.compression or ending) not in kind.suffixes:
        return ValueError(
            f"`{key}` must be what its name or `format` says, but {quote(file.shown)} is "
            f"{kind.name} instead. {kind.way_out.replace('FILE', quote(file.shown))}"
        )
    what = one_line(str(error)) or type(error).__name__
    return ValueError(
        f"`{key}` must be whole, but {quote(file.shown)} is damaged or cut off: "
        f"{what.rstrip('.')}. Fetch or pack it again."
    )


def _no_room(file: SourceFile, key: str, error: OSError) -> OSError:
    return OSError(
        f"`{key}` must be a file that is not compressed, or fit into the temporary folder "
        f"{quote(tempfile.gettempdir())}, but copying {quote(file.shown)} there failed: "
        f"{error.strerror}. Unpack it by hand, or set TMPDIR."
    )


def _decompress(raw: io.FileIO | RemoteStream, file: SourceFile, key: str, stack: ExitStack) -> Any:
    compression = file.compression
    if not compression:
        return raw
    buffered = stack.enter_context(io.BufferedReader(raw))
    if compression == ".gz":
        return gzip.GzipFile(fileobj=buffered)
    if compression == ".zst":
        _check_window(buffered.peek(ZSTD_HEADER_BYTES), file, key)
        zstd = import_zstd()
        options = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        new = partial(zstd.ZstdDecompressor, options=options)
        return _StrictStreams(buffered, new, zstd.ZstdError)
    is_bz2 = compression == ".bz2"
    return _StrictStreams(buffered, bz2.BZ2Decompressor if is_bz2 else lzma.LZMADecompressor)


def import_zstd() -> Any:
    """Import Python's own library for .zst, or what it was made from.

    It reads long windows, and refuses what is cut off: pyarrow does not do the former, zstandard
    0.25 not the latter.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        with extra("data"):
            from backports import zstd
    return zstd


def _check_window(head: bytes, file: SourceFile, key: str) -> None:
    """Refuse a .zst whose first frame looks back further than any library can.

    The layout is that of RFC 8878, section 3.1.1.1.
    """
    if not head.startswith(ZSTD_MAGIC) or len(head) < ZSTD_HEADER_BYTES or head[4] & 0x20:
        return  # the window of a "single segment" is the content
    log = 10 + (head[5] >> 3)
    if log > MAX_WINDOW_LOG:
        raise ValueError(
            f"`{key}` must be a .zst with a window of at most 2 GiB (`zstd --long="
            f"{MAX_WINDOW_LOG}`), but that of {quote(file.shown)} is {2 ** (log - 30):,} GiB "
            f"instead. Pack it again with a smaller one."
        )


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _StrictStreams:
    """Decompresses streams one after the other; anything else between them is an error.

    After the first stream, BZ2File and LZMAFile silently take whatever does not begin like another
    stream for the end of the file.
    """

    def __init__(
        self,
        raw: IO[bytes],
        new: Callable[[], _Decompressor],
        damage: type[Exception] = ValueError,
    ) -> None:
        self._raw, self._new, self._damage = raw, new, damage
        self._current = new()
        self._has_begun = False  # whether the current one has been given anything

    def read(self, size: int) -> bytes:
        """Read `size` bytes; fewer, or none, at the end.

        Raises:
            ValueError: if the stream is damaged and its library has an error of its own for that.
        """
        pieces = []
        try:
            while size and (data := self._read(size)):
                pieces.append(data)
                size -= len(data)
        except self._damage as error:
            raise ValueError(str(error)) from error
        return b"".join(pieces)

    def _read(self, size: int) -> bytes:
        while True:
            if self._current.eof:
                compressed = self._current.unused_data
                self._current, self._has_begun = self._new(), False
            else:
                needs_input = self._current.needs_input
                compressed = self._raw.read(COMPRESSED_BYTES) if needs_input else b""
                if needs_input and not compressed:
                    if self._has_begun:
                        raise EOFError("it ends within a stream")
                    return b""
            if not self._has_begun and self._new is lzma.LZMADecompressor:
                compressed = compressed.lstrip(b"\0")  # streams of xz may be padded
            self._has_begun = self._has_begun or bool(compressed)
            if self._has_begun and (data := self._current.decompress(compressed, size)):
                return data
