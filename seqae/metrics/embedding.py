"""What embeddings are good for: similarity of pairs, neighbours of a label, a linear probe.

Each is to be read beside the same figure of TF-IDF vectors of the same size (`TfidfSvd`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.functional.regression import spearman_corrcoef

SIMILARITIES = 2**24  # held at a time: 64 MiB
FOLDS = 5

Vectors = NDArray[np.floating]


class TfidfSvd:
    """Latent semantic analysis (Deerwester et al. 1990): TF-IDF vectors, cut to a few dimensions.

    Words as scikit-learn finds them, sublinear term frequency, a truncated SVD.

    Args:
        train: sentences that say how frequent words are, and which occur together.
        size: dimensions; no more than there are words or sentences can be had.
        seed: of the randomised SVD.
    """

    def __init__(self, train: Sequence[str], size: int, seed: int = 0) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        if len({word for text in train for word in self._words.build_analyzer()(text)}) < 2:
            raise ValueError(
                "`train_file` must hold two different words or more, but it does not. Name "
                "another file."
            )
        counts = self._words.fit_transform(train)
        self.size = min(size, min(counts.shape) - 1)
        self._svd = TruncatedSVD(self.size, random_state=seed).fit(counts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(n, size)."""
        vectors: Vectors = self._svd.transform(self._words.transform(texts))
        return vectors


def cosine(first: Vectors, second: Vectors) -> Vectors:
    """The cosine of each row with the same row of the other, (n,); 0 where one of them is zero."""
    product: Vectors = (unit(first) * unit(second)).sum(axis=1)
    return product


def unit(vectors: Vectors) -> Vectors:
    """Each row brought to length 1, a zero left as it is."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0.0, 1.0, length)


def spearman(first: Vectors, second: Vectors, scores: Sequence[float]) -> float:
    """Spearman's rank correlation of cosine and human score over pairs, -1 to 1.

    The measure of the STS tasks as SentEval and MTEB report it (Reimers et al. 2016 on why ranks).
    Equal values share their mean rank. Not a number where one side is constant.
    """
    similarity = torch.from_numpy(cosine(first, second)).double()
    human = torch.tensor(scores, dtype=torch.float64)
    if similarity.std() == 0.0 or human.std() == 0.0:
        return math.nan
    return float(spearman_corrcoef(similarity, human))


def neighbour_accuracy(vectors: Vectors, labels: Sequence[str]) -> float:
    """The share of sentences whose nearest other one, by cosine, has their label."""
    rows = max(1, SIMILARITIES // len(vectors))
    names = np.asarray(labels)
    normed = unit(vectors).astype(np.float32)
    hits = 0
    for start in range(0, len(normed), rows):
        similarity = normed[start : start + rows] @ normed.T
        block = np.arange(len(similarity))
        similarity[block, start + block] = -np.inf
        hits += int((names[similarity.argmax(axis=1)] == names[start + block]).sum())
    return hits / len(normed)


def linear_probe(vectors: Vectors, labels: Sequence[str], seed: int = 0) -> float:
    """The accuracy of logistic regression on the vectors, by five-fold cross-validation.

    Dimensions are brought to zero mean and unit variance on the training folds; scikit-learn's L2
    penalty stays as it is (C = 1). A linear probe as of Alain and Bengio 2016 (arXiv:1610.01644).
    Needs five sentences of each label.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return float(cross_val_score(probe, vectors, np.asarray(labels), cv=folds).mean())


def majority(labels: Sequence[str]) -> float:
    """The share of the most frequent label: what answering without looking gets."""
    return max(Counter(labels).values()) / len(labels)
