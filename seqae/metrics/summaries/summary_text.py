"""What can be said of a summary beside its document, and of the words that training never had."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from seqae.extras import extra
from seqae.metrics.segmenter import blank_separated
from seqae.metrics.summaries.rouge import ngrams, rouge_words

with extra("eval"):
    import regex

NUMBER = regex.compile(r"\p{Nd}+(?:[.,:]\p{Nd}+)*")
WORD = regex.compile(r"[\p{L}\p{N}]+")
# A word with a capital that does not begin a sentence.
NAME = regex.compile(r"(?<=[\p{L}\p{N},;:] )\p{Lu}[\p{L}\p{N}]+")


def summary_figures(summary: Sequence[str], source: Sequence[str]) -> dict[str, float]:
    """Measure a summary; what is not defined for it, such as new numbers if it has none, is NaN.

    - `words`: how many it has, and `compression`: those of the document for each of them.
    - `copied`: share of its words that are in stretches that are copied from the document, and
      `copied_run`: their mean length, weighted by length. They are coverage and density of Grusky
      et al. 2018 (N18-1065), the second for each word.
    - `novel_1`, `novel_2`, `novel_3`: share of its different n-grams that the document does not
      have (See et al. 2017, arXiv:1704.04368).
    - `repeated`: share of its trigrams that it has had before.
    - `new_numbers`, `new_names`: share of its numbers, and of its words with a capital that begin
      no sentence, that the document does not have. With `novel_2`, the same of pairs of words, they
      are proxies of what it made up: a wrong number that stands elsewhere in the document, as any
      other untruth, goes unnoticed, and a true paraphrase counts as new.

    Args:
        summary: its sentences.
        source: the sentences of the document.
    """
    written = [word for sentence in summary for word in rouge_words(sentence)]
    known = [word for sentence in source for word in rouge_words(sentence)]
    lengths = [sum(len(blank_separated(text)) for text in texts) for texts in (summary, source)]
    fragments = _fragments(written, known)
    trigrams = ngrams(written, 3)
    novel = {size: _missing(ngrams(written, size), ngrams(known, size)) for size in (1, 2, 3)}
    text, document = " ".join(summary), " ".join(source)
    names = set(WORD.findall(document))
    return {
        "words": float(lengths[0]),
        "compression": _share(lengths[1], lengths[0]),
        "copied": _share(sum(fragments), len(written)),
        "copied_run": _share(sum(size**2 for size in fragments), len(written)),
        "novel_1": novel[1],
        "novel_2": novel[2],
        "novel_3": novel[3],
        "repeated": _share(trigrams.total() - len(trigrams), trigrams.total()),
        "new_numbers": _missing(set(NUMBER.findall(text)), set(NUMBER.findall(document))),
        "new_names": _missing({n for s in summary for n in NAME.findall(s)}, names),
    }


def unseen_figures(
    summary: Sequence[str],
    source: Sequence[str],
    references: Sequence[Sequence[str]],
    seen: Collection[str],
) -> dict[str, float]:
    """Measure how a summary treats words that training never had, mostly names; NaN without any.

    - `unseen_recall`: of the different unseen words that both the document and a reference have,
      the share that the summary has.
    - `unseen_precision`: of the different unseen words of the summary, the share that the document
      has. The others are garbled or made up.

    A model that copies whole words or spells in pieces can write such words; a vocabulary of words
    alone cannot.

    Args:
        summary: its sentences.
        source: the sentences of the document.
        references: the sentences of each reference.
        seen: the words, as of `rouge_words`, that training had on either side.
    """
    known = _different(source)
    written = {word for word in _different(summary) if word not in seen}
    wanted = _different([sentence for one in references for sentence in one]) & known
    due = {word for word in wanted if word not in seen}
    return {
        "unseen_recall": _share(len(due & written), len(due)),
        "unseen_precision": _share(len(written & known), len(written)),
    }


def _different(sentences: Iterable[str]) -> set[str]:
    return {word for sentence in sentences for word in rouge_words(sentence)}


def _missing(wanted: Iterable[object], known: Iterable[object]) -> float:
    """Return the share of different things that are not among those known."""
    different, known = set(wanted), set(known)
    return _share(len(different - known), len(different))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _fragments(written: Sequence[str], known: Sequence[str]) -> list[int]:
    """Cut a summary greedily into the longest runs that its document has; return their lengths."""
    places = defaultdict(list)
    for place, word in enumerate(known):
        places[word].append(place)
    lengths, start = [], 0
    while start < len(written):
        longest = 0
        for place in places.get(written[start], ()):
            size = 1
            while (
                start + size < len(written)
                and place + size < len(known)
                and written[start + size] == known[place + size]
            ):
                size += 1
            longest = max(longest, size)
        if longest:
            lengths.append(longest)
        start += max(longest, 1)
    return lengths
