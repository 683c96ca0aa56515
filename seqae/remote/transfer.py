"""Files fetched and sent whole.

A file that is fetched has its name when all of it is on the disk. What an earlier try has left is
gone on with, unless the file at the address is another one by now. A file that is sent is one
upload, which a store shows when it is complete; then its size is asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from seqae.files import replacing, reporting
from seqae.remote.byte_stream import BLOCK_BYTES, RemoteStream
from seqae.remote.store import RemoteNotFound, open_store, patiently


def read_remote(url: str, key: str, limit: int) -> bytes:
    """Read a small file.

    Args:
        url: from `check_url`.
        key: what it was given as, for messages.
        limit: bytes that it may have.

    Raises:
        ValueError: if it is larger.
        OSError: if it is not there or cannot be read.
    """
    stream = RemoteStream(url, key, limit + 1)
    if stream.size > limit:
        raise ValueError(
            f"`{key}` must be what it says, but {url} has {stream.size:,} bytes, and may have "
            f"{limit:,}. Check the address."
        )
    return stream.read()


def read_if_there(url: str, key: str, limit: int) -> bytes | None:
    """Read a small file as `read_remote`; None if there is none."""
    try:
        return read_remote(url, key, limit)
    except RemoteNotFound:
        return None


def fetch_file(url: str, path: Path, key: str, limit: int | None = None) -> None:
    """Fetch a file, or the rest of it after an interruption.

    Args:
        url: from `check_url`.
        path: appears when the file is complete and on the disk; an older one is replaced.
        key: what the address was given as, for messages.
        limit: bytes that it may have; None sets no limit.

    Raises:
        ValueError: if it is larger, or changes while it is fetched.
        OSError: if it cannot be fetched or written.
    """
    stream = RemoteStream(url, key, BLOCK_BYTES)
    if limit is not None and stream.size > limit:
        raise ValueError(
            f"`{key}` must fit what is left for it, {limit:,} bytes, but {url} has "
            f"{stream.size:,}. Check the address."
        )
    mark = hashlib.sha256(repr((url, stream.stamp)).encode()).hexdigest()[:16]
    part = path.with_name(f".{path.name}.{mark}.part")
    with reporting(path), part.open("ab") as file:
        stream.seek(file.tell())
        while data := stream.read(BLOCK_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if stream.stamp_now() != stream.stamp:
        part.unlink()
        raise ValueError(
            f"`{key}` must not change while it is fetched, but {url} did. Try again when it is "
            f"complete."
        )
    with reporting(path), replacing(path) as unfinished:
        os.replace(part, unfinished)
    for leftover in path.parent.glob(f".{path.name}.*.part"):  # of another version of the file
        leftover.unlink()


def send_file(path: Path, url: str, key: str) -> None:
    """Send a file whole, again if that fails, and check that all of it has arrived.

    Args:
        path: the file; it must not change meanwhile.
        url: from `check_url`; what is there is replaced.
        key: what the address was given as, for messages.

    Raises:
        OSError: if the store does not take it.
    """

    def send() -> None:
        store, name = open_store(url)
        store.put_file(os.fspath(path), name)
        arrived, size = store.info(name)["size"], path.stat().st_size
        if arrived != size:
            raise ConnectionError(f"{arrived:,} of {size:,} bytes have arrived")

    patiently(send, url, key)


def send_bytes(data: bytes, url: str, key: str) -> None:
    """Send a small file; raises as `send_file`."""

    def send() -> None:
        store, name = open_store(url)
        store.pipe_file(name, data)

    patiently(send, url, key)


def remove_remote(urls: Iterable[str], key: str) -> None:
    """Remove files; what is gone already is no error."""

    def remove(url: str) -> None:
        store, name = open_store(url)
        with suppress(FileNotFoundError):
            store.rm_file(name)

    for url in urls:
        patiently(lambda url=url: remove(url), url, key)  # type: ignore[misc]


def list_remote(url: str, key: str) -> list[str]:
    """List the files below a folder, by their paths in it; none if there is no such folder."""

    def ask() -> list[str]:
        store, name = open_store(url)
        folder = name.rstrip("/") + "/"
        return sorted(path[len(folder) :] for path in store.find(name) if path.startswith(folder))

    return patiently(ask, url, key)
