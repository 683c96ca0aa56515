"""TextRank, LexRank, Luhn, SumBasic and LSA pick what `sumy` picks on three of our documents.

The expected picks come from sumy 0.13.0, to which the words of these documents and scikit-learn's
stop words were given, so that only the ranking is compared. Its power method ran for 200 steps, as
its own ends of TextRank and LexRank are coarse; its LSA kept three topics and did not smooth, since
with all topics (its default) a rank is the length of a sentence's column whatever the topics are.
LexRank without damping gives many sentences the same rank, and is compared where it does not.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_summarizers import BUDGETS, DOCUMENTS, EXTRACTIVE, generator, picks

from seqae.data.builtin import open_builtin
from seqae.metrics.summaries.rouge import rouge
from seqae.summarizers import (
    Budget,
    Document,
    LexRankSummarizer,
    LsaSummarizer,
    LuhnSummarizer,
    SumBasicSummarizer,
    Summarizer,
    Summary,
    TextRankSummarizer,
    TfidfSpace,
)
from seqae.summarizers.baselines.content_words import count_content
from seqae.summarizers.baselines.oracle import oracle

STARTS = (0, 10_000, 20_000)  # of 25 lines of the built-in corpus `speeches`
SUMY: list[tuple[Summarizer, list[list[int]]]] = [
    (TextRankSummarizer(), [[4, 5, 14, 16, 21], [0, 11, 14, 19, 20], [9, 13, 14, 17, 19]]),
    (LexRankSummarizer(damping=1.0), [[0, 1, 2, 3, 21], [12, 20, 24], [13]]),
    (LuhnSummarizer(), [[8, 9, 14, 16, 17], [2, 14, 19, 20, 24], [3, 9, 14, 19, 22]]),
    (SumBasicSummarizer(), [[4, 6, 9, 12, 14], [6, 12, 20, 21, 24], [4, 9, 13, 15, 22]]),
    (LsaSummarizer(topics=3), [[10, 16, 17, 21, 23], [0, 1, 10, 11, 19], [0, 8, 9, 14, 17]]),
]


@pytest.mark.parametrize(("summarizer", "expected"), SUMY, ids=lambda value: type(value).__name__)
def test_the_picks_are_those_of_sumy(summarizer: Summarizer, expected: list[list[int]]) -> None:
    with open_builtin("speeches") as file:
        lines = file.read().decode().splitlines()
    for start, picked in zip(STARTS, expected, strict=True):
        document = Document.read("d", lines[start : start + 25])
        assert picks(summarizer, document, TfidfSpace(), len(picked)) == picked


def test_the_densest_cluster_by_hand() -> None:
    # Significant are cat and mat. The clusters are `cat mat` (4 / 2), `cat sat mat` (4 / 3), and
    # `cat` alone, since four other words part it from `mat`.
    texts = ["cat x y z v mat", "cat sat mat", "cat mat"]
    assert picks(LuhnSummarizer(), Document.read("d", texts), TfidfSpace(), 1) == [2]
    assert picks(LuhnSummarizer(), Document.read("d", texts), TfidfSpace(), 2) == [1, 2]


def test_the_oracle_takes_what_the_reference_says() -> None:
    document = Document.read("d", ["A cat ran.", "It was hot.", "A dog slept."])
    references = [["A cat ran, a dog slept."], ["Nothing."]]
    assert oracle(document, references, Budget(sentences=3)).text == "A cat ran. A dog slept."
    assert len(oracle(document, references, Budget(words=3)).sentences) == 1
    assert oracle(document, [["Nothing."]], Budget(words=3)).text == ""


def test_the_oracle_cuts_what_does_not_fit() -> None:
    document = Document.read("d", ["A cat ran.", "It was hot in the garden all day."])
    found = oracle(document, [["A cat ran, it was hot."]], Budget(words=6))
    assert [one.text for one in found.sentences] == ["A cat ran.", "It was hot"]
    assert [one.evidence for one in found.sentences] == [(0,), (1,)]
    found = oracle(document, [["It was hot."]], Budget(bytes=12))
    assert found.text == "It was hot i"


@pytest.mark.parametrize("text", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_no_extractive_method_is_better_than_the_oracle(text: str | list[str]) -> None:
    document, aims = Document.read("d", text), ("rouge1", "rouge2")
    references = [
        ["A dog and a cat ran past the garden."],
        ["天气很好，明天去公园。", "Same of the."],
    ]

    def aim(summary: Summary) -> float:
        return max(
            sum(rouge([one.text for one in summary.sentences], [due])[kind].f1 for kind in aims)
            for due in references
        )

    for budget in BUDGETS:
        ceiling = aim(oracle(document, references, budget))
        for kind, method in EXTRACTIVE.items():
            if kind != "prefix":  # which has a length of its own
                made = method().summarize(document, TfidfSpace(), budget, generator())
                assert aim(made) <= ceiling + 1e-9, (budget, kind)


def test_textrank_walks_by_weights_that_it_never_forms() -> None:
    texts = ["cat", "cat dog", "of the", "cat dog mat", "dog dog", "mat", "sun moon", "cat sun"]
    counts = count_content([text.split() for text in texts]).toarray()
    length = counts.sum(axis=1)
    size = np.log(np.maximum(length, 1))[:, None] + np.log(np.maximum(length, 1))
    weights = counts @ counts.T / np.where(size == 0, 1, size)
    steps = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    place = np.ones(len(texts))
    for _ in range(200):
        place = 0.15 * place.mean() + 0.85 * place @ steps
    best = sorted(np.argsort(-place.round(6), kind="stable")[:4].tolist())
    assert picks(TextRankSummarizer(), Document.read("d", texts), TfidfSpace(), 4) == best
