"""Checkpoint files that carry their own hash, so that a damaged one is found before it is used.

Lightning stages a save in the system's temporary folder and never syncs it. Here a checkpoint is
written beside its place and synced (seqae/files.py), and the SHA-256 of its content is appended as
a line of its own. Zip archives, such as torch's checkpoints, end at their directory, so
`torch.load` reads the file as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from seqae.files import replacing, reporting, sha256_of

BEFORE_HASH = b"\nseqae sha256 "
TRAILER_BYTES = len(BEFORE_HASH) + 64 + 1

SEAL = "complete.json"  # the last file written of a sharded checkpoint: the hashes of the others


class HashedFile:
    """Writes to a file and hashes what is written.

    Args:
        file: opened for writing, unbuffered or not.

    Attributes:
        error: why the file could not be written, if it could not.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""
        self._hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand the data to the operating system."""
        self._file.flush()

    @property
    def trailer(self) -> bytes:
        """The line with the hash of all that was written."""
        return BEFORE_HASH + self._hash.hexdigest().encode() + b"\n"


def write_hashed(path: Path, write: Callable[[HashedFile], object]) -> None:
    """Write a file that ends with its hash, replacing an older one only when it is on the disk.

    Args:
        path: the file.
        write: writes the content.

    Raises:
        StorageError: naming the path and the room on its disk; the older file is then intact.
    """
    with reporting(path), replacing(path) as unfinished, open(unfinished, "xb") as file:
        hashed = HashedFile(file)
        try:
            write(hashed)
        except RuntimeError:  # torch.save replaces a full disk's error by one of its own
            if hashed.error is not None:
                raise hashed.error from None
            raise
        file.write(hashed.trailer)
        file.flush()
        os.fsync(file.fileno())


def check_intact(path: Path) -> None:
    """Refuse a checkpoint, a file or a folder of shards, that is damaged.

    Raises:
        ValueError: if its hash is not the one that was written.
    """
    if not is_intact(path):
        raise damaged_checkpoint(path)


def damaged_checkpoint(path: Path) -> ValueError:
    """Make the error that names a damaged checkpoint."""
    return ValueError(
        f"`ckpt_path` must be a checkpoint as it was written, but {path} is cut short or changed: "
        f"its hash is another. Choose another one."
    )


def is_intact(path: Path) -> bool:
    """Say whether a checkpoint, a file or a folder of shards, is as it was written."""
    return is_sealed(path) if path.is_dir() else _is_intact_file(path)


def is_sealed(folder: Path) -> bool:
    """Say whether a sharded checkpoint has all its files, as they were written."""
    try:
        if not _is_intact_file(folder / SEAL):
            return False
        hashes = json.loads((folder / SEAL).read_bytes()[:-TRAILER_BYTES])
        return all(sha256_of(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _is_intact_file(path: Path) -> bool:
    """Say whether `write_hashed` finished this file and nothing has changed it since."""
    try:
        size = os.path.getsize(path) - TRAILER_BYTES
        if size < 0:
            return False
        trailer = BEFORE_HASH + sha256_of(path, size).encode() + b"\n"
        with open(path, "rb") as file:
            file.seek(size)
            return file.read() == trailer
    except OSError:
        return False
