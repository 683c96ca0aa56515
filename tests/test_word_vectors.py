"""Mean word vectors: weights, meaning, what is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from seqae.metrics.embedding import cosine
from seqae.metrics.word_vectors import RARITY, MeanWordVectors

TRAIN = [f"the {animal} {does}" for animal in ("cat", "dog") for does in ("ran", "sat", "ate")]


def test_words_in_like_company_are_alike():
    vectors = MeanWordVectors(TRAIN, 2).encode(["cat", "dog", "ran"])
    near, far = cosine(vectors[:1], vectors[1:2])[0], cosine(vectors[:1], vectors[2:])[0]
    assert near == pytest.approx(1.0)
    assert near > far


def test_a_sentence_is_the_mean_of_its_words_and_unknown_words_are_nothing():
    model = MeanWordVectors(TRAIN, 500)
    assert model.size == 5
    cat, ran, both, other, none = model.encode(["cat", "Ran", "xyz ran cat", "the cat", "xyz"])
    np.testing.assert_allclose(both, (cat + ran) / 2)
    assert not none.any()
    the = 2 * other - cat
    # Both have the same company but for each other: the weights alone tell them apart.
    assert np.linalg.norm(the) < np.linalg.norm(cat)
    assert RARITY / (RARITY + 6 / 18) < RARITY / (RARITY + 3 / 18)


def test_words_must_have_company():
    with pytest.raises(ValueError, match="`train_file` must have sentences of two different words"):
        MeanWordVectors(["cat", "dog"], 2)
