"""The extractive oracle: the ceiling of all that takes sentences of the document as they are."""

from __future__ import annotations

from collections.abc import Sequence

from seqae.metrics.rouge import ngrams, overlap, rouge_words
from seqae.summarizers.document import Budget, Document, Summary
from seqae.summarizers.ranking import extract


def oracle(document: Document, references: Sequence[Sequence[str]], budget: Budget) -> Summary:
    """Take sentences greedily while they raise ROUGE-1 F1 + ROUGE-2 F1 with a reference.

    So do Nallapati et al. 2017 (arXiv:1611.04230) and Liu and Lapata 2019 (arXiv:1908.08345). It is
    greedy, so that a better choice may exist, but one that knows the reference.

    Args:
        document: what is summarized.
        references: the sentences of each reference; each is tried, the best counts.
        budget: how long the summary may be.
    """
    budget = budget.of(document)
    sentences = [rouge_words(sentence) for sentence in document.sentences]
    best, taken = 0.0, list[int]()
    for reference in references:
        due = [word for sentence in reference for word in rouge_words(sentence)]
        score, indices = _search(document, sentences, due, budget)
        if score > best:
            best, taken = score, indices
    return extract(document, taken)


def _search(
    document: Document, sentences: Sequence[Sequence[str]], due: Sequence[str], budget: Budget
) -> tuple[float, list[int]]:
    counts = [ngrams(due, 1), ngrams(due, 2)]
    wanted = set(due)
    useful = [i for i, words in enumerate(sentences) if not wanted.isdisjoint(words)]
    best, taken = 0.0, list[int]()
    while True:
        found: list[int] | None = None
        for index in (index for index in useful if index not in taken):
            indices = sorted([*taken, index])
            if not budget.fits([document.sentences[i] for i in indices]):
                continue
            words = [word for i in indices for word in sentences[i]]
            score = sum(overlap(ngrams(words, n + 1), counts[n]).f1 for n in (0, 1))
            if score > best:
                best, found = score, indices
        if found is None:
            return best, taken
        taken = found
