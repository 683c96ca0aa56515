"""What all summarizers do: keep to the budget, name their evidence, take any document."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typing_extensions import override

from seqae.component import Component
from seqae.summarizers import (
    Budget,
    Document,
    SentenceSpace,
    Summarizer,
    TfidfSpace,
    WordVectorSpace,
    summarizers,
)
from seqae.summarizers.base import Vectors

ENGLISH = (
    "The cat sat on the mat. It was a warm day in the garden. Dogs ran past the house all day. "
    "The cat slept on the mat. A dog and a cat are animals. Nobody saw the dogs again."
)
CHINESE = "今天天气很好。我们去公园吧！你觉得怎么样？他说好的，我们明天再去公园。"
DOCUMENTS = [ENGLISH, CHINESE, "...", ["the of.", "Same.", "Same."]]
BUDGETS = [Budget(sentences=2), Budget(words=9), Budget(bytes=31), Budget(ratio=0.4)]
EXTRACTIVE = {
    kind: cls
    for kind, cls in summarizers().items()
    if cls.needs in (None, SentenceSpace) and cls.__module__.startswith("seqae.")
}


class Plane(SentenceSpace):
    """Vectors that are given."""

    name = "plane"

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = np.array(vectors, dtype=np.float32)

    @override
    def vectors(self, document: Document) -> Vectors:
        return self._vectors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picks(
    summarizer: Summarizer, document: Document, space: SentenceSpace, count: int
) -> list[int]:
    summary = summarizer.summarize(document, space, Budget(sentences=count), generator())
    return [index for sentence in summary.sentences for index in sentence.evidence]


@pytest.mark.parametrize("kind", EXTRACTIVE)
def test_a_summary_keeps_to_its_budget_and_is_a_part_of_its_evidence(kind: str) -> None:
    summarizer = EXTRACTIVE[kind]()
    spaces = (TfidfSpace(), WordVectorSpace(["the cat sat", "a dog ran", "天 气"]))
    for text in DOCUMENTS:
        document = Document.read("d", text)
        for budget in BUDGETS:
            for space in spaces if summarizer.needs else spaces[:1]:
                summary = summarizer.summarize(document, space, budget, generator())
                again = summarizer.summarize(document, space, budget, generator())
                assert summary == again
                assert summary.sentences
                assert kind == "prefix" or budget.of(document).fits(
                    [sentence.text for sentence in summary.sentences]
                )
                evidence = [sentence.evidence for sentence in summary.sentences]
                assert evidence == sorted(evidence)
                for sentence in summary.sentences:
                    assert sentence.text in document.sentences[sentence.evidence[0]]


@pytest.mark.parametrize("kind", summarizers())
def test_a_summarizer_is_rebuilt_from_its_config(kind: str) -> None:
    summarizer = summarizers()[kind]()
    assert Summarizer.from_config(summarizer.config()).config() == summarizer.config()
    assert isinstance(summarizer, Component)


def test_a_document_without_sentences_has_an_empty_summary() -> None:
    for cls in EXTRACTIVE.values():
        summary = cls().summarize(Document((), ()), TfidfSpace(), BUDGETS[0], generator())
        assert summary.text == ""


def test_a_method_refuses_a_space_that_it_cannot_use() -> None:
    with pytest.raises(ValueError, match=r"`space` must be latent for the method centroid"):
        EXTRACTIVE["centroid"]().summarize(Document.read("d", "a b"), None, BUDGETS[0], generator())
