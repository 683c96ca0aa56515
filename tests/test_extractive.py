"""Selection by vectors, on a plane where the right choice is seen."""

from __future__ import annotations

import math

import pytest
from test_summarizers import Plane, generator, picks

from seqae.summarizers import (
    Budget,
    CentroidSummarizer,
    ClusterSummarizer,
    Document,
    LeadSummarizer,
    MarginalRelevanceSummarizer,
    MedoidSummarizer,
    PrefixSummarizer,
    RandomSummarizer,
    TfidfSpace,
)

FIVE = Document.read("d", ["one", "two three", "four five six", "seven", "eight nine"])
# Degrees from the first axis: three are near 10, one is at 40, one at 90; the mean is near 29.
ANGLES = (10, 8, 12, 40, 90)
PLANE = Plane([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in ANGLES])


def test_the_nearest_to_the_centroid_come_first() -> None:
    assert picks(CentroidSummarizer(), FIVE, PLANE, 2) == [2, 3]
    assert picks(MedoidSummarizer(), FIVE, PLANE, 2) == [3]


def test_marginal_relevance_takes_what_is_unlike_the_taken() -> None:
    # The first is at 40 degrees, nearest the mean at 30.3. By hand, λ = 0.5: at 90 degrees it is
    # (cos 59.7 - cos 50) / 2 = -0.069, at 12 degrees (cos 18.3 - cos 28) / 2 = 0.033; at 8 degrees
    # (cos 22.3 - cos 32) / 2 = 0.039, the highest.
    assert picks(MarginalRelevanceSummarizer(0.5), FIVE, PLANE, 2) == [1, 3]
    assert picks(MarginalRelevanceSummarizer(1.0), FIVE, PLANE, 3) == picks(
        CentroidSummarizer(), FIVE, PLANE, 3
    )
    assert picks(MarginalRelevanceSummarizer(0.0), FIVE, PLANE, 2) == [0, 4]


def test_each_cluster_gives_the_one_nearest_its_centre() -> None:
    assert picks(ClusterSummarizer(), FIVE, PLANE, 3) == [0, 3, 4]


def test_priors_move_the_choice_to_the_beginning_and_to_whole_sentences() -> None:
    assert picks(CentroidSummarizer(position=10.0), FIVE, PLANE, 2) == [0, 1]
    # Their means are of 1.8 words.
    assert picks(CentroidSummarizer(length=10.0), FIVE, PLANE, 3) == [1, 2, 4]


def test_a_sentence_that_does_not_fit_is_passed_over() -> None:
    summary = CentroidSummarizer().summarize(FIVE, PLANE, Budget(words=2), generator())
    assert [sentence.evidence for sentence in summary.sentences] == [(0,), (3,)]


def test_lead_takes_exactly_as_many_words_and_bytes() -> None:
    document = Document.read("d", "He went home. It rained all day.")
    for budget, expected in (
        (Budget(sentences=1), "He went home."),
        (Budget(words=5), "He went home. It rained"),
        (Budget(bytes=16), "He went home. It"),
        (Budget(bytes=13), "He went home."),
        (Budget(words=99), "He went home. It rained all day."),
    ):
        assert LeadSummarizer().summarize(document, None, budget, generator()).text == expected
    half = PrefixSummarizer().summarize(document, None, Budget(words=1), generator())
    assert half.text == "He went home. It"  # of seven words, to the even one
    assert [sentence.evidence for sentence in half.sentences] == [(0,), (1,)]


def test_random_sentences_are_equally_likely() -> None:
    drawn = generator()
    counts = [0] * 5
    for _ in range(500):
        summary = RandomSummarizer().summarize(FIVE, None, Budget(sentences=2), drawn)
        for sentence in summary.sentences:
            counts[sentence.evidence[0]] += 1
    assert counts == pytest.approx([200] * 5, abs=40)  # four standard deviations of 11


def test_tfidf_finds_the_sentence_that_shares_words() -> None:
    document = Document.read(
        "d", "Red cats ran. Nothing else. Red cats slept. Red cats ran, then slept."
    )
    assert picks(CentroidSummarizer(), document, TfidfSpace(), 1) == [3]
