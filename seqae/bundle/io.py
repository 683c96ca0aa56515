"""Read and write bundles: folders to share. JSON and safetensors; no pickle, no path, no code.

    config.json          how to build the model, and the sizes that it was built for
    model.safetensors    its weights
    tokenizer.json       text to token ids and back
    metrics.json         what was measured on it
    training.json        how it was trained: the resolved configuration, steps, tokens
    environment.json     the versions that wrote it
    selftest.json        sentences and their reconstructions, which `seqae check` repeats
    prior_*.safetensors  what latents are drawn from, by kind; optional (stored_priors.py)
    MANIFEST.sha256      a hash of each file above
    README.md            the model card, which may be edited (card/)
    evaluation.json      what was measured beside baselines; optional (card/bundle_evaluation.py)

A new folder is written beside the old one and renamed when it is complete (seqae/files.py). A prior
that is fitted later replaces only its own file and the manifest.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from seqae.bundle.card.facts import CardFacts
from seqae.bundle.card.given import Given, given_in_folder, given_in_training
from seqae.bundle.card.model_card import model_card
from seqae.bundle.manifest import CARD, MANIFEST, check_manifest, manifest_to_bytes
from seqae.bundle.reading import (
    FORMAT,
    LONGEST,
    longest_target,
    read_autoencoder,
    read_config,
    read_details,
    read_normalization,
    read_tokenizer,
)
from seqae.bundle.sharing.address import find_bundle
from seqae.bundle.stored_priors import read_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.weights import weights_to_bytes
from seqae.component import check_literal
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.extras import installed_version
from seqae.files import replace_folder, sha256_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.int8 import ComputeType, check_int8, to_int8
from seqae.version import __version__


def load(
    where: str | Path,
    device: str | torch.device = "cpu",
    with_priors: bool = True,
    revision: str | None = None,
    local_files_only: bool = False,
    compute_type: ComputeType = "float32",
) -> TextAutoencoder:
    """Load a bundle.

    Args:
        where: a bundle's folder; the folder of a run, which has one; `hf:OWNER/NAME[@REVISION]`,
            `wandb:ENTITY/PROJECT/NAME:ALIAS`, or either folder elsewhere, `s3://BUCKET/FOLDER`; or
            `demo`, a small model that ships with seqae, unless a bundle or a run has that name.
        device: where the model computes, by its name in torch; `auto` takes a GPU if there is one.
        with_priors: False ignores the bundle's priors, even damaged ones, which `seqae prior` can
            then fit again.
        revision: of the hub: a branch, a tag or a commit, if the address names none.
        local_files_only: take what was fetched earlier, and ask no server.
        compute_type: `int8` puts the large weights into 8 bits, for a CPU: a quarter of the memory
            for these, and faster where the vocabulary is large; see docs/results.md for the cost.

    Returns:
        The model; its `origin` is the address with the commit that was found.

    Raises:
        ValueError: if it is no bundle or is damaged; nothing in it was run. Or if `compute_type`
            does not fit the device or the processor.
        OSError: if it cannot be fetched.
    """
    check_literal("compute_type", compute_type, ComputeType)
    if compute_type == "int8":
        device = check_int8(device)
    found = find_bundle(where, revision=revision, local_files_only=local_files_only)
    folder = found.folder
    autoencoder, tokenizer, normalization, details = read_bundle(folder, with_priors)
    details["card"] = given_in_folder(folder / CARD).to_plain()
    priors = read_priors(folder, autoencoder.latent_dim) if with_priors else {}
    model = TextAutoencoder(autoencoder, tokenizer, details, normalization, priors)
    model.origin = found.origin
    model.to(device)
    if compute_type == "int8":
        to_int8(model.autoencoder)
    return model


def write_bundle(
    folder: Path,
    autoencoder: SequenceAutoencoder,
    tokenizer: Tokenizer,
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    selftest: list[dict[str, str]],
    normalization: Normalization = Normalization(),  # noqa: B008 - it is frozen
    float_dtype: torch.dtype = torch.float32,
    given: Given | None = None,
) -> None:
    """Write a bundle, and replace the one that may be there.

    Args:
        folder: where; its parent must exist.
        autoencoder: a built model.
        tokenizer: the trained tokenizer that the model was built for.
        metrics: what was measured, by log key.
        training: how the model was trained; plain data.
        selftest: `{"text": ..., "reconstruction": ...}` of a few sentences.
        normalization: what was done to the training text.
        float_dtype: in which weights are stored; in float16 or bfloat16 the folder has half the
            size, and the model computes in float32 with rounded weights.
        given: what a person says of it; else what `training` keeps of that.

    Raises:
        ValueError: if a weight is not finite.
    """
    config = bundle_config(autoencoder, tokenizer, normalization)
    versions = environment()
    known = autoencoder.longest_target
    longest = {LONGEST: known} if known else {}
    contents: dict[str, bytes | Path] = {
        "config.json": to_json(config),
        "model.safetensors": weights_to_bytes(autoencoder.state_dict(), float_dtype),
        "tokenizer.json": tokenizer.to_json().encode(),
        "metrics.json": to_json(dict(metrics)),
        "training.json": to_json({**training, **longest}),
        "environment.json": to_json(versions),
        "selftest.json": to_json(selftest),
    }
    details = {"metrics": metrics, "training": training, "selftest": selftest}
    facts = facts_of(autoencoder, config, details, versions)
    said = given_in_training(training)
    card = model_card(facts, said if given is None else given.over(said))
    replace_folder(folder, seal_bundle(contents, card.encode()))


def bundle_config(
    autoencoder: SequenceAutoencoder, tokenizer: Tokenizer, normalization: Normalization
) -> dict[str, Any]:
    """Return what `config.json` holds."""
    assert autoencoder.vocabulary is not None
    return {
        "format": FORMAT,
        "autoencoder": autoencoder.config(),
        "tokenizer": tokenizer.config(),
        "tokenizer_sha256": tokenizer.fingerprint,
        "vocabulary": asdict(autoencoder.vocabulary),
        "max_length": autoencoder.max_length,
        "normalization": asdict(normalization),
    }


def facts_of(
    autoencoder: SequenceAutoencoder,
    config: Mapping[str, Any],
    details: Mapping[str, Any],
    versions: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None = None,
) -> CardFacts:
    """Collect what a card is made of.

    Args:
        autoencoder: a built model.
        config: what `config.json` holds.
        details: `metrics`, `training` and `selftest`.
        versions: what `environment.json` holds.
        evaluation: what was measured on it beside baselines.
    """
    return CardFacts(
        config,
        details["metrics"],
        details["training"],
        versions,
        details["selftest"],
        evaluation,
        autoencoder.latent_dim,
        sum(weight.numel() for weight in autoencoder.parameters()),
    )


def seal_bundle(contents: Mapping[str, bytes | Path], card: bytes) -> dict[str, bytes | Path]:
    """Add to the files of a bundle the manifest, and the card, which the manifest does not list."""
    digests = {
        name: sha256_of(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()
        for name, data in contents.items()
    }
    return {**contents, MANIFEST: manifest_to_bytes(digests), CARD: card}


def read_bundle(
    folder: Path, with_priors: bool = True
) -> tuple[SequenceAutoencoder, Tokenizer, Normalization, dict[str, Any]]:
    """Read the parts of a bundle, which may come from a stranger.

    Nothing in it is run or imported; every file is checked before it is used.

    Args:
        folder: the bundle.
        with_priors: whether to check the priors against the manifest.

    Returns:
        The model, in evaluation mode; its tokenizer; the normalization of its text; and the other
        JSON files by name without ending (`metrics`, `training`, `selftest`).

    Raises:
        ValueError: if the folder is no bundle or is damaged, or its parts do not belong together.
    """
    check_manifest(folder, with_priors)
    config = read_config(folder)
    tokenizer = read_tokenizer(folder, config)
    autoencoder = read_autoencoder(folder, config, tokenizer)
    details = read_details(folder)
    autoencoder.longest_target = longest_target(details["training"])
    return autoencoder, tokenizer, read_normalization(config), details


def environment() -> dict[str, str]:
    """List the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version(), "seqae": __version__}
    for package in ("torch", "lightning", "tokenizers", "safetensors", "numpy"):
        if (installed := installed_version(package)) is not None:
            versions[package] = installed
    return versions


def to_json(value: Any) -> bytes:
    """Serialise a JSON file of a bundle."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
