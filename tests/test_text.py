"""Text figures against NLTK's formula, sacreBLEU and torchmetrics, and cases worked by hand."""

from __future__ import annotations

import math

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from torchmetrics.functional.text import edit_distance as reference_distance

from seqae.metrics.text import (
    chrf,
    content_kept,
    copies,
    distinct,
    edit_distance,
    memorised,
    normalized_edit_distance,
    self_bleu,
    unigram_bleu,
)

TEXTS = ["the cat sat", "the cat sat on the mat", "a dog, he ran!", "", "the the the", "dogs run"]

# Unigram BLEU


def test_unigram_bleu_by_hand():
    assert unigram_bleu(["a b c"], ["a b c"]) == 1.0
    assert unigram_bleu(["c b a"], ["a b c"]) == 1.0  # order does not count
    # `a` counts once, and the end: 2 of 4; as long as the other.
    assert unigram_bleu(["a a a"], ["a b c"]) == pytest.approx(2 / 4)
    # All 2 of 2 are right, but 4 were due: exp(1 - 4 / 2).
    assert unigram_bleu(["a"], ["a b c"]) == pytest.approx(math.exp(-1))
    assert unigram_bleu(["a", "a b"], ["a", "x y"]) == pytest.approx((1 + 1 / 3) / 2)


@settings(deadline=None)  # the first call imports NLTK
@given(st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_unigram_bleu_is_what_sentence_mim_computes(written: str, due: str):
    bleu_score = pytest.importorskip("nltk.translate.bleu_score")
    sides = [due.split() + ["<eos>"]], written.split() + ["<eos>"]
    reference = bleu_score.sentence_bleu(*sides, weights=(1.0,))
    assert unigram_bleu([written], [due]) == pytest.approx(reference)


# chrF


def test_chrf_is_sacrebleus():
    written, due = ["the cat sat", "a dog"], ["the cat sits", "the dog"]
    assert chrf(written, due) == pytest.approx(sacrebleu.corpus_chrf(written, [due]).score)


# Edit distance


def test_edit_distance_by_hand():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance([], []) == 0
    assert edit_distance("abc", "") == edit_distance("", "abc") == 3
    assert edit_distance(["the", "cat"], ["the", "dog", "ran"]) == 2


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edit_distance_is_torchmetrics(first: str, second: str):
    reference = reference_distance([first], [second], reduction="sum")
    assert edit_distance(first, second) == int(reference)


def test_normalized_edit_distance_by_hand():
    # 1 of 3 words, 0 of 0, and 2 of 2.
    written, due = ["the cat sat", "", "a b"], ["the dog sat", "", "c"]
    assert normalized_edit_distance(written, due) == pytest.approx((1 / 3 + 0 + 1) / 3)


# Diversity


@given(st.lists(st.sampled_from([t for t in TEXTS if t]), min_size=2, max_size=7))
def test_self_bleu_is_the_mean_of_sacrebleus(texts: list[str]):
    bleu = BLEU(effective_order=True)
    scores = [
        bleu.sentence_score(text, texts[:place] + texts[place + 1 :]).score
        for place, text in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(sum(scores) / len(scores))


def test_self_bleu_of_equal_and_of_unlike_texts():
    assert self_bleu(["one two three four five"] * 3) == pytest.approx(100.0)
    assert self_bleu(["a b c d", "e f g h"]) == 0.0
    assert math.isnan(self_bleu(["alone"]))


def test_distinct_by_hand():
    # Of 6 words a, b and c are different; of the pairs ab, bc and ba.
    texts = ["a b c", "a b a"]
    assert distinct(texts, 1) == pytest.approx(3 / 6)
    assert distinct(texts, 2) == pytest.approx(3 / 6)
    assert math.isnan(distinct([""], 1))


def test_copies_by_hand():
    assert copies(["a b", "c", "A  b", "a b."], ["a b", "x"]) == 1 / 2


def test_memorised_by_hand():
    """Of a b c d, b c d e, c d e f and x b c d, the first two and the last are known."""
    texts = ["a b c d e f", "X b c d", "a b"]
    known = ["A b c d e", "x b c d", "f"]
    assert memorised([texts, ["a b c d"]], known) == [3 / 4, 1.0]
    assert memorised([texts], ["b"], order=1) == [3 / 12]
    assert math.isnan(memorised([["a b c"]], ["a b c d"])[0])


def test_content_kept_by_hand():
    ends = [("the red cat", "the old dog"), ("the", "a new end")]
    found = content_kept(["the red dog", "a new cat"], ends, {"the", "a"})
    assert found == (pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3), 1.0)
    assert content_kept(["the cat", ""], ends, {"the", "a"}).both == 0.0
