"""The extractive oracle: the ceiling of all that takes sentences of the document, whole or cut."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from seqae.metrics.summaries.rouge import ngrams, overlap, rouge_words
from seqae.summarizers.document import Budget, Document, Summary, SummarySentence
from seqae.summarizers.ranking import beginning

Pieces = dict[int, str]  # sentences, whole or cut, by their index in the document


def oracle(document: Document, references: Sequence[Sequence[str]], budget: Budget) -> Summary:
    """Take sentences greedily while they raise ROUGE-1 F1 + ROUGE-2 F1 with a reference.

    So do Nallapati et al. 2017 (arXiv:1611.04230) and Liu and Lapata 2019 (arXiv:1908.08345). It is
    greedy, so that a better choice may exist, but one that knows the reference. What is left of the
    budget it fills as other methods do, by a sentence that is cut; the beginning of the document,
    cut likewise, is a candidate too.

    Args:
        document: what is summarized.
        references: the sentences of each reference; each is tried, the best counts.
        budget: how long the summary may be.
    """
    if not document.sentences:
        return Summary(())
    budget = budget.of(document)
    lead = {one.evidence[0]: one.text for one in beginning(document, budget).sentences}
    best, taken = 0.0, Pieces()
    for reference in references:
        aim = _Aim(reference)
        for pieces in (_search(document, aim, budget), lead):
            if (score := aim.score(pieces)) > best:
                best, taken = score, pieces
    return Summary(tuple(SummarySentence(taken[i], (i,)) for i in sorted(taken)))


class _Aim:
    """What a choice of sentences is to share with a reference."""

    def __init__(self, reference: Sequence[str]) -> None:
        self._words = cache(rouge_words)
        words = [word for sentence in reference for word in rouge_words(sentence)]
        self._due = [ngrams(words, 1), ngrams(words, 2)]
        self._wanted = set(words)

    def is_met(self, sentence: str) -> bool:
        """Tell whether a sentence shares a word."""
        return not self._wanted.isdisjoint(self._words(sentence))

    def score(self, pieces: Pieces) -> float:
        """Compute ROUGE-1 F1 + ROUGE-2 F1."""
        words = [word for index in sorted(pieces) for word in self._words(pieces[index])]
        return sum(overlap(ngrams(words, n + 1), due).f1 for n, due in enumerate(self._due))


def _search(document: Document, aim: _Aim, budget: Budget) -> Pieces:
    useful = [i for i, sentence in enumerate(document.sentences) if aim.is_met(sentence)]
    best, taken = 0.0, Pieces()  # whole sentences
    best_cut, with_cut = 0.0, Pieces()  # whole ones, and one that is cut
    while True:
        found: Pieces | None = None
        for index in (index for index in useful if index not in taken):
            pieces = {**taken, index: document.sentences[index]}
            is_whole = budget.fits(_texts(pieces))
            if not is_whole:
                pieces[index] = _cut(pieces, index, budget)
                if not pieces[index]:
                    continue
            score = aim.score(pieces)
            if is_whole and score > best:
                best, found = score, pieces
            elif not is_whole and score > best_cut:
                best_cut, with_cut = score, pieces
        if found is None:
            return taken if best >= best_cut else with_cut
        taken = found


def _cut(pieces: Pieces, index: int, budget: Budget) -> str:
    """Cut one of the sentences so that all fit; to nothing if none of it does."""
    others = _texts({i: text for i, text in pieces.items() if i != index})
    left = budget.amount - budget.size(others)
    for amount in (left, left - 1, left - 2):  # bytes of one blank or two
        if amount < 1:
            break
        text = budget.with_amount(amount).cut(pieces[index])
        if text and budget.fits(_texts({**pieces, index: text})):
            return text
    return ""


def _texts(pieces: Pieces) -> list[str]:
    return [pieces[index] for index in sorted(pieces)]
