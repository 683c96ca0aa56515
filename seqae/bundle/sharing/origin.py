"""Copies of bundles that were fetched, and the record of where they came from.

`origin.json` lies beside the files of such a copy. It holds only as long as the manifest is the one
that was fetched, is no part of the bundle, and stays at home when the copy is pushed.
"""

from __future__ import annotations

import json
from pathlib import Path

from seqae.bundle.find_bundle import is_own_file
from seqae.bundle.manifest import CARD, EVALUATION, MANIFEST, ORIGIN, check_manifest
from seqae.files import replace_folder, reporting, sha256_of
from seqae.remote.url import is_url
from seqae.untrusted import load_json, read_capped

MAX_ORIGIN_BYTES = 4096


def copy_bundle(source: Path, folder: Path, origin: str | None) -> None:
    """Copy the files of a bundle, and no others, to a folder that appears when it is complete.

    Args:
        source: the bundle, which is checked first.
        folder: new, or a bundle, which is replaced; folders above it are made.
        origin: where it was fetched from.

    Raises:
        ValueError: if it is damaged.
        OSError: if it cannot be written.
    """
    contents: dict[str, bytes | Path] = {
        name: source / name for name in [*check_manifest(source), MANIFEST]
    }
    contents |= {name: source / name for name in (CARD, EVALUATION) if _is_file(source / name)}
    if origin is not None:
        record = {"origin": origin, "manifest": sha256_of(source / MANIFEST)}
        contents[ORIGIN] = (json.dumps(record, indent=2) + "\n").encode()
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(folder, contents)


def _is_file(path: Path) -> bool:
    return path.is_file() and is_own_file(path)


def read_origin(folder: Path) -> str | None:
    """Read where the bundle of a folder was fetched from; None if it was not, or has changed."""
    try:
        record = load_json(read_capped(folder / ORIGIN, MAX_ORIGIN_BYTES))
        is_unchanged = record["manifest"] == sha256_of(folder / MANIFEST)
        origin = record["origin"]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    # An address, and no path of some machine.
    is_address = (
        isinstance(origin, str)
        and origin.isprintable()
        and (origin.startswith(("hf:", "wandb:")) or is_url(origin))
    )
    return origin if is_unchanged and is_address else None
