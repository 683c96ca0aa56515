"""The result of a command, written elsewhere: sent whole when it is complete.

seqae/files.py asks for this by name, because this room builds on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from seqae.remote.store import open_store
from seqae.remote.transfer import send_file
from seqae.remote.url import check_url, name_of


@contextmanager
def remote_output(url: str) -> Iterator[BinaryIO]:
    """Yield a temporary file; it is sent to an address when the block is done.

    Raises:
        OSError: if the store does not take it.
    """
    url = check_url(url, "output", is_written=True)
    with TemporaryDirectory(prefix="seqae-") as scratch:
        path = Path(scratch) / name_of(url)
        with path.open("wb") as file:
            yield file
        send_file(path, url, "output")


def check_remote_output(url: str, key: str) -> None:
    """Refuse an address that cannot be written, before any work is done for it.

    Raises:
        ValueError: if it has credentials in it, or is of a web server.
        ModuleNotFoundError: if the library of its store is not installed.
    """
    open_store(check_url(url, key, is_written=True))
    if url.endswith(".tsv"):
        raise ValueError(
            f"`{key}` must be a file of this machine where it ends in .tsv, which is two files, "
            f"but it is {url} instead. Name another ending, or a file here."
        )
