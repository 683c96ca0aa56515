"""Seal the files of a folder: their sizes and hashes, which tell whether anybody has changed them.

A cache lies for months where other programs write, too. Files that are mapped into memory and then
cut end a process without a word (SIGBUS), and other numbers in them train on wrong sentences. So a
folder of the cache holds `files.json`, which is checked before the files are mapped, and in each
epoch. The hash of a small file is computed when it is first mapped; that of a large one only where
size or time differ, so that a terabyte is not read twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from seqae.files import atomic_write, sha256_of, write_synced

SEAL = "files.json"
SMALL = 2**26  # bytes of a file that is always hashed, in less than a tenth of a second

# (size, mtime_ns) of files whose hash this process has found right, for a seal on a read-only disk.
_verified: dict[Path, list[int]] = {}


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write the sizes, times and hashes of files, when they are complete.

    Args:
        folder: of the files.
        names: of the files.
    """
    sealed = {
        name: {"stamp": _stamp(folder / name), "sha256": sha256_of(folder / name)} for name in names
    }
    write_synced(folder / SEAL, json.dumps(sealed, indent=2))


def damage_in(folder: Path, is_mapped: bool = False) -> str | None:
    """Compare the files of a folder with its seal.

    Args:
        folder: that was sealed.
        is_mapped: whether the files are mapped already. What has been deleted or replaced since
            then does no harm, as the mapping keeps the old file.

    Returns:
        What has changed, to complete "..., but FILE ..."; None if nothing has.
    """
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        damage = [_damage(folder / name, kept, is_mapped) for name, kept in sealed.items()]
    except FileNotFoundError:
        return None if is_mapped else f"{folder / SEAL} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / SEAL} cannot be read ({error})"
    if found := next(filter(None, damage), None):
        return found
    stamps = {name: _verified.get(folder / name) for name in sealed}
    if any(stamp not in (None, sealed[name]["stamp"]) for name, stamp in stamps.items()):
        for name, stamp in stamps.items():
            sealed[name]["stamp"] = stamp or sealed[name]["stamp"]
        with suppress(OSError):  # on a read-only disk, the next process computes the hashes again
            atomic_write(folder / SEAL, json.dumps(sealed, indent=2))
    return None


def _damage(path: Path, sealed: dict[str, Any], is_mapped: bool) -> str | None:
    try:
        stamp = _stamp(path)
    except FileNotFoundError:
        return None if is_mapped else f"{path} is missing"
    size, sealed_size = stamp[0], sealed["stamp"][0]
    if size != sealed_size:
        return f"{path} has {size:,} bytes and not {sealed_size:,}"
    is_trusted = stamp == sealed["stamp"] and (is_mapped or size > SMALL)
    if is_trusted or stamp == _verified.get(path):
        return None
    if sha256_of(path) != sealed["sha256"]:
        return f"{path} has other content than when it was written"
    _verified[path] = stamp
    return None


def _stamp(path: Path) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]
