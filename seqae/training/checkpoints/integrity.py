"""Checkpoint files that carry their own hash, so that a damaged one is found before it is used.

Lightning stages a save in the system's temporary folder and never syncs it. Here a checkpoint is
written beside its place and synced (seqae/files.py), and the SHA-256 of its content is appended as
a line of its own. `torch.load` reads the file as it is, because a zip archive such as torch's
checkpoints ends at its directory. A folder of shards has a file that lists the hashes of the
others, and that ends with its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from seqae.files import replacing, reporting, sha256_of

HASH_PREFIX = b"\nseqae sha256 "
TRAILER_BYTES = len(HASH_PREFIX) + 64 + 1

SEAL = "complete.json"  # written last into a folder of shards: the hashes of its other files
MAX_SEAL_BYTES = 2**24  # about 100 bytes for each rank


class HashedFile:
    """Write to a file and hash the content.

    Args:
        file: open for writing, buffered or not.

    Attributes:
        error: why a write failed, if one did.
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
        """The line to append: the hash of everything written so far."""
        return HASH_PREFIX + self._hash.hexdigest().encode() + b"\n"


def write_hashed(path: Path, write: Callable[[HashedFile], object]) -> None:
    """Write a file that ends with its hash, replacing an older one only when it is on the disk.

    Args:
        path: the file.
        write: writes the content.

    Raises:
        StorageError: if it cannot be written, naming the path and the free space; the older file is
            then intact.
    """
    with reporting(path), replacing(path) as unfinished, open(unfinished, "xb") as file:
        hashed = HashedFile(file)
        try:
            write(hashed)
        except RuntimeError:  # torch.save replaces the error of a full disk by its own
            if hashed.error is not None:
                raise hashed.error from None
            raise
        file.write(hashed.trailer)
        file.flush()
        os.fsync(file.fileno())


def check_intact(path: Path) -> None:
    """Refuse a damaged checkpoint, a file or a folder of shards.

    Raises:
        ValueError: if it has changed since it was written.
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
    """Say whether a checkpoint, a file or a folder of shards, is complete and unchanged."""
    return _is_intact_folder(path) if path.is_dir() else _is_intact_file(path)


def is_sealed(path: Path) -> bool:
    """Say whether this package has written a file or folder as a checkpoint, damaged or not."""
    try:
        return _trailer_of(path / SEAL if path.is_dir() else path).startswith(HASH_PREFIX)
    except OSError:
        return False


def _is_intact_folder(folder: Path) -> bool:
    try:
        if (folder / SEAL).stat().st_size > MAX_SEAL_BYTES or not _is_intact_file(folder / SEAL):
            return False
        hashes = json.loads((folder / SEAL).read_bytes()[:-TRAILER_BYTES])
        return isinstance(hashes, dict) and all(
            Path(name).name == name
            and stat.S_ISREG((folder / name).lstat().st_mode)
            and sha256_of(folder / name) == digest
            for name, digest in hashes.items()
        )
    except (OSError, ValueError, RecursionError):
        return False


def _is_intact_file(path: Path) -> bool:
    try:
        trailer = _trailer_of(path)
        if not trailer.startswith(HASH_PREFIX):  # before hashing what may be large
            return False
        size = os.path.getsize(path) - TRAILER_BYTES
        return trailer == HASH_PREFIX + sha256_of(path, size).encode() + b"\n"
    except OSError:
        return False


def _trailer_of(path: Path) -> bytes:
    """Read the last line of a checkpoint's file; nothing of what is no file, such as a pipe."""
    size = os.path.getsize(path) - TRAILER_BYTES
    if size < 0 or not path.is_file():
        return b""
    with open(path, "rb") as file:
        file.seek(size)
        return file.read(TRAILER_BYTES)
