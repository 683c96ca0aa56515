"""Spaces of words, to compare latents with: TF-IDF, and mean word vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from seqae.extras import extra
from seqae.metrics.segmenter import terms
from seqae.metrics.word_vectors import MeanWordVectors
from seqae.summarizers.base import SentenceSpace, Vectors
from seqae.summarizers.document import Document

with extra("eval"):
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfVectorizer


@final
class TfidfSpace(SentenceSpace):
    """TF-IDF, as scikit-learn has it, whose documents are the sentences of the one document.

    Vectors are sparse.
    """

    name: ClassVar[str] = "tfidf"

    @override
    def vectors(self, document: Document) -> Vectors:
        if not any(map(terms, document.sentences)):
            return csr_array((len(document), 1))
        vectorizer = TfidfVectorizer(analyzer=terms, dtype=np.float32)
        return csr_array(vectorizer.fit_transform(document.sentences))


@final
class WordVectorSpace(SentenceSpace):
    """Mean word vectors; see `MeanWordVectors`.

    Args:
        train: the sentences that they are learnt from.
        size: their dimensions.
        seed: of the randomised SVD.
    """

    name: ClassVar[str] = "word_vectors"

    def __init__(self, train: Sequence[str], size: int = 128, seed: int = 0) -> None:
        self._words = MeanWordVectors(train, size, seed)

    @override
    def vectors(self, document: Document) -> Vectors:
        return self._words.encode(document.sentences)
