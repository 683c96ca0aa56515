"""Metrics of embeddings in use: similarity of pairs, nearest neighbours, a linear probe.

Compare each with the same metric of vectors of the same size that need no training: TF-IDF and an
SVD (`TfidfSvd`), and mean word vectors (word_vectors.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.extras import extra
from seqae.metrics.segmenter import terms

with extra("eval"):
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from torchmetrics.functional.regression import spearman_corrcoef

BLOCK_ELEMENTS = 2**24  # of a block of similarities: 64 MiB in float32
FOLDS = 5

Vectors = NDArray[np.floating]


class TfidfSvd:
    """Latent semantic analysis (Deerwester et al. 1990): TF-IDF vectors reduced by an SVD.

    Words are the segmenter's terms, term frequencies sublinear, and the SVD is truncated.

    Args:
        train: sentences to which the frequencies of words and the SVD are fitted.
        size: dimensions, cut to one less than the number of words or sentences.
        seed: of the randomised SVD.

    Raises:
        ValueError: if `train` has fewer than two different words.
    """

    def __init__(self, train: Sequence[str], size: int, seed: int = 0) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True, analyzer=terms)
        if len({word for text in train for word in terms(text)}) < 2:
            raise ValueError(
                "`train_file` must hold two different words or more, but it does not. Name "
                "another file."
            )
        counts = self._words.fit_transform(train)
        self.size = min(size, min(counts.shape) - 1)
        self._svd = TruncatedSVD(self.size, random_state=seed).fit(counts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts to vectors, (n, size)."""
        vectors: Vectors = self._svd.transform(self._words.transform(texts))
        return vectors


def cosine(first: Vectors, second: Vectors) -> Vectors:
    """Compute the cosine of each pair of rows, (n,) of (n, Z) each; 0 if one of them is zero."""
    product: Vectors = (normalize_rows(first) * normalize_rows(second)).sum(axis=1)
    return product


def normalize_rows(vectors: Vectors) -> Vectors:
    """Scale each row to length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0.0, 1.0, length)


def spearman(first: Vectors, second: Vectors, scores: Sequence[float]) -> float:
    """Compute Spearman's rank correlation of cosines and human scores over pairs, -1 to 1.

    SentEval and MTEB report it for the STS tasks (on why ranks: Reimers et al. 2016). Equal values
    share their mean rank. It is NaN if one side is constant.

    Args:
        first: (n, Z).
        second: (n, Z).
        scores: n human scores of similarity.
    """
    similarity = torch.from_numpy(cosine(first, second)).double()
    human = torch.tensor(scores, dtype=torch.float64)
    if similarity.std() == 0.0 or human.std() == 0.0:
        return math.nan
    return float(spearman_corrcoef(similarity, human))


def neighbour_accuracy(vectors: Vectors, labels: Sequence[str]) -> float:
    """Compute the share of sentences whose nearest neighbour by cosine has the same label.

    Args:
        vectors: (n, Z); a sentence is not its own neighbour.
        labels: n labels.
    """
    rows = max(1, BLOCK_ELEMENTS // len(vectors))
    names = np.asarray(labels)
    normalized = normalize_rows(vectors).astype(np.float32)
    hits = 0
    for start in range(0, len(normalized), rows):
        similarity = normalized[start : start + rows] @ normalized.T
        block = np.arange(len(similarity))
        similarity[block, start + block] = -np.inf
        hits += int((names[similarity.argmax(axis=1)] == names[start + block]).sum())
    return hits / len(normalized)


def retrieval(first: Vectors, second: Vectors) -> dict[str, float]:
    """Measure how well the cosine finds the paraphrase of each sentence among all of them.

    Args:
        first: (n, Z).
        second: (n, Z); row i is the paraphrase of row i of `first`.

    Returns:
        `recall_at_1`, the share of sentences whose nearest candidate is their paraphrase, and
        `mean_reciprocal_rank` (Voorhees 1999). A candidate as near as the paraphrase comes before
        it.
    """
    left, right = normalize_rows(first), normalize_rows(second)
    rows = max(1, BLOCK_ELEMENTS // len(right))
    ranks = []
    for start in range(0, len(left), rows):
        similarity = left[start : start + rows] @ right.T
        own = similarity[np.arange(len(similarity)), start + np.arange(len(similarity))]
        ranks.append((similarity >= own[:, None]).sum(axis=1))
    rank = np.concatenate(ranks)
    return {
        "recall_at_1": float((rank == 1).mean()),
        "mean_reciprocal_rank": float((1 / rank).mean()),
    }


def linear_probe(vectors: Vectors, labels: Sequence[str], seed: int = 0) -> float:
    """Compute the accuracy of logistic regression on the vectors, by five-fold cross-validation.

    Dimensions are scaled to zero mean and unit variance on the training folds; scikit-learn's L2
    penalty keeps its default (C = 1). The linear probe is that of Alain and Bengio 2016
    (arXiv:1610.01644).

    Args:
        vectors: (n, Z).
        labels: n labels, at least five sentences of each.
        seed: of the folds.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return float(cross_val_score(probe, vectors, np.asarray(labels), cv=folds).mean())


def majority(labels: Sequence[str]) -> float:
    """Compute the share of the most frequent label: the accuracy of always guessing it."""
    return max(Counter(labels).values()) / len(labels)
