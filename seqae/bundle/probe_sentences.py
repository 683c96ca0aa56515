"""A model without sentences of its data, and sentences of our own on which any can be tried."""

from __future__ import annotations

from collections.abc import Sequence

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.priors import NeighbourhoodPrior

PROBES = (
    "The cat sat on the mat.",
    "The bread is still warm",
    "She reads a letter by the window, and smiles.",
    "It rained all day; nobody minded.",
    "How long is the road to the sea?",
    "12 plus 30 is 42",
    "a naïve café",
    "no",
)


def probe_rows(model: TextAutoencoder, texts: Sequence[str] = PROBES) -> list[dict[str, str]]:
    """Reconstruct sentences, as `selftest.json` holds them.

    Args:
        model: reconstructs them; what is too long for it is cut.
        texts: the sentences.
    """
    return _rows(texts, model.reconstruct(list(texts), too_long="truncate"))


def repeated_rows(model: TextAutoencoder, stored: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Reconstruct the sentences of a self-test, those that did not end as they were stored.

    A bundle of before there was a `max_length_ratio` stores what a model that did not end wrote
    until its `max_length`.

    Args:
        model: reconstructs them; what is too long for it is cut.
        stored: rows of a `selftest.json`.
    """
    texts = [row["text"] for row in stored]
    rows = probe_rows(model, texts)
    if rows == stored:
        return rows
    endless = _rows(texts, model.reconstruct(texts, too_long="truncate", max_length_ratio=0))
    return [
        long if long == then else row for row, long, then in zip(rows, endless, stored, strict=True)
    ]


def _rows(texts: Sequence[str], written: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"text": text, "reconstruction": reconstruction}
        for text, reconstruction in zip(texts, written, strict=True)
    ]


def without_examples(model: TextAutoencoder) -> TextAutoencoder:
    """Take the sentences of its data out of a model, and the prior that holds their latents.

    Args:
        model: stays as it is.

    Returns:
        One of the same weights, whose self-test has our own sentences.
    """
    training = model.details.get("training", {})
    said = training.get("card")
    card = {**(said if isinstance(said, dict) else {}), "examples": False}
    details = {
        **model.details,
        "training": {**training, "card": card},
        "selftest": probe_rows(model),
    }
    priors = {
        kind: prior for kind, prior in model.priors.items() if kind != NeighbourhoodPrior.kind
    }
    return TextAutoencoder(model.autoencoder, model.tokenizer, details, model.normalization, priors)
