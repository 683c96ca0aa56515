"""RemoteStream: a file of a store as a stream of byte ranges.

A range that fails is asked for again, at the same byte. Each one must be of the file that was
opened: S3 is told its ETag with every range, and of every store it is asked when a file is opened
and when it has been read to its end.
"""

from __future__ import annotations

import io
from typing import Any

from typing_extensions import override

from seqae.remote.store import TAGS, RemoteChanged, RemoteError, Stamp, open_store, patiently
from seqae.remote.store import stamp_of_info as _stamp_of
from seqae.remote.url import scheme_of

BLOCK_BYTES = 4 << 20  # asked for at a time: at 100 MB/s, 40 ms, about as long as S3 takes to begin
SEEKING_BLOCK_BYTES = 1 << 20  # the same where only some columns are read
FIRST_BYTES = 1 << 18  # at first; twice as much each time while reading goes on in order


class RemoteStream(io.RawIOBase):
    """Read a file of a store, in any order.

    Args:
        url: from `check_url`.
        key: what it was given as, for messages.
        block_bytes: how many are asked for at a time, at most.

    Attributes:
        part_end: where the part ends that is to be read; little is asked for beyond it.
        stamp: the file's size, and its tag or time.
        requests: ranges that were asked for.

    Raises:
        OSError: if it is not there or cannot be reached.
    """

    def __init__(self, url: str, key: str, block_bytes: int = BLOCK_BYTES) -> None:
        self._url, self._key, self._block_bytes = url, key, block_bytes
        self._handle: Any = None
        self._block, self._begin = b"", 0
        self._position, self._ahead = 0, FIRST_BYTES
        self.part_end: int | None = None
        self.requests = 0
        self.stamp = patiently(self._open, url, key)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.stamp[0]

    def stamp_now(self) -> Stamp:
        """Ask the store for the stamp of the file that has this address now."""

        def ask() -> Stamp:
            store, path = open_store(self._url)
            return _stamp_of(store.info(path))

        return patiently(ask, self._url, self._key)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"there is no byte {start + offset}")
        self._position = start + offset
        return self._position

    @override
    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    @override
    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all to the end; fewer only at the end."""
        size = self.size if size < 0 else size
        stop = min(self._position + size, self.size)
        pieces = []
        while self._position < stop:
            offset = self._position - self._begin
            if not 0 <= offset < len(self._block):
                self._fill(self._position, stop)
                offset = 0
            piece = self._block[offset : offset + stop - self._position]
            self._position += len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @override
    def readall(self) -> bytes:
        return self.read()

    @override
    def close(self) -> None:
        self._handle, self._block = None, b""
        super().close()

    def _fill(self, begin: int, wanted: int) -> None:
        """Ask for a block that begins at a byte, and has those up to `wanted` if it can be."""
        is_in_order = begin == self._begin + len(self._block)
        self._ahead = min(2 * self._ahead, self._block_bytes) if is_in_order else FIRST_BYTES
        ahead = begin + self._ahead
        if self.part_end is not None and begin < self.part_end:
            ahead = min(ahead, self.part_end)
        stop = min(max(wanted, ahead), begin + self._block_bytes, self.size)
        self._block = patiently(lambda: self._range(begin, stop), self._url, self._key)
        self._begin = begin

    def _open(self) -> Stamp:
        store, path = open_store(self._url)
        if scheme_of(self._url) == "memory":  # whose readers of a file would share one position
            self._handle, info = store, store.info(path)
        else:
            self._handle = store.open(path, "rb", cache_type="none")
            info = self._handle.details  # that S3 is told with every range, so of this very file
            if not any(info.get(name) for name in TAGS):
                info = store.info(path)
        if info.get("size") is None or info.get("partial") is False:
            raise self._without_parts()
        return _stamp_of(info)

    def _range(self, begin: int, stop: int) -> bytes:
        """Ask for a range; after an error the file is opened anew, and must be the same."""
        if self._handle is None and self._open() != self.stamp:
            self._handle = None
            raise self._changed()
        self.requests += 1
        try:
            if scheme_of(self._url) == "memory":
                store, path = open_store(self._url)
                data: bytes = store.cat_file(path, begin, stop)
            else:
                self._handle.seek(begin)
                data = self._handle.read(stop - begin)
            if len(data) != stop - begin:
                raise ConnectionError(f"{len(data):,} of {stop - begin:,} bytes came")
        except Exception as error:
            self._handle = None
            if type(error).__name__ == "FileExpired":
                raise self._changed() from error
            if isinstance(error, ValueError) and "range requests" in str(error):
                raise self._without_parts() from error
            raise
        return data

    def _without_parts(self) -> RemoteError:
        return RemoteError(
            f"`{self._key}` must be on a server that tells sizes and sends parts of files, but "
            f"that of {self._url} does not. Download it, and name the file."
        )

    def _changed(self) -> RemoteChanged:
        return RemoteChanged(
            f"`{self._key}` must not change while it is in use, but {self._url} did. Start again "
            f"when it is complete."
        )
