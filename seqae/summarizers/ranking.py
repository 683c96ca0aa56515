"""Ranked sentences to a summary: what every extractive method ends with."""

from __future__ import annotations

from collections.abc import Iterable

from seqae.summarizers.document import Budget, Document, Summary, SummarySentence


def fill(document: Document, order: Iterable[int], budget: Budget) -> Summary:
    """Take sentences until the budget is spent, and put them into the order of the document.

    A sentence that no longer fits is passed over for a shorter one of a lower rank. If none fits,
    the first is cut, so that a summary is never empty.

    Args:
        document: with a sentence or more.
        order: indices of its sentences, the best first; read no further than needed.
        budget: resolved.
    """
    taken: list[int] = []
    first: int | None = None
    smallest = min(map(budget.size, ([sentence] for sentence in document.sentences)))
    used = 0
    for index in order:
        first = index if first is None else first
        chosen = sorted([*taken, index])
        size = budget.size([document.sentences[i] for i in chosen])
        if size <= budget.amount:
            taken, used = chosen, size
        if used + smallest > budget.amount:
            break
    if not taken and first is not None:
        return Summary((SummarySentence(budget.cut(document.sentences[first]), (first,)),))
    return extract(document, taken)


def extract(document: Document, indices: Iterable[int]) -> Summary:
    """Make a summary of the sentences at some indices, in this order."""
    return Summary(tuple(SummarySentence(document.sentences[i], (i,)) for i in indices))
