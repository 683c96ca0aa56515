"""Trivial baselines, which a model must beat before its metrics mean anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from seqae.extras import extra

with extra("eval"):
    from sklearn.feature_extraction.text import TfidfVectorizer

from seqae.metrics.segmenter import blank_separated, terms

SIMILARITIES = 2**24  # in memory at a time: 128 MiB


def check_train(train: Sequence[str]) -> None:
    """Refuse training sentences to which no baseline of words can be fitted.

    Raises:
        ValueError: if there are fewer than two, or fewer than two different words.
    """
    words: set[str] = set()
    for text in train:
        words.update(terms(text))
        if len(words) > 1:
            break
    if len(words) < 2 or len(train) < 2:
        raise ValueError(
            "`train_file` must hold two sentences and two different words or more, but it does "
            "not. Name another file."
        )


def most_frequent_sentence(train: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Answer every text with the training sentence that occurs most often.

    Among equally frequent ones it is the sentence whose words are the most frequent on average:
    the best constant guess if no sentence occurs twice.
    """
    counts = Counter(train)
    highest = max(counts.values())
    words = Counter(word for text in train for word in blank_separated(text))

    def commonness(text: str) -> tuple[float, str]:
        tokens = blank_separated(text)
        return sum(words[word] for word in tokens) / max(1, len(tokens)), text

    best = max((text for text, count in counts.items() if count == highest), key=commonness)
    return [best] * len(texts)


def nearest_by_tfidf(
    train: Sequence[str], texts: Sequence[str], answers: Sequence[str] | None = None
) -> list[str]:
    """Answer each text with the training sentence of the highest TF-IDF cosine.

    Words are the segmenter's terms, term frequency is sublinear; blocks bound the memory.

    Args:
        train: training sentences.
        texts: sentences to answer.
        answers: what to answer instead of each training sentence.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer=terms)
    vectors = vectorizer.fit_transform(train).T.tocsc()
    queries = vectorizer.transform(texts)
    nearest: list[int] = []
    rows = max(1, SIMILARITIES // len(train))
    for start in range(0, len(texts), rows):
        similarity = (queries[start : start + rows] @ vectors).toarray()
        nearest += np.asarray(similarity).argmax(axis=1).tolist()
    return [(answers or train)[index] for index in nearest]
