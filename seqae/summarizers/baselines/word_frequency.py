"""Luhn, SumBasic and LSA: baselines that look at which words are frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from seqae.component import check_whole
from seqae.extras import extra
from seqae.summarizers.baselines.content_words import ContentSummarizer, count_content, is_content
from seqae.summarizers.extractive import by_score

with extra("eval"):
    from scipy.sparse.linalg import svds
    from sklearn.preprocessing import normalize

GAP = 4  # words without significance that end a cluster of Luhn's
MAX_TOPICS = 50
DENSE = 200  # sentences or words up to which all topics are computed


@final
class LuhnSummarizer(ContentSummarizer):
    """Ranks sentences by their densest cluster of significant words.

    Luhn 1958 (doi:10.1147/rd.22.0159). Significant are content words that are there twice or more.
    A cluster begins and ends with one, and has no more than three others in a row; it counts the
    square of its significant words over its length, or nothing if there is just one.
    """

    kind: ClassVar[str] = "luhn"

    @override
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        counts = Counter(word for words in sentences for word in words if is_content(word))
        significant = {word for word, count in counts.items() if count > 1}
        return by_score(np.array([self._density(words, significant) for words in sentences]))

    def _density(self, words: Sequence[str], significant: set[str]) -> float:
        best, first, last, inside = 0.0, 0, -GAP - 1, 0
        for place, word in enumerate(words):
            if word not in significant:
                continue
            if place - last > GAP:
                first, inside = place, 0
            last, inside = place, inside + 1
            if inside > 1:
                best = max(best, inside**2 / (place - first + 1))
        return best


@final
class SumBasicSummarizer(ContentSummarizer):
    """Takes the sentence with the likeliest words, squares their probabilities, and begins anew.

    Nenkova and Vanderwende 2005 (MSR-TR-2005-101). As in `sumy` the sentence need not have the one
    likeliest word.
    """

    kind: ClassVar[str] = "sumbasic"

    @override
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        counts = count_content(sentences)
        share = np.asarray(counts.sum(axis=0)).ravel() / max(counts.sum(), 1.0)
        logs = np.log(np.maximum(share, np.finfo(np.float64).tiny))
        lengths = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0)
        left = np.ones(len(lengths), dtype=bool)
        for _ in sentences:
            scores = np.where(left, counts @ np.exp(logs) / lengths, -np.inf)
            index = int(np.argmax(scores))
            yield index
            left[index] = False
            own = slice(counts.indptr[index], counts.indptr[index + 1])
            logs[counts.indices[own]] *= 2.0 ** counts.data[own]  # each time that it is there


@final
class LsaSummarizer(ContentSummarizer):
    """Ranks sentences by their length in the space of the main topics.

    Steinberger and Ježek 2004 ("Using latent semantic analysis in text summarization", ISIM). The
    topics are singular vectors of the matrix of sentences and words, whose cells are frequencies as
    a share of that of the sentence's most frequent word.

    Args:
        topics: how many; by default those whose singular value is at least half of the highest.
    """

    kind: ClassVar[str] = "lsa"

    def __init__(self, topics: int | None = None) -> None:
        self.topics = None if topics is None else check_whole("topics", topics, 1, MAX_TOPICS)

    @override
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        matrix = normalize(count_content(sentences), "max")
        if min(matrix.shape) <= DENSE:
            vectors, values, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
        else:
            start = np.ones(min(matrix.shape))  # or it would be random
            vectors, values, _ = svds(matrix, k=MAX_TOPICS, v0=start)
            vectors, values = vectors[:, ::-1], values[::-1]
        count = self.topics or max(1, int((values >= values[0] / 2).sum()))
        return by_score(np.linalg.norm(vectors[:, :count] * values[:count], axis=1))
