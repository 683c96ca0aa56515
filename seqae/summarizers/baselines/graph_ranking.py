"""TextRank and LexRank: baselines that walk from sentence to sentence by the words they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, final

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

Numbers = NDArray[np.float64]


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
        lengths, group = np.unique(np.asarray(counts.sum(axis=1)).ravel(), return_inverse=True)
        logs = np.log(np.maximum(lengths, 1))  # without words there are no pairs
        size = logs[group][:, None] + logs
        factors = 1 / np.where(np.isclose(size, 0), 1.0, size)
        of_group = csr_array(np.eye(len(lengths)))[group]

        def weigh(values: Numbers) -> Numbers:
            """Multiply by the weights, n × n, which are never formed: a book has gigabytes of them.

            Of sentences of one length all have one divisor, so that a product for each length does.
            """
            shared = counts @ (counts.T @ (diags_array(values) @ of_group))
            return np.asarray(shared.multiply(factors).sum(axis=1), dtype=np.float64).ravel()

        total = weigh(np.ones(len(sentences)))
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        return by_score(walk(lambda place: weigh(inverse * place), len(sentences), DAMPING))


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
        similar = csr_array(((weighted @ weighted.T) > self.threshold).astype(np.float64))
        steps = normalize(similar, "l1").T.tocsr()
        return by_score(walk(lambda place: steps @ place, len(sentences), self.damping))


def walk(step: Callable[[Numbers], Numbers], count: int, damping: float) -> Numbers:
    """Compute where a random walk over n sentences is (PageRank), times n: (n,).

    Args:
        step: from how likely the walk is at each sentence, (n,), to how likely it is there a step
            later; where there is no way on, the walk ends.
        count: n.
        damping: chance that it goes on; otherwise it begins anew anywhere.
    """
    place = np.ones(count)
    for _ in range(STEPS):
        previous, place = place, (1 - damping) * place.mean() + damping * step(place)
        if np.abs(place - previous).max() < PRECISION:
            break
    return place
