"""Bundles that runs have logged to Weights & Biases, as artifacts of type `model`.

The client's own settings hold: `wandb login` or WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE. Only the
files of a bundle are fetched, whatever else an artifact has: no code, no pickle.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqae.bundle.manifest import MANIFEST, PATTERNS, check_manifest
from seqae.bundle.sharing.address import WANDB, ArtifactAddress, LocalBundle
from seqae.data.config import default_cache_dir
from seqae.data.sources.hubs.hub_requests import TIMEOUT_SECONDS, first_line
from seqae.extras import extra

FOLDER = "wandb"  # in the cache; it has a folder for each content
OWN_SCHEME = "wandb-artifact:"  # of a file that is kept with another artifact


def fetch(
    address: ArtifactAddress, key: str = "model", local_files_only: bool = False
) -> LocalBundle:
    """Fetch the bundle of an artifact into the cache, unless it has that content.

    Args:
        address: of the artifact.
        key: what the address was given as, for messages.
        local_files_only: refused, since only W&B knows which version an alias is.

    Returns:
        The folder, which was checked when it was fetched; and the address with the version that
        the alias was resolved to once, before any file was fetched.

    Raises:
        ValueError: if the artifact holds no bundle.
        OSError: if it is not there, may not be read, or cannot be fetched.
    """
    if local_files_only or os.environ.get("WANDB_MODE") == "offline":
        raise FileNotFoundError(
            f"`{key}` must be a folder where W&B is not asked, but it is {address} instead. Fetch "
            f"it before: `seqae pull {address} --output my_bundle`."
        )
    with extra("wandb"):
        import wandb
    try:
        artifact = wandb.Api(timeout=TIMEOUT_SECONDS).artifact(address.path)
        listed = [*artifact.manifest.entries]
    except Exception as error:  # of the client and of the libraries that it speaks HTTP with
        raise _not_fetched(error, address, key) from error
    names = [name for name in listed if _is_of_bundle(name)]
    if MANIFEST not in names:
        raise ValueError(
            f"`{key}` must be an artifact that holds a bundle of seqae, but {address} has no "
            f"{MANIFEST} instead. Check the name and the alias."
        )
    entries = [artifact.get_entry(name) for name in names]
    if any(not str(entry.ref or OWN_SCHEME).startswith(OWN_SCHEME) for entry in entries):
        raise ValueError(
            f"`{key}` must be an artifact whose files W&B keeps, but {address} refers to other "
            f"servers, or to files of this machine, instead. Ask for one with the files in it."
        )
    folder = _folder(artifact)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            new = Path(scratch) / "bundle"
            new.mkdir()
            try:
                for entry in entries:
                    entry.download(root=str(new))
            except Exception as error:  # as above, and of the disk
                raise _not_fetched(error, address, key) from error
            check_manifest(new)
            with suppress(OSError):  # another process has been faster
                new.rename(folder)
    place = address.path.rpartition(":")[0]
    return LocalBundle(folder, f"{WANDB}{place}:{artifact.version}")


def _is_of_bundle(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and "/" not in name


def _folder(artifact: Any) -> Path:
    """Name the folder of the cache for a content, as this server names it."""
    server = os.environ.get("WANDB_BASE_URL", "")
    content = sha256(f"{server} {artifact.digest}".encode()).hexdigest()
    return default_cache_dir() / FOLDER / content


def _not_fetched(error: Exception, address: ArtifactAddress, key: str) -> OSError:
    return ConnectionError(
        f"`{key}` must be an artifact that you may read, but {address} cannot be fetched instead "
        f"({first_line(error)}). Check its name, and log in: `wandb login`."
    )
