"""ContentSummarizer: what baselines share that count words, without those that carry no content."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np
from torch import Generator
from typing_extensions import override

from seqae.extras import extra
from seqae.metrics.segmenter import terms
from seqae.summarizers.base import Summarizer
from seqae.summarizers.document import Budget, Document, Summary
from seqae.summarizers.ranking import fill

with extra("eval"):
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS


class ContentSummarizer(Summarizer):
    """Ranks sentences by their content words: those that are no stop words of English."""

    @final
    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        return fill(document, self._rank([terms(text) for text in document.sentences]), budget)

    @abstractmethod
    def _rank(self, sentences: Sequence[Sequence[str]]) -> Iterable[int]:
        """Rank n sentences, the best first.

        Args:
            sentences: the words of each, in lower case.
        """


def is_content(word: str) -> bool:
    """Tell whether a word in lower case is no stop word of English, by scikit-learn's list."""
    return word not in ENGLISH_STOP_WORDS


def count_content(sentences: Sequence[Sequence[str]]) -> csr_array:
    """Count the content words of each of n sentences: (n, words) float64, at least one column."""
    columns: dict[str, int] = {}
    counted = [Counter(filter(is_content, words)) for words in sentences]
    found = [columns.setdefault(word, len(columns)) for counts in counted for word in counts]
    ends = np.cumsum([0, *map(len, counted)])
    values = [count for counts in counted for count in counts.values()]
    shape = (len(sentences), max(len(columns), 1))
    return csr_array(
        (np.array(values, dtype=np.float64), np.array(found, dtype=np.int64), ends), shape
    )
