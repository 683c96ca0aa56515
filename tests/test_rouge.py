"""ROUGE by hand, and as `rouge-score` and ROUGE-1.5.5 compute it."""

from __future__ import annotations

import random

import pytest

from seqae.metrics.summaries.rouge import (
    KINDS,
    Rouge,
    longest_common,
    name_of_words,
    rouge,
    rouge_words,
)

# What rouge-score 0.1.2 gives: RougeScorer(KINDS, use_stemmer).score("\n".join(reference),
# "\n".join(prediction)), as precision, recall, F1.
PREDICTION = ["The quick brown dogs jumped on U.S. logs.", "It's 3.5 miles, on_time."]
REFERENCE = ["A quick brown fox jumps over the lazy dog.", "On time: 3.5 miles."]
SCORES = {
    False: {
        "rouge1": (8 / 16, 8 / 14, 8 / 15),
        "rouge2": (4 / 15, 4 / 13, 4 / 14),
        "rougeL": (6 / 16, 6 / 14, 6 / 15),
        "rougeLsum": (6 / 16, 6 / 14, 6 / 15),
    },
    True: {
        "rouge1": (10 / 16, 10 / 14, 10 / 15),
        "rouge2": (4 / 15, 4 / 13, 4 / 14),
        "rougeL": (7 / 16, 7 / 14, 7 / 15),
        "rougeLsum": (7 / 16, 7 / 14, 7 / 15),
    },
}


def test_by_hand() -> None:
    # Three of the four words are in the reference of six; one of three pairs, `the cat`, of five;
    # the longest common subsequence is `the cat sat`.
    score = rouge(["the cat now sat"], [["the cat was here, it sat"]])
    assert score["rouge1"] == pytest.approx((3 / 4, 3 / 6, 0.6))
    assert score["rouge2"] == pytest.approx((1 / 3, 1 / 5, 0.25))
    assert score["rougeL"] == pytest.approx((3 / 4, 3 / 6, 0.6))


def test_sentences_of_the_paper() -> None:
    # Lin 2004, section 3.2: the reference `w1 w2 w3 w4 w5` has in common with `w1 w2 w6 w7 w8` and
    # `w1 w3 w8 w9 w5` the union `w1 w2 w3 w5`: 4 / 5 of the reference, and 4 of 10 words.
    score = rouge(["w1 w2 w6 w7 w8", "w1 w3 w8 w9 w5"], [["w1 w2 w3 w4 w5"]])["rougeLsum"]
    assert score == pytest.approx((4 / 10, 4 / 5, 8 / 15))


def test_scores_of_rouge_1_5_5() -> None:
    """ROUGE-1.5.5.pl -n 2 -a -d -z SPL on the same pair; its ROUGE-L is that of sentences.

    On 20 papers of `aclsum` no score differs by more than 9e-6, its rounding. With stems five do,
    by at most 0.022: where its Porter takes the ending off `argument`, `element` or `document`,
    NLTK's, which `rouge-score` has, leaves it. With its own stems ours are its scores again.
    """
    score = rouge(PREDICTION, [REFERENCE])
    assert score["rouge1"] == pytest.approx((0.5, 0.57143, 0.53333), abs=1e-5)
    assert score["rouge2"] == pytest.approx((0.26667, 0.30769, 0.28572), abs=1e-5)
    assert score["rougeLsum"] == pytest.approx((0.375, 0.42857, 0.4), abs=1e-5)


@pytest.mark.parametrize("stemmer", [False, True])
def test_scores_of_rouge_score(stemmer: bool) -> None:
    score = rouge(PREDICTION, [REFERENCE], stemmer)
    assert {kind: pytest.approx(value) for kind, value in SCORES[stemmer].items()} == score


def test_scores_equal_rouge_score_called_directly() -> None:
    scorers = pytest.importorskip("rouge_score.rouge_scorer", exc_type=ImportError)
    draw = random.Random(0)
    words = [
        "the",
        "cat",
        "cats",
        "sat",
        "sitting",
        "on_a",
        "mat's",
        "running",
        "3.5",
        "U.S.",
        "dogs",
        "and,",
        "the",
        "the",
        "a",
        "b",
    ]
    for number in range(100):
        texts = [
            [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(draw.randint(1, 4))]
            for _ in range(3)
        ]
        prediction, *references = texts
        scorer = scorers.RougeScorer(list(KINDS), use_stemmer=number % 2 == 1)
        expected = scorer.score_multi(
            ["\n".join(text) for text in references], "\n".join(prediction)
        )
        for kind, score in rouge(prediction, references, number % 2 == 1).items():
            assert score == pytest.approx(tuple(expected[kind]))


def test_other_scripts_have_words_of_their_own() -> None:
    assert rouge_words("It's the U.S. of on_time") == [
        "it",
        "s",
        "the",
        "u",
        "s",
        "of",
        "on",
        "time",
    ]
    assert rouge_words("Café ’n 今天") == ["café", "n", "今", "天"]
    for same in ("今天天气很好。", "Ünïcödé", "สวัสดี", "привет мир"):
        assert rouge([same], [[same]])["rouge1"] == Rouge(1.0, 1.0, 1.0)
    assert name_of_words(["It’s"], stemmer=False) == "rouge-score"
    assert name_of_words(["It’s", "今"], stemmer=True) == "rouge-score+unicode, Porter stems"


def test_the_reference_with_the_best_f1_counts_for_each_kind() -> None:
    score = rouge(["a b"], [["a"], ["b a c"], []])
    assert score["rouge1"] == pytest.approx((1.0, 2 / 3, 0.8))
    assert rouge([], [["a"]])["rougeL"] == Rouge(0.0, 0.0, 0.0)


def test_the_recall_of_a_cut_summary() -> None:
    assert rouge(["ab cd", "ef"], [["ab cd ef"]], recall_bytes=4)["rouge1"].recall == 1 / 3
    assert rouge(["ab cd", "ef"], [["ab cd ef"]], recall_bytes=8)["rouge1"].recall == 1
    assert rouge(["今天"], [["今天"]], recall_bytes=5)["rouge1"].recall == 0.5


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    draw = random.Random(1)
    for _ in range(50):
        left, right = ("".join(draw.choices("abc", k=draw.randint(0, 70))) for _ in range(2))
        rows = [[0] * (len(right) + 1)]
        for one in left:
            row = [0]
            for place, other in enumerate(right):
                above = rows[-1]
                row.append(above[place] + 1 if one == other else max(above[place + 1], row[-1]))
            rows.append(row)
        assert longest_common(left, right) == rows[-1][-1]
