"""Measure latents as embeddings, beside vectors of the same size that need no training.

Of latents that have a content part it is the content that is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.embedding import (
    Vectors,
    linear_probe,
    majority,
    neighbour_accuracy,
    retrieval,
    spearman,
)
from seqae.metrics.metric import Scores


class Embedder(Protocol):
    """What makes vectors of texts."""

    def encode(self, texts: Sequence[str], /) -> Vectors:
        """Encode n texts to vectors, (n, Z)."""


class ComparedLatents:
    """A model as an embedder: the part of its latents that similarity is of.

    Args:
        model: texts that are too long for it are cut.
    """

    def __init__(self, model: TextAutoencoder) -> None:
        self.model = model

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts to latents, (n, Z) or (n, C)."""
        latents: Vectors = self.model.encode(texts, "truncate", part=self.model.compared_part)
        return latents


def similarity(
    embedders: Mapping[str, Embedder], pairs: Sequence[tuple[str, str, float]]
) -> Scores:
    """Measure how well cosines rank pairs of sentences."""
    first, second, human = (list(column) for column in zip(*pairs, strict=True))
    return {
        name: {"spearman": spearman(embedder.encode(first), embedder.encode(second), human)}
        for name, embedder in embedders.items()
    }


def paraphrases(embedders: Mapping[str, Embedder], pairs: Sequence[tuple[str, str]]) -> Scores:
    """Measure how well cosines find the paraphrase of each sentence."""
    first, second = (list(column) for column in zip(*pairs, strict=True))
    return {
        name: retrieval(embedder.encode(first), embedder.encode(second))
        for name, embedder in embedders.items()
    }


def classification(
    embedders: Mapping[str, Embedder], labelled: Sequence[tuple[str, str]]
) -> Scores:
    """Measure how well vectors separate labels."""
    texts, labels = [text for text, _ in labelled], [label for _, label in labelled]
    columns = {name: embedder.encode(texts) for name, embedder in embedders.items()}
    scores: Scores = {
        name: {
            "neighbour_accuracy": neighbour_accuracy(vectors, labels),
            "linear_probe": linear_probe(vectors, labels),
        }
        for name, vectors in columns.items()
    }
    chance = majority(labels)
    scores["chance"] = {"neighbour_accuracy": chance, "linear_probe": chance}
    return scores
