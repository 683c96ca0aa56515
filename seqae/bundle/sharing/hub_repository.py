"""Bundles in repositories of the Hugging Face hub.

The client's own cache, token and settings hold: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
Only the files of a bundle are fetched, whatever else a repository has: no code, no pickle.
"""

from __future__ import annotations

import sys
from pathlib import Path

from seqae.bundle.manifest import MANIFEST, PATTERNS
from seqae.bundle.sharing.address import COMMIT, HUB, HubAddress, LocalBundle
from seqae.data.sources.hubs.hub_requests import (
    TIMEOUT_SECONDS,
    first_line,
    local_failure,
    patiently,
    quiet_client,
    refusal,
)
from seqae.extras import extra
from seqae.files import atomic_write
from seqae.version import __version__

MAIN = "main"


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
        ValueError: if the repository holds no bundle.
        FileNotFoundError: if there is no such repository or revision, or not in the cache.
        PermissionError: if it may not be read.
        OSError: if the hub cannot be reached, or the disk is full.
    """
    with extra("hub"):
        from huggingface_hub import constants, snapshot_download

    with quiet_client():
        is_local = local_files_only or bool(constants.HF_HUB_OFFLINE)
        commit = None if is_local else _find_commit(address, key)
        try:
            snapshot = patiently(
                lambda: snapshot_download(
                    address.repository,
                    revision=commit or address.revision,
                    allow_patterns=list(PATTERNS),
                    local_files_only=commit is None,
                    library_name="seqae",
                    library_version=__version__,
                )
            )
        except Exception as error:  # of the client and of the library that it speaks HTTP with
            raise _not_fetched(error, address, key, constants.HF_HUB_CACHE, commit) from error
    folder = Path(snapshot)
    if commit is not None:
        _record(folder, address.revision or MAIN, commit)
    return LocalBundle(folder, f"{HUB}{address.repository}@{folder.name}")


def _find_commit(address: HubAddress, key: str) -> str | None:
    """Ask which commit a revision is; None if the hub cannot be reached."""
    with extra("hub"):
        from huggingface_hub import HfApi, try_to_load_from_cache

    name, revision = address.repository, address.revision
    is_commit = revision is not None and COMMIT.fullmatch(revision) is not None
    if is_commit and isinstance(try_to_load_from_cache(name, MANIFEST, revision=revision), str):
        return revision
    api = HfApi(library_name="seqae", library_version=__version__)
    try:
        info = patiently(lambda: api.model_info(name, revision=revision, timeout=TIMEOUT_SECONDS))
    except Exception as error:  # of the client and of the library that it speaks HTTP with
        if (told := refusal(error, key, "model", name, revision)) is not None:
            raise told from error
        print(
            f"seqae: the hub cannot be reached ({first_line(error)}), so {address} is looked for "
            f"in the cache",
            file=sys.stderr,
        )
        return None
    if MANIFEST not in [sibling.rfilename for sibling in info.siblings or ()]:
        raise ValueError(
            f"`{key}` must be a repository that holds a bundle of seqae, but {address} has no "
            f"{MANIFEST} instead. Check the name and the revision."
        )
    return str(info.sha)


def _record(snapshot: Path, revision: str, commit: str) -> None:
    """Write into the cache which commit a revision is, as the client does, for times offline."""
    record = snapshot.parents[1] / "refs" / revision
    is_known = record.is_file() and record.read_text().strip() == commit
    if revision != commit and not is_known:
        record.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(record, commit)


def _not_fetched(
    error: Exception, address: HubAddress, key: str, cache: str, commit: str | None
) -> Exception:
    """Make the one line for a download that failed."""
    told = refusal(error, key, "model", address.repository, address.revision)
    if told is None and error.__cause__ is not None:  # what the client found before its cache
        told = refusal(error.__cause__, key, "model", address.repository, address.revision)
    if told is not None or (told := local_failure(error, cache)) is not None:
        return told
    if commit is None:
        return FileNotFoundError(
            f"`{key}` must have been fetched before it is used without a network, but {address} is "
            f"not whole in {cache} instead. Connect, and fetch it: `seqae pull {address}`."
        )
    return ConnectionError(
        f"`{key}` must be fetched to its end, but {address} was not instead ({first_line(error)}). "
        f"Run the same command again; it goes on where it stopped."
    )
