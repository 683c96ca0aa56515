"""Spearman against SciPy, neighbours by hand and against scikit-learn, the baseline."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from seqae.metrics import embedding
from seqae.metrics.embedding import (
    TfidfSvd,
    cosine,
    linear_probe,
    majority,
    neighbour_accuracy,
    retrieval,
    spearman,
)

RNG = np.random.default_rng(0)


def test_cosine_by_hand():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    second = np.array([[2.0, 0.0], [-1.0, -1.0], [1.0, 0.0]])
    assert cosine(first, second).tolist() == pytest.approx([1.0, -1.0, 0.0])


def test_spearman_is_scipys_ties_included():
    first, second = RNG.normal(size=(40, 5)), RNG.normal(size=(40, 5))
    scores = RNG.integers(0, 6, size=40).astype(float)
    reference = spearmanr(cosine(first, second), scores).statistic
    assert spearman(first, second, scores.tolist()) == pytest.approx(reference, abs=1e-5)


def test_spearman_counts_order_only():
    """Cosines of 1, 0.6 and 0 against scores in the same order, at uneven distances."""
    first = np.array([[1.0, 0.0]] * 3)
    second = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert spearman(first, second, [5.0, 0.2, 0.1]) == pytest.approx(1.0, abs=1e-5)
    assert spearman(first, second, [0.1, 0.2, 5.0]) == pytest.approx(-1.0, abs=1e-5)
    assert math.isnan(spearman(first, second, [1.0, 1.0, 1.0]))


@pytest.mark.parametrize("held", [1, 100, 10**6])
def test_neighbour_accuracy_is_leave_one_out(monkeypatch: pytest.MonkeyPatch, held: int):
    monkeypatch.setattr(embedding, "BLOCK_ELEMENTS", held)
    vectors = RNG.normal(size=(50, 3))
    labels = ["up" if row[0] > 0 else "down" for row in vectors]
    classifier = KNeighborsClassifier(1, metric="cosine")
    reference = cross_val_predict(classifier, vectors, labels, cv=LeaveOneOut())
    found = neighbour_accuracy(vectors, labels)
    assert found == pytest.approx(float((reference == np.array(labels)).mean()))


def test_a_linear_probe_finds_what_is_linear_and_nothing_else():
    vectors = RNG.normal(size=(100, 4))
    assert linear_probe(vectors, ["a" if v > 0 else "b" for v in vectors[:, 2]]) > 0.9
    ring = ["a" if v > 1.0 else "b" for v in np.abs(vectors[:, 2]) * 1.5]
    assert linear_probe(vectors, ring) < 0.75


def test_majority():
    assert majority(["a", "b", "a", "c"]) == 0.5


def test_tfidf_vectors_put_like_sentences_together():
    train = [f"the {animal} {does}" for animal in ("cat", "dog") for does in ("ran", "sat", "ate")]
    model = TfidfSvd(train, 4)
    vectors = model.encode(["a cat ran", "the cat ran off", "the dog sat", "xyz"])
    assert vectors.shape == (4, 4)
    near, far = cosine(vectors[:1], vectors[1:2])[0], cosine(vectors[:1], vectors[2:3])[0]
    assert near > 0.9 > far
    assert not vectors[3].any()
    assert TfidfSvd(train, 500).size == min(len(train), 6) - 1


def test_retrieval_by_hand():
    """Ranks 1, 2 and 1; a candidate as near as the paraphrase counts as nearer."""
    first = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    second = np.array([[2.0, 0.1], [1.0, 1.0], [-3.0, 3.0]])
    found = retrieval(first, second)
    assert found == {"recall_at_1": 2 / 3, "mean_reciprocal_rank": pytest.approx(5 / 6)}
    same = retrieval(np.ones((2, 2)), np.ones((2, 2)))
    assert same == {"recall_at_1": 0.0, "mean_reciprocal_rank": 0.5}
