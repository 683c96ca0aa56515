"""`evaluation.json` in a bundle: what `seqae evaluate` has measured on these very weights.

It is for people, and may be added later; so the manifest does not list it. The hash of the weights
in it ties it to them. What a command writes there for others has no path and no sentence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqae.bundle.card.facts import Plain, mapping
from seqae.bundle.manifest import EVALUATION, read_manifest
from seqae.data.sources.discovery import without_path
from seqae.untrusted import load_json, read_capped

WEIGHTS = "weights_sha256"
# What is left of the JSON of `seqae evaluate`: no name of the model, which is a path, no examples,
# samples or midpoints.
KEPT = ("sentences", "seed", "scores", "by_length", "bleu_signature", "notes", "settings")


def weights_hash(folder: Path) -> str:
    """Return the hash of a bundle's weights, as its manifest has it."""
    return read_manifest(folder).get("model.safetensors", "")


def read_evaluation(path: Path, folder: Path, key: str = "evaluation") -> dict[str, Any]:
    """Read the JSON of `seqae evaluate`, as it may be passed on.

    Args:
        path: of the file.
        folder: of the bundle that it must be about.
        key: the option that named the file; error messages begin with it.

    Raises:
        ValueError: if the file is no evaluation, or that of other weights.
        OSError: if it cannot be read.
    """
    way_out = f"Write it anew: `seqae evaluate {folder} --output {path.name}`."
    try:
        told = load_json(read_capped(path))
    except ValueError as error:
        raise ValueError(
            f"`{key}` must be what `seqae evaluate` wrote, but {path} is damaged: {error}. "
            f"{way_out}"
        ) from error
    scores = mapping(told).get("scores")
    if not isinstance(scores, dict) or not isinstance(scores.get("model"), dict):
        raise ValueError(
            f"`{key}` must be what `seqae evaluate` wrote, but {path} has no scores of a model. "
            f"{way_out}"
        )
    if told.get(WEIGHTS) != weights_hash(folder):
        raise ValueError(
            f"`{key}` must be of the weights in {folder}, but {path} is of others, or does not say "
            f"of which. {way_out}"
        )
    kept: dict[str, Any] = {name: told[name] for name in KEPT if name in told}
    origin = told.get("from")
    return {
        WEIGHTS: told[WEIGHTS],
        "from": without_path(origin) if isinstance(origin, str) else "unknown",
        **kept,
    }


def own_evaluation(folder: Path) -> Plain | None:
    """Return the evaluation in a bundle; None if there is none of these weights."""
    try:
        return read_evaluation(folder / EVALUATION, folder)
    except (OSError, ValueError):
        return None


def evaluation_to_bytes(evaluation: Plain) -> bytes:
    """Serialise an evaluation for a bundle."""
    return (json.dumps(evaluation, indent=2, ensure_ascii=False) + "\n").encode()
