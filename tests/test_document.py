"""Documents, budgets and summaries: what every summarizer takes and gives."""

from __future__ import annotations

from typing import Any

import pytest

from seqae.summarizers import Budget, Document, Summary, SummarySentence

ENGLISH = "Mr. Smith went home. It rained all day. He slept."
CHINESE = "今天天气很好。我们去公园吧！你觉得怎么样？"


def test_a_text_is_cut_into_sentences_and_a_list_is_not() -> None:
    assert Document.read("d", ENGLISH).sentences == (
        "Mr. Smith went home.",
        "It rained all day.",
        "He slept.",
    )
    listed = Document.read("d", ["One. Two.", " ", "Three."])
    assert listed.sentences == ("One. Two.", "Three.")
    assert listed.sources == (0, 2)
    cut = Document.read("d", ["One. Two.", " ", "Three."], split=True)
    assert cut.sentences == ("One.", "Two.", "Three.")
    assert cut.sources == (0, 0, 2)


def test_sentences_are_joined_as_their_script_is_written() -> None:
    assert Document.read("d", ENGLISH).text == ENGLISH
    assert Document.read("d", CHINESE).text == CHINESE
    assert Document.read("d", CHINESE).words == (7, 7, 7)
    summary = Summary((SummarySentence("他说好。", (0,)), SummarySentence("OK.", (1,))))
    assert str(summary) == "他说好。OK."


@pytest.mark.parametrize(
    ("budget", "size", "cut"),
    [
        (Budget(sentences=1), 2, "He went home. "),
        (Budget(words=2), 4, "He went"),
        (Budget(bytes=5), 19, "He we"),
        (Budget(words=40), 4, "He went home. "),
    ],
)
def test_a_budget_measures_and_cuts(budget: Budget, size: int, cut: str) -> None:
    assert budget.size(["He went home.", "Fine."]) == size
    assert budget.cut("He went home. ") == cut


def test_bytes_and_words_of_chinese_are_cut_at_characters() -> None:
    assert Budget(words=2).cut(CHINESE) == "今天"
    assert Budget(bytes=8).cut(CHINESE) == "今天"


def test_a_ratio_is_of_the_words_of_a_document() -> None:
    document = Document.read("d", ENGLISH)
    assert Budget(ratio=0.5).of(document) == Budget(words=5)
    assert Budget(ratio=0.001).of(document) == Budget(words=1)
    assert Budget(sentences=2).of(document) == Budget(sentences=2)


@pytest.mark.parametrize("given", [{}, {"words": 1, "bytes": 1}, {"words": 0}, {"ratio": 1.5}])
def test_a_budget_is_exactly_one_length(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`\w+` must be"):
        Budget(**given)
