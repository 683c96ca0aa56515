"""Send a bundle to a repository of the Hugging Face hub, as one commit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from seqae.bundle.find_bundle import is_own_file
from seqae.bundle.manifest import CARD, EVALUATION, MANIFEST, check_manifest, is_prior_file
from seqae.bundle.sharing.address import COMMIT, HubAddress
from seqae.bundle.sharing.hub_repository import MAIN
from seqae.data.sources.hubs.hub_requests import first_line, patiently, quiet_client, refusal
from seqae.extras import extra
from seqae.version import __version__

MESSAGE = "Upload a seqae bundle"


@final
@dataclass(frozen=True)
class Uploaded:
    """What became of a bundle.

    Attributes:
        address: of the repository, at the commit that holds it.
        page: of the commit, or of the pull request.
    """

    address: HubAddress
    page: str


def upload(
    folder: Path,
    address: HubAddress,
    private: bool = False,
    create_pr: bool = False,
    message: str | None = None,
    key: str = "to",
) -> Uploaded:
    """Send a bundle to a repository, which is made if there is none.

    What an earlier bundle had there and this one has not, such as a prior, is deleted in the same
    commit. Other files of the repository stay.

    Args:
        folder: the bundle; its manifest is checked, its self-test is the caller's to repeat.
        address: of the repository; its revision is a branch, which is made if there is none, or
            the `refs/pr/N` of a pull request.
        private: make a repository that others cannot see.
        create_pr: propose the commit as a pull request.
        message: of the commit.
        key: what the address was given as, for messages.

    Raises:
        ValueError: if the bundle is damaged, or the options do not go together.
        PermissionError: if the repository may not be written.
        OSError: if the hub cannot be reached, or somebody else has just pushed.
    """
    with extra("hub"):
        from huggingface_hub import HfApi

    files = _files(folder)
    _check_options(address, create_pr, private)
    api, name = HfApi(library_name="seqae", library_version=__version__), address.repository
    with quiet_client():
        with _in_one_line(address, key):
            if not create_pr:
                patiently(lambda: api.create_repo(name, private=private or None, exist_ok=True))
                _make_branch(api, address)
            info = patiently(lambda: api.model_info(name, revision=address.revision))
        if private and not info.private:
            raise ValueError(
                f"`private` must be left out for a repository that is there already, but {name} is "
                f"there and public instead. Make it private on its page first."
            )
        there = [sibling.rfilename for sibling in info.siblings or ()]
        stale = [path for path in there if is_prior_file(path) and path not in files]
        with _in_one_line(address, key):
            done = patiently(
                lambda: api.upload_folder(
                    repo_id=name,
                    folder_path=folder,
                    allow_patterns=files,
                    delete_patterns=stale or None,
                    revision=address.revision,
                    create_pr=create_pr,
                    parent_commit=info.sha,
                    commit_message=message or MESSAGE,
                )
            )
    return Uploaded(HubAddress(name, str(done.oid)), str(done.pr_url or done.commit_url))


def _files(folder: Path) -> list[str]:
    """List the files of a bundle, and refuse one that leads to another place on this machine."""
    files = [*check_manifest(folder), MANIFEST]
    for name in (CARD, EVALUATION):  # which the manifest does not list
        path = folder / name
        if os.path.lexists(path) and not is_own_file(path):
            raise ValueError(
                f"`{name}` in {folder} must be a file, but it is a link or no regular file "
                f"instead. Remove it, or write the text into it."
            )
        if path.is_file():
            files.append(name)
    return files


def _check_options(address: HubAddress, create_pr: bool, private: bool) -> None:
    revision = address.revision
    if revision is not None and COMMIT.fullmatch(revision):
        raise ValueError(
            f"`revision` must be a branch to push to, but it is the commit {revision} instead. "
            f"Leave it out for the main branch, or name a new one."
        )
    if create_pr and revision not in (None, MAIN):
        raise ValueError(
            f"`create_pr` must be left out beside a revision, but that is {revision} instead: a "
            f"pull request is made for the main branch. Leave one of them out."
        )
    if create_pr and private:
        raise ValueError(
            "`private` must be left out beside `create_pr`, which changes a repository that is "
            "there, but it is given instead. Leave one of them out."
        )


def _make_branch(api: Any, address: HubAddress) -> None:
    branch = address.revision
    if branch is not None and branch != MAIN and not branch.startswith("refs/"):
        patiently(lambda: api.create_branch(address.repository, branch=branch, exist_ok=True))


@contextmanager
def _in_one_line(address: HubAddress, key: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the client and of the library that it speaks HTTP with
        raise _not_sent(error, address, key) from error


def _not_sent(error: Exception, address: HubAddress, key: str) -> Exception:
    """Make the one line for an upload that failed."""
    with extra("hub"):
        from huggingface_hub.errors import HfHubHTTPError

    name = address.repository
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if (told := refusal(error, key, "model", name, address.revision)) is not None:
        return told
    if status == 403:
        return PermissionError(
            f"`{key}` must be a repository that you may write, but {name} is not instead. Log in "
            f"with a token that may, `hf auth login`; or name one of yours; or propose the change "
            f"to its owner with `--create_pr`."
        )
    if status == 412:
        return ConnectionError(
            f"`{key}` must stay as it is while a bundle is sent, but somebody else has just pushed "
            f"to {name} instead. Run the same command again."
        )
    return ConnectionError(
        f"`{key}` must be a repository that can be reached and takes the bundle, but {address} "
        f"does not instead ({first_line(error)}). Run the same command again; what was sent is "
        f"not sent twice."
    )
