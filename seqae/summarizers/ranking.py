"""Ranked sentences to a summary: what every extractive method ends with."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from seqae.summarizers.document import Budget, Document, Summary, SummarySentence


def fill(document: Document, order: Iterable[int], budget: Budget) -> Summary:
    """Take sentences until the budget is spent, and put them into the order of the document.

    A sentence that no longer fits is passed over for a shorter one of a lower rank. If none fits,
    the first is cut, so that a summary is never empty.

    Args:
        document: with a sentence or more.
        order: indices of its sentences, the best first; read no further than needed.
        budget: in sentences, words or bytes.
    """
    costs = budget.costs(document)
    cheapest = min(costs)
    taken: list[int] = []
    first: int | None = None
    left = budget.amount
    for index in order:
        first = index if first is None else first
        # A blank after the last sentence costs nothing.
        if costs[index] - budget.blank_after(document.sentences[max([index, *taken[-1:]])]) <= left:
            insort(taken, index)
            left -= costs[index]
        if left < cheapest - 1:
            break
    if not taken and first is not None:
        return Summary((SummarySentence(budget.cut(document.sentences[first]), (first,)),))
    return extract(document, taken)


def extract(document: Document, indices: Iterable[int]) -> Summary:
    """Make a summary of the sentences at some indices, in this order."""
    return Summary(tuple(SummarySentence(document.sentences[i], (i,)) for i in indices))


def beginning(document: Document, budget: Budget) -> Summary:
    """Take the first sentences of a document, the last of them cut to the budget.

    Args:
        document: with a sentence or more.
        budget: in sentences, words or bytes.
    """
    taken: list[SummarySentence] = []
    left = budget.amount
    for index, (sentence, cost) in enumerate(
        zip(document.sentences, budget.costs(document), strict=True)
    ):
        if left < 1:
            break
        text = sentence
        if cost - budget.blank_after(sentence) > left:
            text = budget.with_amount(left).cut(sentence)
        if text:
            taken.append(SummarySentence(text, (index,)))
        left -= cost
    return Summary(tuple(taken))


def usual_count(document: Document, budget: Budget) -> int:
    """Say how many sentences of a document's mean length fit the budget, at least one."""
    costs = budget.costs(document)
    return max(1, min(len(costs), round(budget.amount / (sum(costs) / len(costs)))))
