"""Sentences of our own on which any bundle can be tried, where it carries none of its data."""

from __future__ import annotations

from collections.abc import Sequence

from seqae.bundle.text_autoencoder import TextAutoencoder

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
    written = model.reconstruct(list(texts), too_long="truncate")
    return [
        {"text": text, "reconstruction": reconstruction}
        for text, reconstruction in zip(texts, written, strict=True)
    ]
