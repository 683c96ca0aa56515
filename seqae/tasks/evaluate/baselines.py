"""Trivial baselines: what a model has to be better than before its figures mean anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

SIMILARITIES = 2**24  # held at a time: 128 MiB
WORD = r"(?u)\b\w+\b"


def check_train(train: Sequence[str]) -> None:
    """Refuse training sentences that no baseline of words can be fitted to.

    Raises:
        ValueError: if there are fewer than two, or fewer than two different words.
    """
    words: set[str] = set()
    for text in train:
        words.update(re.findall(WORD, text.lower()))
        if len(words) > 1:
            break
    if len(words) < 2 or len(train) < 2:
        raise ValueError(
            "`train_file` must hold two sentences and two different words or more, but it does "
            "not. Name another file."
        )


def most_frequent_sentence(train: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Answer every text with the training sentence that occurs most often.

    Among equals, the one whose words are the most frequent on average, which is the best guess
    that a constant can be where no sentence occurs twice.
    """
    counts = Counter(train)
    highest = max(counts.values())
    words = Counter(word for text in train for word in text.split())

    def commonness(text: str) -> tuple[float, str]:
        tokens = text.split()
        return sum(words[word] for word in tokens) / max(1, len(tokens)), text

    best = max((text for text, count in counts.items() if count == highest), key=commonness)
    return [best] * len(texts)


def nearest_by_tfidf(
    train: Sequence[str], texts: Sequence[str], answers: Sequence[str] | None = None
) -> list[str]:
    """Answer each text with the training sentence of the highest TF-IDF cosine.

    Words as scikit-learn finds them, sublinear term frequency; blocks bound the memory.

    Args:
        train: training sentences.
        texts: what is asked.
        answers: for each training sentence what is answered in its place.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD)
    vectors = vectorizer.fit_transform(train).T.tocsc()
    asked = vectorizer.transform(texts)
    nearest: list[int] = []
    rows = max(1, SIMILARITIES // len(train))
    for start in range(0, len(texts), rows):
        similarity = (asked[start : start + rows] @ vectors).toarray()
        nearest += np.asarray(similarity).argmax(axis=1).tolist()
    return [(answers or train)[index] for index in nearest]
