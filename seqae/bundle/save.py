"""save: write a TextAutoencoder to a folder of the user's choice."""

from __future__ import annotations

from pathlib import Path

import torch

from seqae.bundle.card.given import given_in_training
from seqae.bundle.io import write_bundle
from seqae.bundle.manifest import CARD, EVALUATION, FILES, MANIFEST, ORIGIN, is_prior_file
from seqae.bundle.probe_sentences import without_examples
from seqae.bundle.stored_priors import add_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.files import reporting


def save(model: TextAutoencoder, folder: Path, examples: bool = True) -> Path:
    """Write a model as a bundle; see `TextAutoencoder.save`.

    Args:
        model: to write.
        folder: new, empty, or a bundle, which is replaced; folders above it are made.
        examples: False leaves out the sentences of its data.
    """
    check_replaceable(folder)
    if model.autoencoder.is_int8:
        raise ValueError(
            "`compute_type` must be float32 for a model that is saved, but it is int8 instead. "
            "Load it again without."
        )
    for name, weight in model.autoencoder.named_parameters():
        if weight.dtype != torch.float32:
            raise ValueError(
                f"`{name}` of the model must be float32 to be saved, but it is {weight.dtype} "
                f"instead. Call `model.autoencoder.float()`."
            )
    if not examples:
        model = without_examples(model)
    details = {"metrics": {}, "training": {}, "selftest": [], "card": {}, **model.details}
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_bundle(
            folder,
            model.autoencoder,
            model.tokenizer,
            details["metrics"],
            details["training"],
            details["selftest"],
            model.normalization,
            given=given_in_training({"card": details["card"]}),
        )
        add_priors(folder, model.priors)
    return folder


def check_replaceable(folder: Path, key: str = "folder") -> None:
    """Refuse to replace what is no bundle.

    Args:
        folder: to write to.
        key: what it was given as, for the message.

    Raises:
        ValueError: if it holds anything else.
    """
    if not folder.exists():
        return
    known = {*FILES, MANIFEST, CARD, EVALUATION, ORIGIN}
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = [name for name in found if name not in known and not is_prior_file(name)]
    if found and (others or MANIFEST not in found):
        other = (others or found)[0]
        raise ValueError(
            f"`{key}` must be new, empty or a bundle, but {folder} has {other} instead. Choose "
            f"another one."
        )
