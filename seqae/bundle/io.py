"""Read and write bundles: folders to share. JSON and safetensors; no pickle, no path, no code.

    config.json          how to build the model, and the sizes that it was built for
    model.safetensors    its weights
    tokenizer.json       text to token ids and back
    metrics.json         what was measured on it
    training.json        how it was trained: the resolved configuration, steps, tokens
    environment.json     the versions that wrote it
    selftest.json        sentences and their reconstructions, which `seqae check` repeats
    density.safetensors  a density of the training latents, to sample from; optional
    MANIFEST.sha256      a hash of each file above
    README.md            the model card, which may be edited

A new folder is written beside the old one and renamed when it is complete (seqae/files.py). A
density that is fitted later replaces only its own file and the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from seqae.bundle.card import model_card
from seqae.bundle.density import DENSITY, Density, density_to_bytes, read_density
from seqae.bundle.find_bundle import bundle_folder, check_is_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.weights import WithoutInit, read_weights, weights_to_bytes
from seqae.data.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.data.tokenizers.json_format import MAX_FILE_BYTES as MAX_TOKENIZER_BYTES
from seqae.extras import installed_version
from seqae.files import atomic_write, replace_folder, sha256_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.untrusted import MAX_BYTES, check_size, load_json, read_capped
from seqae.version import __version__

FORMAT = 1
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "metrics.json",
    "training.json",
    "environment.json",
    "selftest.json",
)
CARD = "README.md"  # not in the manifest: who shares a bundle may write more into it
MANIFEST = "MANIFEST.sha256"
CONFIG_KEYS = (
    "format",
    "autoencoder",
    "tokenizer",
    "tokenizer_sha256",
    "vocabulary",
    "max_length",
    "normalization",
)
MAX_SELFTEST = 64  # sentences that `seqae check` may have to reconstruct


def load(
    where: str | Path, device: str | torch.device = "cpu", with_density: bool = True
) -> TextAutoencoder:
    """Load a bundle.

    Args:
        where: a bundle's folder; the folder of a run, which has one; or `demo`, a small model that
            ships with seqae, unless a bundle or a run has that name.
        device: where the model computes, by its name in torch; `auto` takes a GPU if there is one.
        with_density: False ignores the bundle's density, even a damaged one, which `seqae density`
            can then fit again.

    Raises:
        ValueError: if the folder is no bundle or is damaged; nothing in it was run.
    """
    folder = bundle_folder(where)
    autoencoder, tokenizer, normalization, details = read_bundle(folder, with_density)
    density = read_density(folder / DENSITY, autoencoder.latent_dim) if with_density else None
    return TextAutoencoder(autoencoder, tokenizer, details, normalization, density).to(device)


def write_bundle(
    folder: Path,
    autoencoder: SequenceAutoencoder,
    tokenizer: Tokenizer,
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    selftest: list[dict[str, str]],
    normalization: Normalization = Normalization(),  # noqa: B008 - it is frozen
    float_dtype: torch.dtype = torch.float32,
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

    Raises:
        ValueError: if a weight is not finite.
    """
    assert autoencoder.vocabulary is not None
    config = {
        "format": FORMAT,
        "autoencoder": autoencoder.config(),
        "tokenizer": tokenizer.config(),
        "tokenizer_sha256": tokenizer.fingerprint,
        "vocabulary": asdict(autoencoder.vocabulary),
        "max_length": autoencoder.max_length,
        "normalization": asdict(normalization),
    }
    contents = {
        "config.json": _to_json(config),
        "model.safetensors": weights_to_bytes(autoencoder.state_dict(), float_dtype),
        "tokenizer.json": tokenizer.to_json().encode(),
        "metrics.json": _to_json(dict(metrics)),
        "training.json": _to_json(dict(training)),
        "environment.json": _to_json(environment()),
        "selftest.json": _to_json(selftest),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    card = model_card(config, metrics, training, selftest).encode()
    replace_folder(folder, {**contents, MANIFEST: _manifest(digests), CARD: card})


def add_density(folder: Path, density: Density) -> None:
    """Put a density into a bundle, and replace the one that may be there, even a damaged one.

    A process that is killed between the density and the manifest leaves a bundle that cannot be
    loaded; calling this again repairs it.

    Raises:
        ValueError: if the folder is no bundle, or another file of it is damaged.
        OSError: if writing failed; the bundle is then unchanged, or has the new density.
    """
    digests = _check_manifest(folder, with_density=False)
    data, path, kept = density_to_bytes(density), folder / DENSITY, folder / f".{DENSITY}.old"
    kept.unlink(missing_ok=True)  # left by a process that was killed
    if path.exists():
        os.link(path, kept)  # a link can be restored on a full disk
    manifest = _manifest({**digests, DENSITY: hashlib.sha256(data).hexdigest()})
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


def read_bundle(
    folder: Path, with_density: bool = True
) -> tuple[SequenceAutoencoder, Tokenizer, Normalization, dict[str, Any]]:
    """Read the parts of a bundle, which may come from a stranger.

    Nothing in it is run or imported; every file is checked before it is used.

    Args:
        folder: the bundle.
        with_density: whether to check the density, if there is one, against the manifest.

    Returns:
        The model, in evaluation mode; its tokenizer; the normalization of its text; and the other
        JSON files by name without ending (`metrics`, `training`, `selftest`).

    Raises:
        ValueError: if the folder is no bundle or is damaged, or its parts do not belong together.
    """
    _check_manifest(folder, with_density)
    config = _read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        value = config.get("format") if isinstance(config, dict) else config
        raise ValueError(
            f"`format` in {folder / 'config.json'} must be {FORMAT}, but it is {value!r} instead. "
            f"Use the version of seqae that wrote it."
        )
    if wrong := sorted(set(config) ^ set(CONFIG_KEYS)):
        raise ValueError(
            f"`{wrong[0][:80]}` in {folder / 'config.json'} is missing or unknown: it must have "
            f"{', '.join(CONFIG_KEYS)} and no more. Get the bundle again."
        )
    tokenizer = Tokenizer.load(folder / "tokenizer.json", config["tokenizer"])
    if config["tokenizer_sha256"] != tokenizer.fingerprint:
        raise ValueError(
            f"`tokenizer_sha256` in {folder / 'config.json'} must be the hash of tokenizer.json, "
            f"but it is another. The tokenizer and the weights do not belong together."
        )
    if asdict(tokenizer.vocabulary) != config["vocabulary"]:
        raise ValueError(
            f"`vocabulary` in {folder / 'config.json'} must be that of its tokenizer, "
            f"{asdict(tokenizer.vocabulary)}, but it is another. The tokenizer and the weights do "
            f"not belong together."
        )
    normalization = _read_normalization(config["normalization"])
    autoencoder = SequenceAutoencoder.from_config(config["autoencoder"])
    max_length = config["max_length"]
    if type(max_length) is not int:
        raise ValueError(f"`max_length` must be a whole number, but it is {max_length!r} instead.")
    # Shapes only: a file that asks for huge sizes must get no memory.
    with torch.device("meta"), WithoutInit():
        autoencoder.build(tokenizer.vocabulary, max_length)
    weights = read_weights(folder / "model.safetensors", autoencoder.state_dict())
    autoencoder.load_state_dict(weights, assign=True)
    details = {
        name: _read_json(folder / f"{name}.json") for name in ("metrics", "training", "selftest")
    }
    _check_details(folder, details)
    return autoencoder.eval(), tokenizer, normalization, details


def _read_normalization(options: Any) -> Normalization:
    names = {field.name for field in fields(Normalization)}
    forms = (None, "NFC", "NFD", "NFKC", "NFKD")
    if (
        not isinstance(options, dict)
        or set(options) != names
        or options["unicode_form"] not in forms
        or not {type(options[name]) for name in names - {"unicode_form"}} == {bool}
    ):
        raise ValueError(
            f"`normalization` in config.json must be {asdict(Normalization())} or the like, but it "
            f"is {str(options)[:200]} instead. Get the bundle again."
        )
    return Normalization(**options)


def environment() -> dict[str, str]:
    """List the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version(), "seqae": __version__}
    for package in ("torch", "lightning", "tokenizers", "safetensors", "numpy"):
        if (installed := installed_version(package)) is not None:
            versions[package] = installed
    return versions


def _check_details(folder: Path, details: dict[str, Any]) -> None:
    selftest = details["selftest"]
    is_selftest = (
        isinstance(selftest, list)
        and len(selftest) <= MAX_SELFTEST
        and all(
            isinstance(row, dict)
            and set(row) == {"text", "reconstruction"}
            and all(isinstance(text, str) for text in row.values())
            for row in selftest
        )
    )
    for name, is_right in (
        ("selftest", is_selftest),
        ("training", isinstance(details["training"], dict)),
        ("metrics", isinstance(details["metrics"], dict)),
    ):
        if not is_right:
            raise ValueError(
                f"`{name}.json` in {folder} is not of the form that seqae writes. "
                f"Get the bundle again."
            )


def _check_manifest(folder: Path, with_density: bool = True) -> dict[str, str]:
    """Check each file against the manifest, and return the hashes of the files."""
    names = [*FILES, *([DENSITY] if with_density and (folder / DENSITY).exists() else [])]
    check_is_bundle(folder, [*names, MANIFEST])
    try:
        for name in names:
            if name.endswith(".json"):  # before hashing, which may take long
                limit = MAX_TOKENIZER_BYTES if name == "tokenizer.json" else MAX_BYTES
                check_size(folder / name, limit)
        lines = read_capped(folder / MANIFEST).decode("utf-8", "replace").split("\n")[:-1]
    except ValueError as error:
        raise ValueError(f"The bundle {folder} is damaged: {error}. Get it again.") from error
    expected = {name: sha256_of(folder / name) for name in names}
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    listed.pop(CARD, None)  # bundles of before 0.2 list it
    if not with_density:
        listed.pop(DENSITY, None)
    refit = (
        f"Get the bundle again, or fit its density again: `seqae density {folder} --input FILE`."
    )
    if set(listed) != set(expected):
        is_density = set(listed) ^ set(expected) == {DENSITY}
        raise ValueError(
            f"`{MANIFEST}` in {folder} must list the files that the bundle has, but it lists "
            f"others. {refit if is_density else 'Get the bundle again.'}"
        )
    for name, digest in expected.items():
        if listed[name] != digest:
            raise ValueError(
                f"`{name}` in {folder} is not what {MANIFEST} says: it was changed or damaged. "
                f"{refit if name == DENSITY else 'Get the bundle again.'}"
            )
    return expected


def _read_json(path: Path) -> Any:
    try:
        return load_json(read_capped(path))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, but: {error}. Get the bundle again.") from error


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _manifest(digests: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
