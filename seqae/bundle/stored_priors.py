"""Priors in a bundle: each in a file of its own, `prior_KIND.safetensors`.

The header's metadata has, as JSON, how the prior was built and what fitting has found beside its
tensors. Bundles of before 0.2 have `density.safetensors` instead, whose tensors are those of the
mixture, and so of the Gaussian too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from seqae.bundle.manifest import (
    DENSITY,
    MANIFEST,
    PRIOR,
    check_manifest,
    is_prior_file,
    manifest_to_bytes,
    prior_files,
    read_manifest,
)
from seqae.bundle.weights import read_metadata, read_weights, weights_to_bytes
from seqae.files import atomic_write
from seqae.priors import GaussianPrior, MixturePrior, Prior
from seqae.priors.base import MAX_DIM
from seqae.untrusted import load_json


def prior_to_bytes(prior: Prior) -> bytes:
    """Serialise a fitted prior.

    Raises:
        ValueError: if a value is not finite.
    """
    described = json.dumps({"prior": prior.config(), "found": prior.found()})
    return weights_to_bytes(prior.tensors(), metadata={"seqae": described})


def prior_file(kind: str) -> str:
    """Return the name of the file of a prior."""
    return f"prior_{kind}.safetensors"


def read_priors(folder: Path, latent_dim: int) -> dict[str, Prior]:
    """Read the priors of a bundle, whose files the manifest has confirmed, by kind.

    Args:
        folder: the bundle.
        latent_dim: Z of its model.

    Raises:
        ValueError: if a file is damaged, or holds no prior of such latents.
    """
    priors: dict[str, Prior] = {}
    for name in prior_files(folder):
        path = folder / name
        read = _read_density if name == DENSITY else _read_prior
        try:
            if latent_dim > MAX_DIM:
                raise ValueError(
                    f"a prior must be of latents of at most {MAX_DIM:,} dimensions, but the "
                    f"model's have {latent_dim:,}"
                )
            priors |= read(path, latent_dim)
        except ValueError as error:
            raise ValueError(
                f"{path} holds no prior of this model: {str(error).rstrip('.')}. Get the bundle "
                f"again."
            ) from error
    return priors


def _read_prior(path: Path, latent_dim: int) -> dict[str, Prior]:
    described = load_json(read_metadata(path).get("seqae", "").encode())
    if not isinstance(described, dict) or set(described) != {"prior", "found"}:
        raise ValueError("its header must say `prior` and `found`, but it does not")
    prior, found = Prior.from_config(described["prior"]), described["found"]
    match = PRIOR.fullmatch(path.name)
    if not isinstance(found, dict) or match is None or prior.kind != match[1]:
        raise ValueError(f"its header is that of another prior, {prior.kind}")
    prior.restore(read_weights(path, prior.expected_tensors(latent_dim, found)), found)
    return {prior.kind: prior}


def _read_density(path: Path, latent_dim: int) -> dict[str, Prior]:
    gaussian, mixture = GaussianPrior(), MixturePrior()
    tensors = read_weights(path, mixture.expected_tensors(latent_dim, {}))
    gaussian.restore(tensors, {})
    mixture.restore(tensors, {})
    return {gaussian.kind: gaussian, mixture.kind: mixture}


def add_priors(folder: Path, priors: Mapping[str, Prior]) -> None:
    """Put priors into a bundle, and replace those of their kinds, even damaged ones.

    A process that is killed between a prior and the manifest leaves a bundle that cannot be
    loaded; calling this again repairs it. The `density.safetensors` of an older bundle goes when
    both of its priors are replaced.

    Raises:
        ValueError: if the folder is no bundle, or another file of it is damaged.
        OSError: if writing failed; the bundle then has the old or the new prior of each kind.
    """
    check_manifest(folder, with_priors=False)
    for prior in priors.values():
        _replace(folder, prior_file(prior.kind), prior_to_bytes(prior))
    if {*map(prior_file, (GaussianPrior.kind, MixturePrior.kind))} <= {*prior_files(folder)}:
        remove_prior(folder, DENSITY)


def remove_prior(folder: Path, name: str) -> None:
    """Take a file of priors out of a bundle.

    Raises:
        ValueError: if the folder is no bundle, or another file than those of priors is damaged.
        OSError: if it cannot be written.
    """
    digests = check_manifest(folder, with_priors=False) | _listed_priors(folder)
    if digests.pop(name, None) is None and not (folder / name).exists():
        return
    atomic_write(folder / MANIFEST, manifest_to_bytes(digests))
    (folder / name).unlink(missing_ok=True)


def _listed_priors(folder: Path) -> dict[str, str]:
    """Return what the manifest says of the priors that are there."""
    return {
        name: digest
        for name, digest in read_manifest(folder).items()
        if is_prior_file(name) and (folder / name).is_file()
    }


def _replace(folder: Path, name: str, data: bytes) -> None:
    digests = check_manifest(folder, with_priors=False) | _listed_priors(folder)
    path, kept = folder / name, folder / f".{name}.old"
    kept.unlink(missing_ok=True)  # left by a process that was killed
    if path.exists():
        os.link(path, kept)  # a link can be restored on a full disk
    manifest = manifest_to_bytes({**digests, name: hashlib.sha256(data).hexdigest()})
    try:
        atomic_write(path, data)
        atomic_write(folder / MANIFEST, manifest)
    except OSError:
        # If only the sync after the last rename failed, both new files are in place: keep them.
        if (folder / MANIFEST).read_bytes() != manifest:
            if kept.exists():
                os.replace(kept, path)
            else:
                path.unlink(missing_ok=True)
        kept.unlink(missing_ok=True)
        raise
    kept.unlink(missing_ok=True)
