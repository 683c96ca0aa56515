"""Addresses of bundles, and the folder on this machine that any of them means.

    hf:OWNER/NAME[@REVISION]               a repository of the Hugging Face hub
    wandb:[ENTITY/]PROJECT/NAME[:ALIAS]    an artifact of Weights & Biases
    s3://BUCKET/FOLDER, gs://..., https:// a folder of a store or a web server

Whatever names a model may be such an address, a bundle's folder, the folder of a run, or `demo`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import final

from seqae.bundle.find_bundle import bundle_folder
from seqae.bundle.manifest import check_manifest
from seqae.bundle.sharing.origin import read_origin
from seqae.remote.url import check_url, is_url

HUB, WANDB = "hf:", "wandb:"

# As the hub itself has it: letters, digits and single - _ . within, at most 96 characters.
_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_HUB = re.compile(rf"(?P<owner>{_PART})/(?P<name>{_PART})(?:@(?P<revision>[^\s@]+))?", re.ASCII)
_REVISION = re.compile(r"[\w][\w./+-]*", re.ASCII)
_WEB_PAGE = re.compile(
    r"(?:hf://|https?://(?:www\.)?(?:huggingface\.co|hf\.co)/)(?:models/)?"
    r"(?P<repository>[\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(?P<revision>[\w.-]+))?(?:[/?#].*)?",
    re.ASCII,
)
_WANDB = re.compile(
    r"(?:(?P<entity>[\w.-]+)/)?(?P<project>[\w. -]+)/(?P<name>[\w.-]+)(?::(?P<alias>[^\s/:]+))?",
    re.ASCII,
)
COMMIT = re.compile(r"[0-9a-f]{40}")


@final
@dataclass(frozen=True)
class HubAddress:
    """A repository of the Hugging Face hub.

    Attributes:
        repository: OWNER/NAME.
        revision: a branch, a tag, `refs/pr/N` or a commit; None is the main branch.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, key: str = "model") -> HubAddress:
        """Parse an address.

        Args:
            text: begins with `hf:`.
            key: what the address was given as, for the message.

        Raises:
            ValueError: if it has another form.
        """
        match = _HUB.fullmatch(text.removeprefix(HUB))
        if match is None or not text.startswith(HUB) or match["name"].endswith(".git"):
            raise _refusal(key, "hf:OWNER/NAME[@REVISION]", text, _example(text))
        address = cls(f"{match['owner']}/{match['name']}")
        return address.at(match["revision"], key)

    def at(self, revision: str | None, key: str = "revision") -> HubAddress:
        """Return the address of another revision of the repository; None changes nothing.

        Raises:
            ValueError: if it cannot be the name of one, or the address already has another one.
        """
        if revision is None or revision == self.revision:
            return self
        if _REVISION.fullmatch(revision) is None or ".." in revision:
            raise ValueError(
                f"`{key}` must name a branch, a tag or a commit, but {revision!r} cannot be the "
                f"name of one instead. Write it like main, v1.0 or refs/pr/1."
            )
        if self.revision is not None:
            raise _given_twice(key, self.revision, revision)
        return replace(self, revision=revision)

    def __str__(self) -> str:
        """Write it as people give it."""
        return f"{HUB}{self.repository}" + (f"@{self.revision}" if self.revision else "")


@final
@dataclass(frozen=True)
class ArtifactAddress:
    """An artifact of Weights & Biases.

    Attributes:
        entity: the team or user; None is the one that W&B takes by default.
        project: or a registry, `wandb-registry-NAME`.
        name: of the artifact, or of the registry's collection.
        alias: a version or a name of one: v3, latest, best.
    """

    entity: str | None
    project: str
    name: str
    alias: str = "latest"

    @classmethod
    def parse(cls, text: str, key: str = "model") -> ArtifactAddress:
        """Parse an address.

        Args:
            text: begins with `wandb:`.
            key: what the address was given as, for the message.

        Raises:
            ValueError: if it has another form.
        """
        match = _WANDB.fullmatch(text.removeprefix(WANDB))
        if match is None or not text.startswith(WANDB):
            example = "wandb:my-team/my-project/my-model:best"
            raise _refusal(key, "wandb:[ENTITY/]PROJECT/NAME[:ALIAS]", text, example)
        entity, project, name, alias = match.groups()
        return cls(entity, project, name, alias or "latest")

    def at(self, revision: str | None, key: str = "revision") -> ArtifactAddress:
        """Return the address of another alias; None changes nothing.

        Raises:
            ValueError: if the address already has another one.
        """
        if revision is None or revision == self.alias:
            return self
        if self.alias != "latest":
            raise _given_twice(key, self.alias, revision)
        return ArtifactAddress.parse(f"{WANDB}{self.path.rpartition(':')[0]}:{revision}", key)

    @property
    def path(self) -> str:
        """What W&B itself calls the artifact: ENTITY/PROJECT/NAME:ALIAS."""
        return "/".join(filter(None, (self.entity, self.project, f"{self.name}:{self.alias}")))

    def __str__(self) -> str:
        """Write it as people give it."""
        return f"{WANDB}{self.path}"


@final
@dataclass(frozen=True)
class RemoteAddress:
    """A folder of a store, or of a web server.

    Attributes:
        url: from `check_url`, and so without credentials.
    """

    url: str

    @classmethod
    def parse(cls, text: str, key: str = "model", is_written: bool = False) -> RemoteAddress:
        """Parse an address.

        Args:
            text: for which `is_url` holds.
            key: what the address was given as, for the message.
            is_written: whether files are written there.

        Raises:
            ValueError: if it is none, or has credentials in it.
        """
        return cls(check_url(text, key, is_written))

    def at(self, revision: str | None, key: str = "revision") -> RemoteAddress:
        """Return the address itself: a store has no revisions.

        Raises:
            ValueError: if one is given.
        """
        if revision is not None:
            raise ValueError(
                f"`{key}` must be left out for {self.url}, which has none, but it is {revision} "
                f"instead. Leave it out."
            )
        return self

    def __str__(self) -> str:
        """Write it as people give it."""
        return self.url


Address = HubAddress | ArtifactAddress | RemoteAddress


@final
@dataclass(frozen=True)
class LocalBundle:
    """A bundle on this machine.

    Attributes:
        folder: of the bundle.
        origin: the address that it was fetched from, at the commit or version that it was found
            to have, by which exactly it can be fetched again; None for a folder of this machine
            that is no unchanged copy of one.
    """

    folder: Path
    origin: str | None = None


def is_address(where: object) -> bool:
    """Say whether `where` is an address, well formed or not, and so no folder."""
    text = str(where)
    return text.startswith((HUB, WANDB)) or _WEB_PAGE.fullmatch(text) is not None or is_url(text)


def parse_address(where: str | Path, key: str = "model") -> Address:
    """Parse an address of any kind.

    Args:
        where: for which `is_address` holds.
        key: what it was given as, for the message.

    Raises:
        ValueError: if it is malformed.
    """
    if is_url(where) and _WEB_PAGE.fullmatch(str(where)) is None:
        return RemoteAddress.parse(str(where), key)
    kind = ArtifactAddress if str(where).startswith(WANDB) else HubAddress
    return kind.parse(str(where), key)


def find_bundle(
    where: str | Path,
    key: str = "model",
    revision: str | None = None,
    local_files_only: bool = False,
) -> LocalBundle:
    """Find a bundle, and fetch it first if `where` is an address; its files are not checked yet.

    Args:
        where: an address, a bundle's folder, the folder of a run, or `demo`.
        key: what it was given as, for messages.
        revision: a branch, a tag or a commit, or an alias of W&B, if the address names none.
        local_files_only: take what was fetched earlier, and ask no server.

    Raises:
        ValueError: if the address is malformed, or what it leads to is no bundle.
        OSError: if it cannot be fetched.
    """
    if not is_address(where):
        if revision is not None:
            raise ValueError(
                f"`revision` must be left out for a folder of this machine, but it is {revision} "
                f"for {where} instead. Leave it out, or give an address: hf:OWNER/NAME."
            )
        folder = bundle_folder(where)
        return LocalBundle(folder, read_origin(folder))
    address = parse_address(where, key).at(revision)
    # Imported by name, because each of them imports this file.
    places = {ArtifactAddress: "wandb_artifact", RemoteAddress: "remote_bundle"}
    place = places.get(type(address), "hub_repository")
    fetch = import_module(f"seqae.bundle.sharing.{place}").fetch
    found: LocalBundle = fetch(address, key=key, local_files_only=local_files_only)
    return found


def find_checked_bundle(
    where: str | Path,
    key: str = "model",
    revision: str | None = None,
    local_files_only: bool = False,
) -> LocalBundle:
    """Do as `find_bundle`, and check each file against the manifest.

    Raises:
        ValueError: also if the bundle is damaged.
        OSError: if it cannot be fetched.
    """
    found = find_bundle(where, key, revision, local_files_only)
    check_manifest(found.folder)
    return found


def own_folder(where: str | Path, key: str = "model") -> Path:
    """Find the folder of a bundle that is written to, and so must lie on this machine.

    Raises:
        ValueError: if `where` is an address.
    """
    if is_address(where):
        raise ValueError(
            f"`{key}` must be a folder of yours, which can be changed, but it is {where} instead. "
            f"Fetch it into one: `seqae pull {where} --output my_bundle`."
        )
    return bundle_folder(where)


def _given_twice(key: str, one: str, other: str) -> ValueError:
    return ValueError(
        f"`{key}` must be given once, but it is {one} in the address and {other} beside it "
        f"instead. Leave one of them out."
    )


def _refusal(key: str, form: str, text: str, example: str) -> ValueError:
    return ValueError(
        f"`{key}` must be written {form}, but it is {text!r} instead. Write it like {example}."
    )


def _example(text: str) -> str:
    """Write the address of a page of the hub, or any."""
    page = _WEB_PAGE.fullmatch(text)
    if page is None:
        return "hf:my-name/my-model or hf:my-name/my-model@v1.0"
    return str(HubAddress(page["repository"], page["revision"]))
