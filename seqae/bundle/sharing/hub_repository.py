"""Bundles in repositories of the Hugging Face hub.

The client's own cache, token and settings hold: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
Only the files of a bundle are fetched, whatever else a repository has: no code, no pickle.
"""

from __future__ import annotations

import sys
from pathlib import Path

from seqae.bundle.manifest import CARD, DENSITY, FILES, MANIFEST
from seqae.bundle.sharing.address import COMMIT, HUB, HubAddress, LocalBundle
from seqae.data.sources.hub_requests import (
    TIMEOUT_SECONDS,
    first_line,
    local_failure,
    patiently,
    refusal,
)
from seqae.extras import extra
from seqae.version import __version__

PATTERNS = (*FILES, MANIFEST, CARD, DENSITY, "prior_*.safetensors")


def fetch(address: HubAddress, key: str = "model", local_files_only: bool = False) -> LocalBundle:
    """Fetch the bundle of a repository into the client's cache, unless it has that commit.

    Args:
        address: of the repository.
        key: what the address was given as, for messages.
        local_files_only: take what was fetched earlier, and ask no server.

    Returns:
        The folder, which is not checked yet; and the address with the commit, to which the
        revision was resolved once, before any file was fetched.

    Raises:
        FileNotFoundError: if there is no such repository or revision, or not in the cache.
        PermissionError: if it may not be read.
        OSError: if the hub cannot be reached, or the disk is full.
    """
    with extra("hub"):
        from huggingface_hub import constants, snapshot_download

    name, asked = address.repository, address.revision
    is_local = local_files_only or bool(constants.HF_HUB_OFFLINE)
    commit = None if is_local else _find_commit(address, key)
    try:
        snapshot = snapshot_download(
            name,
            revision=commit or asked,
            allow_patterns=list(PATTERNS),
            local_files_only=commit is None,
            library_name="seqae",
            library_version=__version__,
        )
    except Exception as error:  # of the client and of the library that it speaks HTTP with
        if (told := refusal(error, key, "model", name, asked)) is not None:
            raise told from None
        if (failure := local_failure(error, constants.HF_HUB_CACHE)) is not None:
            raise failure from error
        if commit is None:
            raise FileNotFoundError(
                f"`{key}` must have been fetched before it is used without a network, but "
                f"{address} is not whole in {constants.HF_HUB_CACHE} instead. Connect, and fetch "
                f"it: `seqae pull {address}`."
            ) from None
        raise ConnectionError(
            f"`{key}` must be fetched to its end, but {address} was not instead "
            f"({first_line(error)}). Run the same command again; it goes on where it stopped."
        ) from error
    folder = Path(snapshot)
    if commit is not None:
        _record(folder, address, commit)
    return LocalBundle(folder, f"{HUB}{name}@{folder.name}")


def _find_commit(address: HubAddress, key: str) -> str | None:
    """Ask which commit a revision is; None if the hub cannot be reached."""
    from huggingface_hub import HfApi

    if address.revision is not None and COMMIT.fullmatch(address.revision):
        return address.revision
    api = HfApi(library_name="seqae", library_version=__version__)
    try:
        info = patiently(
            lambda: api.model_info(
                address.repository, revision=address.revision, timeout=TIMEOUT_SECONDS
            )
        )
    except Exception as error:  # of the client and of the library that it speaks HTTP with
        if (told := refusal(error, key, "model", address.repository, address.revision)) is not None:
            raise told from None
        print(
            f"seqae: the hub cannot be reached ({first_line(error)}); {address} is taken from the "
            f"cache, if it is there",
            file=sys.stderr,
        )
        return None
    return str(info.sha)


def _record(snapshot: Path, address: HubAddress, commit: str) -> None:
    """Write into the cache which commit the revision is, as the client does, for times offline."""
    from seqae.files import atomic_write

    name = address.revision or "main"
    if name == commit:
        return
    record = snapshot.parents[1] / "refs" / name
    if not record.is_file() or record.read_text().strip() != commit:
        record.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(record, commit)
