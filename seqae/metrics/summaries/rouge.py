"""ROUGE: how many words, pairs of words and sequences a summary shares with a reference.

Lin 2004 (W04-1013), computed as in the package `rouge-score` 0.1.2, whose scores the tests hold
these to: of several references the one with the highest F1 counts, ROUGE-L is that of whole texts,
and ROUGE-Lsum that of sentences, without counting a word twice. It is written anew here because
`rouge-score` drops all letters but a to z (two equal Chinese texts score 0.0) and computes the
longest common subsequence in a table of Python lists; this one is an integer of bits.

Words are runs of letters and digits in lower case. Where they are ASCII these are the words of
`rouge-score`; elsewhere words stay whole, and a script without blanks is split into characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple, get_args

from seqae.extras import extra
from seqae.metrics.segmenter import terms

Kind = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STEMMED_LENGTH = 4  # characters of the shortest word that is stemmed


class Rouge(NamedTuple):
    """A score of one kind.

    Attributes:
        precision: share of the summary that is in the reference.
        recall: share of the reference that is in the summary.
        f1: their harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def rouge(
    prediction: Sequence[str],
    references: Sequence[Sequence[str]],
    stemmer: bool = False,
    recall_bytes: int | None = None,
) -> dict[Kind, Rouge]:
    """Score a summary.

    Args:
        prediction: its sentences.
        references: the sentences of each reference, of which there is one or more.
        stemmer: compare the stems of ASCII words of four letters or more (Porter 1980).
        recall_bytes: cut the prediction to so many bytes of UTF-8 before, as DUC did to compare
            summaries by their recall alone.

    Returns:
        The score of each kind with the highest F1 of all references.
    """
    if recall_bytes is not None:
        prediction = cut_bytes(prediction, recall_bytes)
    words = [rouge_words(sentence, stemmer) for sentence in prediction]
    found = [
        _score(words, [rouge_words(sentence, stemmer) for sentence in reference])
        for reference in references
    ]
    return {kind: max((one[kind] for one in found), key=lambda score: score.f1) for kind in KINDS}


def rouge_words(text: str, stemmer: bool = False) -> list[str]:
    """Split a text into the words that ROUGE compares.

    Args:
        text: any.
        stemmer: as of `rouge`.
    """
    words = terms(text.replace("_", " "))
    if not stemmer:
        return words
    stem = _stemmer()
    return [stem(w) if len(w) >= STEMMED_LENGTH and w.isascii() else w for w in words]


def name_of_words(texts: Sequence[str], stemmer: bool) -> str:
    """Name the words that ROUGE compares in these texts, for the output."""
    is_ascii = all(word.isascii() for text in texts for word in terms(text))
    name = "rouge-score" if is_ascii else "rouge-score+unicode"
    return f"{name}, Porter stems" if stemmer else name


def cut_bytes(sentences: Sequence[str], limit: int) -> list[str]:
    """Cut a text of several sentences, joined by blanks, after a number of bytes of UTF-8."""
    kept: list[str] = []
    for sentence in sentences:
        if limit <= 0:
            break
        encoded = sentence.encode(errors="replace")
        kept.append(encoded[:limit].decode(errors="ignore"))
        limit -= len(encoded) + 1
    return kept


def overlap(prediction: Counter[tuple[str, ...]], reference: Counter[tuple[str, ...]]) -> Rouge:
    """Score n-grams, each as often as both have it."""
    return _ratios(
        (prediction & reference).total(), max(prediction.total(), 1), max(reference.total(), 1)
    )


def ngrams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of a sequence of words."""
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Compute the length of the longest common subsequence.

    A row of the usual table is a number whose bits say where it grows (Hyyrö 2004, "Bit-parallel
    LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(left)) - 1
    row = every
    for word in right:
        equal = row & places.get(word, 0)
        row = ((row + equal) | (row - equal)) & every
    return len(left) - row.bit_count()


def _score(
    prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
) -> dict[Kind, Rouge]:
    written = [word for sentence in prediction for word in sentence]
    due = [word for sentence in reference for word in sentence]
    common = longest_common(due, written)
    return {
        "rouge1": overlap(ngrams(written, 1), ngrams(due, 1)),
        "rouge2": overlap(ngrams(written, 2), ngrams(due, 2)),
        "rougeL": _ratios(common, len(written), len(due)),
        "rougeLsum": _ratios(_union(prediction, reference), len(written), len(due)),
    }


def _union(prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]) -> int:
    """Count the words of the reference's sentences that are common with any of the prediction."""
    left = Counter(word for sentence in prediction for word in sentence)
    due = Counter(word for sentence in reference for word in sentence)
    hits = 0
    for sentence in reference:
        places = set().union(*(_common_places(sentence, other) for other in prediction))
        for place in sorted(places):
            word = sentence[place]
            if left[word] > 0 and due[word] > 0:
                hits += 1
                left[word] -= 1
                due[word] -= 1
    return hits


def _common_places(reference: Sequence[str], prediction: Sequence[str]) -> list[int]:
    """Find the places in the reference of a longest common subsequence, that of `rouge-score`."""
    if set(reference).isdisjoint(prediction):
        return []
    table = [[0] * (len(prediction) + 1)]
    for word in reference:
        row, before = [0], table[-1]
        for column, other in enumerate(prediction):
            best = before[column] + 1 if word == other else max(before[column + 1], row[column])
            row.append(best)
        table.append(row)
    places, i, j = [], len(reference), len(prediction)
    while i and j:
        if reference[i - 1] == prediction[j - 1]:
            i, j = i - 1, j - 1
            places.append(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places


def _ratios(common: int, written: int, due: int) -> Rouge:
    if not common:
        return Rouge(0.0, 0.0, 0.0)
    precision, recall = common / written, common / due
    return Rouge(precision, recall, 2 * precision * recall / (precision + recall))


@cache
def _stemmer() -> Callable[[str], str]:
    with extra("nltk"):
        from nltk.stem.porter import PorterStemmer

    stem: Callable[[str], str] = cache(PorterStemmer().stem)
    return stem
