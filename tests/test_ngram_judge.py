"""The judge of text: what it prefers, what it makes of unknown words, what it draws."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from seqae.data.builtin import load_builtin
from seqae.metrics.judge.ngram_judge import NgramJudge, joined
from seqae.metrics.segmenter import lower_words

TRAIN = load_builtin("wordnet-examples", "train")[:8000]
REAL = load_builtin("wordnet-examples", "test")[:500]


@pytest.fixture(scope="module")
def judge() -> NgramJudge:
    return NgramJudge(TRAIN)


def test_real_text_before_shuffled_words_before_letters(judge: NgramJudge) -> None:
    """In the order in which a trigram model of far more text (pocketsphinx 5.1.1) has them."""
    rng = random.Random(0)
    shuffled = [" ".join(rng.sample(text.split(), len(text.split()))) for text in REAL]
    letters = ["".join(rng.sample(text, len(text))) for text in REAL]
    kinds = [TRAIN[:500], judge.sample(500), REAL, shuffled, letters]
    found = [judge.perplexity(kind) for kind in kinds]
    assert found == sorted(found)
    assert found[3] > 2 * found[2]
    assert found[4] > 1000 * found[3]
    unknown = [judge.unknown(kind) for kind in kinds]
    assert unknown[:2] == [0, 0]
    assert 0.05 < unknown[2] == unknown[3] < 0.2 < 0.6 < unknown[4]


def test_an_unknown_word_costs_its_spelling(judge: NgramJudge) -> None:
    """One that could be a word costs less than one that could not, or than strange characters."""
    kinds = ["he is unbelieving", "he is nasgentsinef", "he is \U00013000\U00013001\U00013002"]
    costs, lengths = judge.nats(kinds)
    assert lengths.tolist() == [4, 4, 4]
    assert 10 < costs[1] - costs[0] < 40 < 50 < costs[2] - costs[0]


def test_the_end_counts_and_case_does_not() -> None:
    judge = NgramJudge(["The cat sat.", "the cat ran.", "a dog ran", "a dog sat"])
    nats, lengths = judge.nats(["THE CAT SAT.", "the cat sat ."])
    assert nats[0] == nats[1]
    assert lengths.tolist() == [5, 5]
    assert judge.perplexity(["the cat sat."]) == pytest.approx(math.exp(nats[0] / 5))
    assert math.isnan(judge.perplexity([]))
    assert math.isnan(judge.unknown([""]))


def test_common_words_are_half_of_the_text(judge: NgramJudge) -> None:
    common = judge.common()
    assert {"the", "a", "of", "to", "he", "was"} <= common
    assert not {"cat", "president", "nasgentsinef"} & common
    rows = [word for text in TRAIN for word in lower_words(text)]
    assert sum(word in common for word in rows) / len(rows) == pytest.approx(0.5, abs=0.002)
    assert judge.common(0.0) == frozenset()


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["one two"], ["one one one"], ["我用"]])
def test_little_text(texts: list[str]) -> None:
    judge = NgramJudge(texts)
    assert np.isfinite(judge.nats(["", "one", "two three"])[0]).all()
    assert len(judge.sample(3)) == 3


def test_samples_are_sentences_of_known_words(judge: NgramJudge) -> None:
    drawn = judge.sample(200, seed=3)
    assert drawn == judge.sample(200, seed=3)
    assert drawn != judge.sample(200, seed=4)
    assert 4 < np.mean([len(text.split()) for text in drawn]) < 10


@pytest.mark.parametrize("text", [*REAL[:50], "it is (as they say) 3 dollars, no?"])
def test_joined_words_are_the_same_words(text: str) -> None:
    words = lower_words(text)
    assert lower_words(joined(words)) == words
