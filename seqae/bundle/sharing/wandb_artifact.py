"""Bundles that runs have logged to Weights & Biases, as artifacts of type `model`.

The client's own settings hold: `wandb login` or WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE. Only the
files of a bundle are fetched, whatever else an artifact has: no code, no pickle.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seqae.bundle.manifest import MANIFEST, PATTERNS
from seqae.bundle.sharing.address import WANDB, ArtifactAddress, LocalBundle
from seqae.data.config import default_cache_dir
from seqae.data.sources.hub_requests import first_line
from seqae.extras import extra

FOLDER = "wandb"  # in the cache; a folder of it for each content, by W&B's digest
OWN_SCHEME = "wandb-artifact:"  # of a file that is kept with another artifact
_DIGEST = re.compile(r"[0-9a-zA-Z_-]{8,128}")


def fetch(
    address: ArtifactAddress, key: str = "model", local_files_only: bool = False
) -> LocalBundle:
    """Fetch the bundle of an artifact into the cache, unless it has that content.

    Args:
        address: of the artifact.
        key: what the address was given as, for messages.
        local_files_only: refused, since only W&B knows which version an alias is.

    Returns:
        The folder, which is not checked yet; and the address with the version that the alias was
        resolved to once, before any file was fetched.

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
        artifact = wandb.Api().artifact(address.path)
        names = [name for name in artifact.manifest.entries if _is_of_bundle(name)]
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
        for entry in entries:
            entry.download(root=str(folder))
    except ValueError as error:
        if str(error).startswith(f"`{key}`"):
            raise
        raise _not_fetched(error, address, key) from error
    except Exception as error:  # of the client and of the libraries that it speaks HTTP with
        raise _not_fetched(error, address, key) from error
    place = address.path.rpartition(":")[0]
    return LocalBundle(folder, f"{WANDB}{place}:{artifact.version}")


def _is_of_bundle(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and "/" not in name


def _folder(artifact: Any) -> Path:
    digest = str(artifact.digest)
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"the artifact's digest is {digest[:40]!r}")
    folder = default_cache_dir() / FOLDER / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _not_fetched(error: Exception, address: ArtifactAddress, key: str) -> OSError:
    return ConnectionError(
        f"`{key}` must be an artifact that you may read, but {address} cannot be fetched instead "
        f"({first_line(error)}). Check its name, and log in: `wandb login`."
    )
