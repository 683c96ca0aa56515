"""Read a bundle file by file: each step checks what it needs, and the next builds on it.

`load` takes all steps; `seqae check` reports each of them. Nothing in a file is run or imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from seqae.batch import MAX_LENGTH
from seqae.bundle.weights import WithoutInit, read_weights
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.untrusted import load_json, read_capped, shown

FORMAT = 1
CONFIG_KEYS = (
    "format",
    "autoencoder",
    "tokenizer",
    "tokenizer_sha256",
    "vocabulary",
    "max_length",
    "normalization",
)
LONGEST = "longest_target"  # in training.json; older bundles lack it
MAX_SELFTEST = 64  # sentences that `seqae check` may have to reconstruct


def read_config(folder: Path) -> dict[str, Any]:
    """Read how the model is built.

    Args:
        folder: a bundle whose manifest was checked.

    Raises:
        ValueError: if `config.json` is of another format, or lacks a key.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        value = config.get("format") if isinstance(config, dict) else config
        raise ValueError(
            f"`format` in {folder / 'config.json'} must be {FORMAT}, but it is {shown(value)} "
            f"instead. Use the version of seqae that wrote it."
        )
    config = in_todays_form(config)
    if wrong := sorted(set(config) ^ set(CONFIG_KEYS)):
        raise ValueError(
            f"`{shown(wrong[0])[1:-1]}` in {folder / 'config.json'} is missing or unknown: it must "
            f"have {', '.join(CONFIG_KEYS)} and no more. Get the bundle again."
        )
    return config


def in_todays_form(config: dict[str, Any]) -> dict[str, Any]:
    """Complete the configuration of an early bundle; the fixtures of the tests have each form.

    The first ones had no `normalization`, since nothing was done to text, nor the hash of the
    tokenizer, which the manifest has too. And `normalize` of a latent was true or false, before
    there was more than one way.

    Args:
        config: of any form, checked by nobody yet.
    """
    if "normalization" not in config:
        earlier = {"normalization": asdict(Normalization()), "tokenizer_sha256": None}
        config = {**earlier, **config}
    try:
        arguments = config["autoencoder"]["init_args"]["latent"]["init_args"]
        if type(arguments.get("normalize")) is bool:
            arguments["normalize"] = "layer" if arguments["normalize"] else "none"
    except (LookupError, TypeError, AttributeError):
        pass  # no part's form is checked here
    return config


def read_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """Read the tokenizer.

    Args:
        folder: the bundle.
        config: its `config.json`.

    Raises:
        ValueError: if it is damaged, or not the one that the model was built for.
    """
    tokenizer = Tokenizer.load(folder / "tokenizer.json", config["tokenizer"])
    if config["tokenizer_sha256"] not in (None, tokenizer.fingerprint):
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
    return tokenizer


def read_autoencoder(
    folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer
) -> SequenceAutoencoder:
    """Build the model, in evaluation mode, and read its weights.

    Args:
        folder: the bundle.
        config: its `config.json`.
        tokenizer: the one that it was built for.

    Raises:
        ValueError: if a part is unknown, or the weights are damaged or those of another model.
    """
    autoencoder = SequenceAutoencoder.from_config(config["autoencoder"])
    max_length = config["max_length"]
    if type(max_length) is not int:
        raise ValueError(
            f"`max_length` must be a whole number, but it is {shown(max_length)} instead."
        )
    # Shapes only: a file that asks for huge sizes must get no memory.
    with torch.device("meta"), WithoutInit():
        autoencoder.build(tokenizer.vocabulary, max_length)
    weights = read_weights(folder / "model.safetensors", autoencoder.state_dict())
    if autoencoder.adaptive is not None:
        autoencoder.adaptive.check_ranks(weights.get("adaptive.ranked_ids"))
    autoencoder.load_state_dict(weights, assign=True)
    return autoencoder.eval()


def read_normalization(config: Mapping[str, Any]) -> Normalization:
    """Read what is done to text before it is encoded.

    Args:
        config: the bundle's `config.json`.

    Raises:
        ValueError: if it says anything else.
    """
    options = config["normalization"]
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
            f"is {shown(options, 200)} instead. Get the bundle again."
        )
    return Normalization(**options)


def read_details(folder: Path) -> dict[str, Any]:
    """Read what the bundle says about the model: `metrics`, `training` and `selftest`.

    Raises:
        ValueError: if one of these files is of another form.
    """
    details = {
        name: read_json(folder / f"{name}.json") for name in ("metrics", "training", "selftest")
    }
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
    return details


def longest_target(training: Mapping[str, Any]) -> int:
    """Return the tokens of the longest text that a model was trained to write; 0 if unknown.

    Args:
        training: the bundle's `training.json`, which may be a stranger's or an old one.
    """
    found = training.get(LONGEST)
    return found if type(found) is int and 2 < found <= MAX_LENGTH else 0


def read_json(path: Path) -> Any:
    """Read a JSON file of a bundle.

    Raises:
        ValueError: if it is too large, or no JSON.
    """
    try:
        return load_json(read_capped(path))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, but: {error}. Get the bundle again.") from error
