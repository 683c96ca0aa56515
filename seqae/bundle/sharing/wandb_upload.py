"""Bundles as artifacts of Weights & Biases: what is said of one, and how `seqae push` sends it.

The client's own settings hold, as for fetching (wandb_artifact.py). Where it is offline the
artifact is kept on this machine, for `wandb sync`. A link in a registry cannot be kept, so it is
refused before anything is computed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from seqae.bundle.io import load
from seqae.bundle.sharing.address import WANDB, ArtifactAddress
from seqae.data.sources.hubs.hub_requests import first_line
from seqae.extras import extra
from seqae.untrusted import load_json, read_capped
from seqae.version import __version__

REGISTRY = "wandb-registry-"  # begins the project of a registry
PROJECT = "seqae"  # of a run that only links: a registry has no runs
VERSION = re.compile(r"v\d+")


@final
@dataclass(frozen=True)
class Sent:
    """An artifact that was sent, or kept.

    Attributes:
        address: of the version, or as it was given where only the server numbers it.
        kept_in: the folder for `wandb sync` where W&B is offline; None if it was sent.
    """

    address: str
    kept_in: str | None


def registry_path(text: str, key: str) -> ArtifactAddress:
    """Parse a collection of a registry.

    Args:
        text: [wandb:][ORGANISATION/]wandb-registry-NAME/COLLECTION[:ALIAS].
        key: what it was given as, for messages.

    Raises:
        ValueError: if it has another form.
    """
    try:
        address = ArtifactAddress.parse(f"{WANDB}{text.removeprefix(WANDB)}", key)
    except ValueError:
        address = None
    if address is None or not is_registry(address):
        raise ValueError(
            f"`{key}` must be written {REGISTRY}NAME/COLLECTION[:ALIAS], but it is {text!r} "
            f"instead. Write it like {REGISTRY}model/sentence-encoders:best."
        )
    return address


def is_registry(address: ArtifactAddress) -> bool:
    """Whether an address leads to a collection of a registry, not to a project."""
    return address.project.startswith(REGISTRY)


def check_sendable(address: ArtifactAddress, key: str) -> None:
    """Refuse what could not be sent in the end; starts and asks nothing.

    Args:
        address: where to.
        key: what it was given as, for messages.

    Raises:
        ValueError: if W&B is switched off, the alias is one that it gives itself, or a registry is
            to be linked where it is offline.
    """
    mode = wandb_mode()
    if mode == "disabled":
        raise ValueError(
            f"`{key}` must be left out where WANDB_MODE is disabled, but it is {address} instead. "
            f"Set WANDB_MODE to online or offline."
        )
    if is_registry(address) and mode in ("offline", "dryrun"):
        raise ValueError(
            f"`{key}` must be a project where W&B is offline, which cannot link a registry later, "
            f"but it is {address} instead. Name {WANDB}PROJECT/NAME, or go online: `wandb online`."
        )
    if VERSION.fullmatch(address.alias):
        raise ValueError(
            f"`{key}` must name an alias of your own, but it is {address.alias} instead, and W&B "
            f"numbers versions itself. Leave it out, or write one like best."
        )


def wandb_mode() -> str:
    """Return the mode of the client: online, offline (as by `wandb offline`) or disabled."""
    given = os.environ.get("WANDB_MODE")
    if given:
        return given
    with extra("wandb"):
        import wandb
    return str(wandb.setup().settings.mode)


def artifact_of(folder: Path, name: str, description: str | None = None) -> Any:
    """Make the artifact of a bundle, of type `model`, with what was measured as its metadata.

    Args:
        folder: the bundle.
        name: of the artifact.
        description: what a person says of it.
    """
    with extra("wandb"):
        import wandb

    names = ("config", "metrics", "training")
    config, metrics, training = (load_json(read_capped(folder / f"{n}.json")) for n in names)
    metadata = {
        "metrics": metrics,
        "tokenizer_sha256": config["tokenizer_sha256"],
        "max_length": config["max_length"],
        "latent_dim": load(folder, with_priors=False).autoencoder.latent_dim,
        "optimizer_steps": training.get("optimizer_steps"),
        "data": training.get("data"),
        "splits": training.get("corpus", {}).get("splits", {}),  # sentences, tokens and hashes
        "seqae": __version__,
    }
    artifact = wandb.Artifact(name, type="model", description=description, metadata=metadata)
    artifact.add_dir(str(folder))
    return artifact


def link(run: Any, artifact: Any, collection: ArtifactAddress) -> None:
    """Link an artifact that a run has logged to a collection of a registry."""
    path, _, alias = collection.path.rpartition(":")
    run.link_artifact(artifact, path, aliases=[] if alias == "latest" else [alias])


def send(
    folder: Path, address: ArtifactAddress, message: str | None = None, key: str = "to"
) -> Sent:
    """Send a bundle, in a run of its own.

    Args:
        folder: the bundle, which was checked.
        address: a project and the artifact's name and alias; or a collection of a registry, to
            which the artifact is linked from the project `seqae`.
        message: the description of this version.
        key: what the address was given as, for messages.

    Raises:
        ValueError: as `check_sendable`.
        OSError: if it cannot be sent.
    """
    check_sendable(address, key)
    with extra("wandb"):
        import wandb

    project = PROJECT if is_registry(address) else address.project
    entity = None if is_registry(address) else address.entity
    artifact = artifact_of(folder, address.name, message)
    quiet = wandb.Settings(silent=True, console="off")
    try:
        with wandb.init(project=project, entity=entity, job_type="push", settings=quiet) as run:
            aliases = ["latest"]
            if address.alias != "latest" and not is_registry(address):
                aliases.append(address.alias)
            logged = run.log_artifact(artifact, aliases=aliases)
            if run.offline:
                return Sent(str(address), str(Path(run.dir).parent))
            logged.wait()
            if is_registry(address):
                link(run, logged, address)
            return Sent(f"{WANDB}{run.entity}/{project}/{logged.name}", None)
    except Exception as error:  # of the client and of the libraries that it speaks HTTP with
        raise ConnectionError(
            f"`{key}` must be a place of W&B that you may write to, but {address} is none, or "
            f"cannot be reached, instead ({first_line(error)}). Check its name, and log in: "
            f"`wandb login`."
        ) from error
