"""TextRank and LexRank: baselines that walk from sentence to sentence by the words they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.summarizers.baselines.content_words import ContentSummarizer, count_content
from seqae.summarizers.extractive import by_score

with extra("eval"):
    from scipy.sparse import csr_array, diags_array
    from sklearn.preprocessing import normalize

DAMPING = 0.85  # of both papers, and of PageRank
STEPS, PRECISION = 200, 1e-9


@final
class TextRankSummarizer(ContentSummarizer):
    """TextRank (Mihalcea and Tarau 2004, W04-3252): a walk that prefers sentences that share words.

    The weight between two sentences is the number of pairs of equal words, over the sum of the
    logarithms of their lengths. As in `sumy` words that are there twice count twice, and a sentence
    shares its words with itself.
    """

    kind: ClassVar[str] = "textrank"

    @override
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        counts = count_content(sentences)
        shared = (counts @ counts.T).tocoo()
        with np.errstate(divide="ignore"):
            logs = np.log(np.asarray(counts.sum(axis=1)).ravel())  # of no words there are no pairs
        size = logs[shared.row] + logs[shared.col]
        weights = shared.data / np.where(np.isclose(size, 0), 1.0, size)
        return by_score(walk(csr_array((weights, (shared.row, shared.col)), shared.shape), DAMPING))


@final
class LexRankSummarizer(ContentSummarizer):
    """LexRank (Erkan and Radev 2004, doi:10.1613/jair.1523): a walk between similar sentences.

    Two are similar if the cosine of their TF-IDF is above a threshold. As in `sumy` a term's
    frequency is a share of that of the sentence's most frequent one, and its rarity is
    log(n / (1 + sentences with it)).

    Args:
        threshold: of the cosine.
        damping: chance that the walk goes on; otherwise it begins anew anywhere. 1 is `sumy`'s.
    """

    kind: ClassVar[str] = "lexrank"

    def __init__(self, threshold: float = 0.1, damping: float = DAMPING) -> None:
        check_range("threshold", threshold, 0.0, 1.0)
        check_range("damping", damping, 0.0, 1.0)
        self.threshold, self.damping = threshold, damping

    @override
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        counts = count_content(sentences)
        rarity = np.log(
            len(sentences) / (1 + np.bincount(counts.indices, minlength=counts.shape[1]))
        )
        weighted = normalize(normalize(counts, "max") @ diags_array(rarity))
        similar = (weighted @ weighted.T) > self.threshold
        return by_score(walk(csr_array(similar.astype(np.float64)), self.damping))


def walk(weights: Any, damping: float) -> NDArray[np.float64]:
    """Compute where a random walk over n sentences is (PageRank), times n: (n,).

    Args:
        weights: (n, n) sparse, how likely the walk goes from row to column; a row without any ends
            the walk.
        damping: chance that it goes on; otherwise it begins anew anywhere.
    """
    count = weights.shape[0]
    steps = damping * normalize(weights, "l1").T.tocsr()
    place = np.ones(count)
    for _ in range(STEPS):
        previous, place = place, (1 - damping) * place.mean() + steps @ place
        if np.abs(place - previous).max() < PRECISION:
            break
    return place
