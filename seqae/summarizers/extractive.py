"""Extractive methods: the sentences of the document that say most, by their vectors.

They read any space, so that the same selection over latents, TF-IDF and word vectors tells what the
vectors are worth.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.summarizers.base import SentenceSpace, Summarizer, Vectors
from seqae.summarizers.document import Budget, Document, Summary
from seqae.summarizers.ranking import fill

with extra("eval"):
    from sklearn.preprocessing import normalize


class VectorSummarizer(Summarizer):
    """Ranks sentences by their vectors, with priors.

    A prior adds to the cosine by which a sentence is ranked, as the weighted sum of MEAD does
    (Radev et al. 2004, doi:10.1016/j.ipm.2003.10.006).

    Args:
        position: added to the first sentence, and to the others the less the later they come: news
            says first what matters. 0 is no prior.
        length: added to sentences that are as long as the mean of the document or longer, and to
            shorter ones in proportion: headings and fragments say little. 0 is no prior.
    """

    needs: ClassVar[type[SentenceSpace] | None] = SentenceSpace

    def __init__(self, position: float = 0.0, length: float = 0.0) -> None:
        check_range("position", position, -10.0, 10.0)
        check_range("length", length, -10.0, 10.0)
        self.position, self.length = position, length

    @final
    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        vectors = normalize(space.vectors(document))
        return fill(document, self._rank(vectors, self._prior(document), budget, generator), budget)

    @abstractmethod
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], budget: Budget, generator: Generator
    ) -> Iterable[int]:
        """Rank n sentences, the best first.

        Args:
            vectors: (n, D) of norm one, or zero.
            prior: (n,).
            budget: as in `summarize`.
            generator: as in `summarize`.
        """

    def _prior(self, document: Document) -> NDArray[np.float64]:
        count = len(document)
        words = np.array(document.words, dtype=np.float64)
        place = 1 - np.arange(count) / count
        prior: NDArray[np.float64] = self.position * place + self.length * np.minimum(
            words / max(words.mean(), 1.0), 1.0
        )
        return prior


@final
class CentroidSummarizer(VectorSummarizer):
    """Takes the sentences nearest the centroid of all.

    Radev et al. 2004 (doi:10.1016/j.ipm.2003.10.006) did so with TF-IDF, Rossiello et al. 2017
    (W17-1003) with word vectors.
    """

    kind: ClassVar[str] = "centroid"

    @override
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], budget: Budget, generator: Generator
    ) -> Iterable[int]:
        return by_score(centrality(vectors) + prior)


def centrality(vectors: Vectors) -> NDArray[np.float64]:
    """Compute the cosine of each of n sentences with the mean of all: (n,).

    Args:
        vectors: (n, D) of norm one, or zero.
    """
    centroid = normalize(np.asarray(vectors.mean(axis=0)).reshape(1, -1))[0]
    found: NDArray[np.float64] = np.asarray(vectors @ centroid, dtype=np.float64)
    return found


def by_score(scores: NDArray[np.float64]) -> list[int]:
    """Sort indices by scores, the highest first; of equal ones the first comes first."""
    # Cosines that differ by rounding alone count as equal, so that every machine picks alike.
    order: list[int] = np.argsort(-scores.round(6), kind="stable").tolist()
    return order
