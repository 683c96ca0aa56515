"""Files that are whole or not there: written beside their place, synced, and then put in it.

Lightning stages a save in the system's temporary folder and never syncs it, so that a power cut, or
a temporary folder on another disk, may leave half a file under the right name. Here the order is:
a file beside the target, its content, its hash, fsync, rename, fsync of the folder. At each moment
the name holds the old file or the new one.

The hash stands behind the content, in a line of its own; zip archives, and torch's checkpoints are
such, end at their directory, so that `torch.load` reads the file as it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

BEFORE_HASH = b"\nseqae sha256 "
TRAILER_BYTES = len(BEFORE_HASH) + 64 + 1
CHUNK = 2**22


class StorageError(OSError):
    """An OSError that says what to do, and so is shown without its number."""

    def __str__(self) -> str:
        return str(self.strerror)


class HashedFile:
    """Writes to a file and hashes what is written.

    Args:
        file: opened for writing, unbuffered or not.

    Attributes:
        error: why the file could not be written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes, /) -> int:
        """Write all of it."""
        self._hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand it to the operating system."""
        self._file.flush()

    @property
    def trailer(self) -> bytes:
        """The line with the hash of all that was written."""
        return BEFORE_HASH + self._hash.hexdigest().encode() + b"\n"


def write_file(path: Path, write: Callable[[HashedFile], object]) -> None:
    """Put a file in its place when it is whole and on the disk, with its hash at its end.

    Args:
        path: its place; an old file there stays until then.
        write: writes the content.

    Raises:
        StorageError: with the path and the room on its disk; nothing is left beside the old file.
    """
    with _replacing(path, stat.S_ISREG) as unfinished, open(unfinished, "xb") as file:
        hashed = HashedFile(file)
        try:
            write(hashed)
        except RuntimeError:  # torch.save puts one of its own in the place of a full disk's
            if hashed.error is not None:
                raise hashed.error from None
            raise
        file.write(hashed.trailer)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """The same for a text that people read: without a hash.

    Raises:
        StorageError: as `write_file`.
    """
    with _replacing(path, stat.S_ISREG) as unfinished, open(unfinished, "xb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def write_link(path: Path, target: str) -> None:
    """The same for a symbolic link, which replaces no other kind of file.

    Raises:
        StorageError: as `write_file`.
    """
    with _replacing(path, stat.S_ISLNK) as unfinished:
        os.symlink(target, unfinished)


@contextmanager
def _replacing(path: Path, is_replaced: Callable[[int], bool]) -> Iterator[Path]:
    """Give a name beside a path; what is there at the end takes its place."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        _refuse_special(path, is_replaced)
        unfinished.unlink(missing_ok=True)  # of a process that was killed
        yield unfinished
        os.replace(unfinished, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def is_whole(path: Path) -> bool:
    """Whether a file is one that `write_file` finished, and has not changed since."""
    try:
        size = os.path.getsize(path) - TRAILER_BYTES
        if size < 0:
            return False
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while size > 0:
                part = file.read(min(size, CHUNK))
                if not part:
                    return False
                digest.update(part)
                size -= len(part)
            return file.read() == BEFORE_HASH + digest.hexdigest().encode() + b"\n"
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int | None:
    """Room on the disk that a folder is on, or will be; None if it does not tell."""
    try:
        while not folder.exists():
            folder = folder.parent
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def check_room(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: where it will be written; it need not be there.
        needed: bytes.
        what: for the message.

    Raises:
        StorageError: if there are fewer. A file system that does not tell its size is let pass.
    """
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise StorageError(
            errno.ENOSPC,
            f"`run_dir` must have room for {what}, {needed / 2**20:,.0f} MiB, but on the disk of "
            f"{folder} {free / 2**20:,.0f} MiB are free. Make room, name another folder, or "
            f"lower `checkpoint.keep`.",
        )


def cannot_write(path: Path, error: OSError) -> StorageError:
    """Name what could not be written, and the room that there is."""
    free = free_bytes(path.parent)
    told = "its disk does not tell its room"
    room = told if free is None else f"{free / 2**20:,.0f} MiB are free there"
    is_limit = error.errno == errno.EFBIG
    way_out = "Raise the limit on a file's size (`ulimit -f`)" if is_limit else "Make room"
    return StorageError(
        error.errno, f"{path} cannot be written: {error.strerror or error}; {room}. {way_out}."
    )


def _refuse_special(path: Path, is_replaced: Callable[[int], bool]) -> None:
    """Only a file of its own kind is ever replaced: no device, no pipe, no folder."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not is_replaced(mode):
        raise FileExistsError(errno.EEXIST, "something of another kind has its name")


def check_output(output: str | None, endings: tuple[str, ...]) -> None:
    """Refuse an output before any work is done for it.

    Raises:
        ValueError: if its name does not end as it should, or no file can be written there.
    """
    if output is None:
        return
    if not output.endswith(endings):
        raise ValueError(
            f"`output` must end in {' or '.join(endings)}, but it is {output} instead. "
            f"Choose a name with one of these endings."
        )
    path = Path(output).absolute()
    if not path.parent.is_dir():
        raise ValueError(
            f"`output` must lie in a folder that exists, but {Path(output).parent} does not. "
            f"Make it, or choose another one."
        )
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(
            f"`output` must be a file that can be written, but {output} is a folder or cannot be. "
            f"Choose another one."
        )
