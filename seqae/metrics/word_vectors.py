"""Mean word vectors, a baseline of sentence embeddings that is learnt from the training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from seqae.extras import extra
from seqae.metrics.embedding import Vectors
from seqae.metrics.segmenter import terms

with extra("eval"):
    from scipy.sparse import csr_array, diags_array
    from sklearn.utils.extmath import randomized_svd

RARITY = 1e-3  # a in the weight a / (a + p), as Arora et al. recommend
SMOOTHING = 0.75  # exponent of the frequency of contexts, as Levy et al. recommend


class MeanWordVectors:
    """The mean vector of a sentence's words, each weighted by its rarity.

    The vectors of words are an SVD of their positive pointwise mutual information within sentences
    (Levy, Goldberg and Dagan 2015, with their exponents: 0.75 of contexts, 0.5 of singular values).
    A word of probability p in the training text has the weight a / (a + p), a = 0.001 (Arora, Liang
    and Ma 2017, without their removal of the common component).

    Args:
        train: sentences.
        size: dimensions, cut to one less than the number of words.
        seed: of the randomised SVD.

    Raises:
        ValueError: if no two different words of `train` are in one sentence.
    """

    def __init__(self, train: Sequence[str], size: int, seed: int = 0) -> None:
        frequency = Counter(word for text in train for word in terms(text))
        self._row = {word: row for row, word in enumerate(frequency)}
        counts = self._count(train)
        together = (counts.T @ counts).tocoo()
        is_pair = together.row != together.col
        row, col, count = (part[is_pair] for part in (together.row, together.col, together.data))
        if not len(count):
            raise ValueError(
                "`train_file` must have sentences of two different words or more, but it has "
                "none. Name another file."
            )
        total = np.bincount(row, count, len(self._row))
        context = total**SMOOTHING
        information = np.log(count * context.sum() / (total[row] * context[col]))
        kept = information > 0
        shape = (len(self._row), len(self._row))
        matrix = csr_array((information[kept], (row[kept], col[kept])), shape)
        self.size = min(size, len(self._row) - 1)
        left, values, _ = randomized_svd(matrix, self.size, random_state=seed)
        probability = np.array(list(frequency.values())) / frequency.total()
        weight = RARITY / (RARITY + probability)
        self._vectors = left * np.sqrt(values) * weight[:, None]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts to vectors, (n, size); of unknown words only, to zeros."""
        counts = self._count(texts)
        length = np.maximum(counts.sum(axis=1), 1.0)
        vectors: Vectors = diags_array(1 / length) @ (counts @ self._vectors)
        return vectors

    def _count(self, texts: Sequence[str]) -> csr_array:
        """Count the known words of each text: (n, words)."""
        found = [[self._row[word] for word in terms(text) if word in self._row] for text in texts]
        ends = np.cumsum([0, *map(len, found)])
        columns = np.array([row for rows in found for row in rows], dtype=np.int64)
        return csr_array((np.ones(len(columns)), columns, ends), (len(texts), len(self._row)))
