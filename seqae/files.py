"""Write files and folders completely or not at all: beside the target, synced, then renamed.

A power cut, a kill or a full disk in the middle of a plain write leaves half a file under the right
name. Everything that this package must not lose is written in this order instead: a file beside the
target, its content, fsync, rename, fsync of the folder. At any moment the name holds the old file
or the new one.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

ELSEWHERE = "seqae.remote.output"  # which builds on this file, so it is asked for by name
HASH_BLOCK_BYTES = 2**22  # read at a time


class StorageError(OSError):
    """An OSError whose message says what to do, without the number of the error."""

    def __str__(self) -> str:
        return str(self.strerror)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a file, replacing an older one only when the new one is on the disk.

    Raises:
        StorageError: if that fails; it names the path and the free space. The older file is intact.
    """
    with reporting(path), replacing(path) as unfinished:
        write_synced(unfinished, data)


def atomic_symlink(path: Path, target: str) -> None:
    """Make a symbolic link, replacing an older link but no other kind of file.

    Raises:
        StorageError: as `atomic_write`.
    """
    with reporting(path), replacing(path, stat.S_ISLNK) as unfinished:
        os.symlink(target, unfinished)


@contextmanager
def output_file(output: str | Path) -> Iterator[BinaryIO]:
    """Yield a file for the result of a command; it replaces `output` when the block is done.

    A link stays, and what it leads to is replaced. A device or a pipe is written in place. An
    address (`s3://...`) gets the file when it is complete.

    Raises:
        StorageError: if it cannot be written; it names the path and the free space. The older file
            is intact.
    """
    if "://" in str(output):
        with import_module(ELSEWHERE).remote_output(str(output)) as file:
            yield file
        return
    named = Path(output)
    is_special = named.exists() and not named.is_file() or named.absolute().is_relative_to("/dev")
    path = named if is_special else named.resolve()
    try:
        if is_special:
            with path.open("wb") as file:
                yield file
            return
        with replacing(path) as unfinished:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, unfinished)
    except BrokenPipeError:  # the reader has gone, which is no failure of the disk
        raise
    except OSError as error:
        raise cannot_write(named, error) from error


def write_output(output: str | Path, text: str) -> None:
    """Write the result of a command, as `output_file` does."""
    with output_file(output) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, is_replaceable: Callable[[int], bool] = stat.S_ISREG) -> Iterator[Path]:
    """Yield a name beside `path`; the file that the block writes there then replaces `path`.

    Args:
        path: the file to replace; it need not exist.
        is_replaceable: tells from the mode of an existing file whether it may be replaced; never a
            device, a pipe or a folder.

    Raises:
        OSError: from the operating system; the older file is intact, and nothing is left beside it.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        _check_replaceable(path, is_replaceable)
        unfinished.unlink(missing_ok=True)  # left by a process that was killed
        yield unfinished
        os.replace(unfinished, path)
        sync_path(path.parent)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def replace_folder(
    folder: Path,
    contents: Mapping[str, bytes | Path],
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write a folder of files, replacing an older one only when all of them are on the disk.

    Two renames replace a folder, so a kill between them leaves none under the name;
    `restore_folder` repairs that.

    Args:
        folder: to write; its parent exists.
        contents: the files by name, or by path below the folder; of a path, its file is copied.
        check: is given the new folder before it takes the older one's place, and raises if it must
            not.

    Raises:
        OSError: from the operating system; the older folder is intact.
    """
    restore_folder(folder)
    folder, new, old = _folders_beside(folder)
    try:
        new.mkdir()
        for name, data in contents.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, Path):
                shutil.copyfile(data, new / name)
                sync_path(new / name)
            else:
                write_synced(new / name, data)
        sync_path(new)
        if check is not None:
            check(new)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
        sync_path(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put back a folder that a killed `replace_folder` had moved away, and remove its leftovers.

    Args:
        folder: the one given to `replace_folder`; it need not exist.
    """
    folder, new, old = _folders_beside(folder)
    if old.exists() and not folder.exists():  # killed between the two renames
        old.rename(folder)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)


def write_synced(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Write a file in place, all at once or in parts, and return when it is on the disk."""
    if isinstance(data, str):
        data = data.encode()
    with path.open("wb") as file:
        for part in [data] if isinstance(data, (bytes, bytearray)) else data:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync_path(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path, size: int | None = None) -> str:
    """Hash a file, in hex digits.

    Args:
        path: the file.
        size: hash only this many bytes from its beginning; by default all.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASH_BLOCK_BYTES if size is None else min(size, HASH_BLOCK_BYTES)):
            digest.update(block)
            size = None if size is None else size - len(block)
    return digest.hexdigest()


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes on the disk of a folder that may not exist yet; None if unknown."""
    try:
        while not folder.exists():
            folder = folder.parent
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def check_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start work whose result the disk has no room for.

    Args:
        folder: for the result; it need not exist.
        needed: bytes of the result.
        what: names the result in the message.

    Raises:
        StorageError: if fewer bytes are free. A file system that does not tell its size passes.
    """
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise StorageError(
            errno.ENOSPC,
            f"`run_dir` must have room for {what}, {needed / 2**20:,.0f} MiB, but on the disk of "
            f"{folder} {free / 2**20:,.0f} MiB are free. Make room, name another folder, or "
            f"lower `checkpoint.keep`.",
        )


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn an OSError into one that names `path` and the free space on its disk."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StorageError:
    """Make the error that names the path that could not be written, and the free space."""
    if isinstance(error, StorageError):
        return error
    free = free_bytes(path.parent)
    room = (
        "its disk does not tell its room"
        if free is None
        else f"{free / 2**20:,.0f} MiB are free there"
    )
    ways_out = {
        errno.EFBIG: "Raise the limit on a file's size (`ulimit -f`)",
        errno.EEXIST: "Move that away",
    }
    way_out = ways_out.get(error.errno or 0, "Make room")
    return StorageError(
        error.errno, f"{path} cannot be written: {error.strerror or error}; {room}. {way_out}."
    )


def check_output(
    output: str | None,
    endings: tuple[str, ...],
    inputs: Iterable[str | None] = (),
    key: str = "output",
) -> None:
    """Refuse an output file before any work is done for it.

    Args:
        output: name of the file, or its address elsewhere; None passes.
        endings: that the name may have.
        inputs: what is read: files, folders, patterns, `-` for standard input, or other names.
        key: the option that named it.

    Raises:
        ValueError: if its name has another ending, no file can be written there, or it is one of
            the inputs.
    """
    if output is None:
        return
    if not output.endswith(endings):
        raise ValueError(
            f"`{key}` must end in {' or '.join(endings)}, but it is {output} instead. "
            f"Choose a name with one of these endings."
        )
    if "://" in str(output):
        import_module(ELSEWHERE).check_remote_output(output, key)
        return
    path = Path(output).absolute()
    if not path.parent.is_dir():
        raise ValueError(
            f"`{key}` must lie in a folder that exists, but {Path(output).parent} does not. "
            f"Make it, or choose another one."
        )
    is_file = path.is_file()
    places = [path] if path.exists() else []
    if is_file or not places:
        places.append(path.resolve().parent)  # the new file is written beside the old one
    if path.is_dir() or not all(os.access(place, os.W_OK) for place in places):
        raise ValueError(
            f"`{key}` must be a file that can be written, but {output} or its folder cannot be, "
            f"or it is a folder itself. Choose another one."
        )
    if is_file and any(_reads(source, path) for source in inputs if source is not None):
        raise ValueError(f"`{key}` must not be what is read, but {output} is. Name another file.")


def _reads(source: str, path: Path) -> bool:
    """Say whether a file is an input: by its inode, by any name, or in a folder of inputs."""
    if source == "-":
        try:
            return os.path.samestat(os.fstat(0), path.stat())
        except OSError:  # there is no standard input
            return False
    for name in [source, *glob.iglob(source)]:
        if os.path.isdir(name) and path.resolve().is_relative_to(os.path.realpath(name)):
            return True
        if os.path.exists(name) and os.path.samefile(name, path):
            return True
    return False


def _check_replaceable(path: Path, is_replaceable: Callable[[int], bool]) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not is_replaceable(mode):
        raise FileExistsError(errno.EEXIST, "something of another kind has its name")


def _folders_beside(folder: Path) -> tuple[Path, Path, Path]:
    """Return the folder, and where its new and old versions are while it is being replaced."""
    folder = folder.resolve()  # `.` has no name to write beside, and a link stays one
    return folder, folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
