"""Extractive methods: the sentences of the document that say most, by their vectors.

They read any space, so that the same selection over latents, TF-IDF and word vectors tells what the
vectors are worth.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.summarizers.base import SentenceSpace, Summarizer, Vectors
from seqae.summarizers.document import Budget, Document, Summary
from seqae.summarizers.ranking import fill, usual_count

with extra("eval"):
    from scipy.sparse import issparse
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
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
        count = usual_count(document, budget)
        return fill(document, self._rank(vectors, self._prior(document), count, generator), budget)

    @abstractmethod
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], count: int, generator: Generator
    ) -> Iterable[int]:
        """Rank n sentences, the best first.

        Args:
            vectors: (n, D) of norm one, or zero.
            prior: (n,).
            count: how many of mean length fit the budget, between 1 and n.
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
        self, vectors: Vectors, prior: NDArray[np.float64], count: int, generator: Generator
    ) -> Iterable[int]:
        return by_score(centrality(vectors) + prior)


@final
class MarginalRelevanceSummarizer(VectorSummarizer):
    """Takes sentences near the centroid that are unlike those taken before.

    Maximal marginal relevance of Carbonell and Goldstein 1998 (doi:10.1145/290941.291025), with the
    centroid for a query: each is the one with the most of λ · cosine to the centroid - (1 - λ) ·
    the highest cosine to one that is taken.

    Args:
        relevance: λ, between 0, all that counts is to be unlike, and 1, which is `centroid`.
        position: as of `centroid`; multiplied by λ.
        length: as of `centroid`; multiplied by λ.
    """

    kind: ClassVar[str] = "mmr"

    def __init__(self, relevance: float = 0.7, position: float = 0.0, length: float = 0.0) -> None:
        super().__init__(position, length)
        check_range("relevance", relevance, 0.0, 1.0)
        self.relevance = relevance

    @override
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], count: int, generator: Generator
    ) -> Iterable[int]:
        relevant = self.relevance * (centrality(vectors) + prior)
        nearest = np.full(len(relevant), -np.inf)  # to one that is taken
        left = np.ones(len(relevant), dtype=bool)
        for number in range(len(relevant)):
            scores = relevant - (1 - self.relevance) * nearest if number else relevant
            index = first_best(np.where(left, scores, -np.inf))
            yield index
            left[index] = False
            nearest = np.maximum(nearest, cosines_to(vectors, index))


@final
class ClusterSummarizer(VectorSummarizer):
    """Takes the sentence nearest each centre of k-means, those of the largest clusters first.

    So did Miller 2019 (arXiv:1906.04165), with sentence vectors of BERT. There are as many clusters
    as sentences of mean length fit the budget.
    """

    kind: ClassVar[str] = "clusters"

    @override
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], count: int, generator: Generator
    ) -> Iterable[int]:
        seed = int(torch.randint(2**31, (), generator=generator))
        means = KMeans(count, n_init=1, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different sentences than k
            own = means.fit_predict(vectors)
        # Distances to the own centre: cosines would rank alike within a cluster, not between them.
        near = prior - means.transform(vectors)[np.arange(len(own)), own]
        best = [
            group[first_best(near[group])]
            for k in range(count)
            if len(group := np.flatnonzero(own == k))
        ]
        sizes = np.bincount(own)
        best.sort(key=lambda index: (-sizes[own[index]], index))
        others = near.copy()
        others[best] = -np.inf
        return [*map(int, best), *by_score(others)[: len(near) - len(best)]]


@final
class MedoidSummarizer(VectorSummarizer):
    """Takes one sentence, the one whose mean cosine to all others is the highest.

    Of several reviews it is the most central one, which Chu and Liu 2019 (arXiv:1810.05739) and
    Iso et al. 2021 (Coop, arXiv:2104.01371) have for a baseline. It is cut if it is too long.
    """

    kind: ClassVar[str] = "medoid"

    @override
    def _rank(
        self, vectors: Vectors, prior: NDArray[np.float64], count: int, generator: Generator
    ) -> Iterable[int]:
        total = np.asarray(vectors @ np.asarray(vectors.sum(axis=0)).ravel(), dtype=np.float64)
        return [first_best((total - 1) / max(len(total) - 1, 1) + prior)]


def centrality(vectors: Vectors) -> NDArray[np.float64]:
    """Compute the cosine of each of n sentences with the mean of all: (n,).

    Args:
        vectors: (n, D) of norm one, or zero.
    """
    centroid = normalize(np.asarray(vectors.mean(axis=0)).reshape(1, -1))[0]
    found: NDArray[np.float64] = np.asarray(vectors @ centroid, dtype=np.float64)
    return found


def cosines_to(vectors: Vectors, index: int) -> NDArray[np.float64]:
    """Compute the cosine of each of n sentences with one of them: (n,).

    Args:
        vectors: (n, D) of norm one, or zero.
        index: of the one.
    """
    one = vectors[[index]]
    one = one.toarray() if issparse(one) else one
    found: NDArray[np.float64] = np.asarray(vectors @ one[0], dtype=np.float64)
    return found


def first_best(scores: NDArray[np.float64]) -> int:
    """Find the index of the highest score; of equal ones, but for rounding, the first."""
    return int(np.argmax(scores.round(6)))


def by_score(scores: NDArray[np.float64]) -> list[int]:
    """Sort indices by scores, the highest first; of equal ones the first comes first."""
    # Cosines that differ by rounding alone count as equal, so that every machine picks alike.
    order: list[int] = np.argsort(-scores.round(6), kind="stable").tolist()
    return order
