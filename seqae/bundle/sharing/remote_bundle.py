"""Bundles in stores and on web servers: `s3://BUCKET/model`, `https://example.org/model`.

The manifest is fetched first, and only the files that it lists are, into a folder of the cache for
that content. They are checked before the folder has its name. A bundle is sent to a new folder, its
manifest last: a store cannot replace several files at once, so none is replaced.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from seqae.bundle.manifest import (
    CARD,
    EVALUATION,
    FILES,
    MANIFEST,
    check_manifest,
    is_prior_file,
    read_manifest,
)
from seqae.bundle.sharing.address import LocalBundle, RemoteAddress
from seqae.data.config import default_cache_dir
from seqae.data.tokenizers.json_format import MAX_FILE_BYTES as MAX_TOKENIZER_BYTES
from seqae.files import reporting, write_synced
from seqae.remote.run_pointer import read_pointer
from seqae.remote.store import RemoteNotFound
from seqae.remote.transfer import fetch_file, read_if_there, send_file
from seqae.remote.url import READ_ONLY, scheme_of
from seqae.untrusted import MAX_BYTES

FOLDER = "remote"  # in the cache; it has a folder for each content


def fetch(
    address: RemoteAddress, key: str = "model", local_files_only: bool = False
) -> LocalBundle:
    """Fetch a bundle, or that of a run, into the cache, unless it has that content.

    Args:
        address: of the folder.
        key: what the address was given as, for messages.
        local_files_only: refused, since only the store knows what is at an address.

    Returns:
        The folder, which was checked when it was fetched; and the address of the bundle.

    Raises:
        ValueError: if there is no bundle, or it is damaged.
        OSError: if it is not there, may not be read, or cannot be fetched.
    """
    if local_files_only:
        raise FileNotFoundError(
            f"`{key}` must be a folder where no store is asked, but it is {address} instead. Fetch "
            f"it before: `seqae pull {address} --output my_bundle`."
        )
    url, manifest = _find(address.url, key)
    small = {MANIFEST: manifest}
    for name in (CARD, EVALUATION):
        if (data := read_if_there(f"{url}/{name}", key, MAX_BYTES)) is not None:
            small[name] = data
    content = hashlib.sha256(repr(sorted(small.items())).encode()).hexdigest()[:32]
    folder = default_cache_dir() / FOLDER / content
    if not folder.is_dir():
        with reporting(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _fetch_into(folder, url, small, key)
    return LocalBundle(folder, url)


def _find(url: str, key: str) -> tuple[str, bytes]:
    """Return the address of a bundle, which may be that of a run, and its manifest."""
    if (manifest := read_if_there(f"{url}/{MANIFEST}", key, MAX_BYTES)) is not None:
        return url, manifest
    pointer = None if scheme_of(url) in READ_ONLY else read_pointer(url, key)
    if pointer is not None and pointer.bundle is None:
        raise ValueError(
            f"`{key}` must have a bundle, but the run {url} has none yet: no validation of it has "
            f"been sent. Go on with it: `seqae fit --resume {url}`."
        )
    if pointer is not None:
        url = f"{url}/{pointer.bundle}"
        if (manifest := read_if_there(f"{url}/{MANIFEST}", key, MAX_BYTES)) is not None:
            return url, manifest
    raise RemoteNotFound(
        f"`{key}` must be the folder of a bundle or of a run, but there is no {url}/{MANIFEST}, or "
        f"you may not see it. Check the address."
    )


def _fetch_into(folder: Path, url: str, small: dict[str, bytes], key: str) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    with reporting(unfinished):
        unfinished.mkdir(exist_ok=True)
        for name, data in small.items():
            write_synced(unfinished / name, data)
    for name in read_manifest(unfinished):
        if (name in FILES or is_prior_file(name)) and not (unfinished / name).exists():
            limit = MAX_TOKENIZER_BYTES if name == "tokenizer.json" else MAX_BYTES
            fetch_file(
                f"{url}/{name}", unfinished / name, key, limit if name.endswith(".json") else None
            )
    try:
        check_manifest(unfinished)
    except ValueError:  # going on with it would fail again
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    os.replace(unfinished, folder)


def send_bundle(folder: Path, address: RemoteAddress, key: str = "to") -> int:
    """Send a bundle to a new folder, or the rest of it after an interruption.

    Args:
        folder: the bundle; its manifest is checked.
        address: where to; there is no other bundle.
        key: what the address was given as, for messages.

    Returns:
        How many files were sent; 0 if the bundle is there already, with its card.

    Raises:
        ValueError: if the bundle is damaged, or there is another one.
        OSError: if the store does not take it.
    """
    url, listed = address.url, check_manifest(folder)
    there = read_if_there(f"{url}/{MANIFEST}", key, MAX_BYTES)
    if there is not None and there != (folder / MANIFEST).read_bytes():
        raise ValueError(
            f"`{key}` must be a new folder, since a store cannot replace several files at once, "
            f"but {url} holds another bundle. Name another one, such as {url}-2."
        )
    names = [] if there is not None else [*listed]
    for name in (CARD, EVALUATION):
        path = folder / name
        if path.is_file() and read_if_there(f"{url}/{name}", key, MAX_BYTES) != path.read_bytes():
            names.append(name)
    if there is None:
        names.append(MANIFEST)
    with TemporaryDirectory(prefix="seqae-") as scratch:  # what is sent must not change meanwhile
        for name in names:
            copy = Path(shutil.copyfile(folder / name, Path(scratch) / name))
            send_file(copy, f"{url}/{name}", key)
            copy.unlink()
    return len(names)
