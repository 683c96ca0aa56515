"""Text metrics: predictions against references, and the diversity of samples.

Words are those of `seqae.metrics.segmenter`: sacreBLEU's, unless a published metric says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from seqae.extras import extra
from seqae.metrics.accuracy import ORDERS
from seqae.metrics.segmenter import blank_separated, lower_words, words

with extra("eval"):
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF


def unigram_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Average the unigram precision times the brevity penalty over sentences, 0 to 1.

    SentenceMIM calls this BLEU (Livne et al. 2020; test.py of its demo calls NLTK's sentence_bleu
    with weights (1,)): order does not count. As there, words are separated by blanks (where a
    script has none, each character is one), and the end of a sentence counts as one. It cannot be
    compared with anyone's BLEU-4.
    """
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        predicted = [*blank_separated(prediction), None]
        expected = [*blank_separated(reference), None]
        hits = sum((Counter(predicted) & Counter(expected)).values())
        brevity = math.exp(min(0.0, 1.0 - len(expected) / len(predicted)))
        scores.append(brevity * hits / len(predicted))
    return _mean(scores)


def chrf(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Compute corpus chrF2 (Popović 2015) with sacreBLEU, 0 to 100."""
    return float(CHRF().corpus_score(list(predictions), [list(references)]).score)


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Count the insertions, deletions and replacements from one to the other (Levenshtein 1966)."""
    ids: dict[Hashable, int] = {}
    a, b = ([ids.setdefault(item, len(ids)) for item in side] for side in (first, second))
    target = np.asarray(b, dtype=np.int64)
    column = np.arange(len(b) + 1)
    row = column
    for index, item in enumerate(a):
        start = np.minimum(row[:-1] + (target != item), row[1:] + 1)
        row = np.concatenate([[index + 1], start])
        # An insertion costs one more than the column before: a running minimum less the column.
        row = np.minimum.accumulate(row - column) + column
    return int(row[-1])


def normalized_edit_distance(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Average over sentences the edit distance in words divided by the longer length, 0 to 1.

    Two empty texts are equal.
    """
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        predicted, expected = words(prediction), words(reference)
        longer = max(len(predicted), len(expected))
        scores.append(edit_distance(predicted, expected) / longer if longer else 0.0)
    return _mean(scores)


def self_bleu(texts: Sequence[str]) -> float:
    """Average the BLEU of each text against all others, 0 to 100; low is diverse.

    This is the self-BLEU of Zhu et al. 2018 (arXiv:1802.01886, section 3.2), with sacreBLEU's
    BLEU-4 of a sentence (exponential smoothing, effective order) instead of NLTK's. It rises with
    the number of texts, so that only equally many can be compared.
    """
    if len(texts) < 2:
        return math.nan
    rows = [words(text) for text in texts]
    lengths = Counter(map(len, rows))
    grams = [_ngrams(row) for row in rows]
    # How often an n-gram occurs in the text that has it most often, and in the runner-up. The
    # maximum over the others of a text is the first number, or the second if the first is its own.
    most: dict[tuple[str, ...], tuple[int, int]] = {}
    for counts in grams:
        for gram, count in counts.items():
            first, second = most.get(gram, (0, 0))
            most[gram] = (count, first) if count > first else (first, max(second, count))
    scores = []
    for row, counts in zip(rows, grams, strict=True):
        hits, totals = [0] * ORDERS, [max(0, len(row) - order) for order in range(ORDERS)]
        for gram, count in counts.items():
            first, second = most[gram]
            hits[len(gram) - 1] += min(count, second if count == first else first)
        score = BLEU.compute_bleu(
            hits,
            totals,
            len(row),
            _closest(lengths, len(row)),
            smooth_method="exp",
            effective_order=True,
        )
        scores.append(float(score.score))
    return _mean(scores)


def distinct(texts: Sequence[str], order: int) -> float:
    """Divide the number of different n-grams by that of all words, 0 to 1; high is diverse.

    This is the distinct-n of Li et al. 2016 (arXiv:1510.03055, section 5.2), who divide by the
    number of words for every n. It falls with the number of texts, so that only equally many can be
    compared.

    Args:
        texts: samples.
        order: n.
    """
    rows = [words(text) for text in texts]
    grams = {tuple(row[i : i + order]) for row in rows for i in range(max(0, len(row) - order + 1))}
    total = sum(map(len, rows))
    return len(grams) / total if total else math.nan


def copies(texts: Sequence[str], train: Iterable[str]) -> float:
    """Compute the share of texts that equal a training sentence, except for case and blanks."""
    wanted = [_folded(text) for text in texts]
    known = set(wanted).intersection(map(_folded, train))
    return _mean([text in known for text in wanted])


def memorised(
    columns: Sequence[Sequence[str]], train: Iterable[str], order: int = 4
) -> list[float]:
    """Compute the share of n-grams of words, in lower case, that training text has.

    A text may be new and yet be put together from long pieces of what was read (McCoy et al. 2023,
    arXiv:2111.09509).

    Args:
        columns: several lists of texts.
        train: training sentences, which are read once.
        order: n.

    Returns:
        The share of each column; NaN if none of its texts has as many words.
    """
    grams = [[gram for text in texts for gram in _windows(text, order)] for texts in columns]
    wanted = set().union(*grams)
    known = {gram for text in train for gram in _windows(text, order) if gram in wanted}
    return [_mean([gram in known for gram in column]) for column in grams]


class ContentKept(NamedTuple):
    """How much of two sentences a text between them has.

    Attributes:
        share: of the content words of either end, averaged over ends that have any.
        both: the share of texts with a content word of each end, of those whose ends have any.
    """

    share: float
    both: float


def content_kept(
    texts: Sequence[str], ends: Sequence[tuple[str, str]], common: Container[str]
) -> ContentKept:
    """Measure how much of the content of both ends texts between them have.

    Args:
        texts: between the ends.
        ends: two sentences for each.
        common: words that are not content, in lower case.
    """
    shares: list[float] = []
    both: list[bool] = []
    for text, pair in zip(texts, ends, strict=True):
        found = set(lower_words(text))
        contents = [{word for word in lower_words(end) if word not in common} for end in pair]
        shares += [len(content & found) / len(content) for content in contents if content]
        if all(contents):
            both.append(all(content & found for content in contents))
    return ContentKept(_mean(shares), _mean(both))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _windows(text: str, order: int) -> Iterator[tuple[str, ...]]:
    row = lower_words(text)
    return zip(*(row[start:] for start in range(order)), strict=False)


def _ngrams(row: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(row[i : i + order])
        for order in range(1, ORDERS + 1)
        for i in range(len(row) - order + 1)
    )


def _closest(lengths: Counter[int], own: int) -> int:
    """Find the length nearest to a text's own among the other texts; of two the shorter."""
    others = [n for n, count in lengths.items() if count > (n == own)]
    return min(others, key=lambda n: (abs(n - own), n))


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores) if scores else math.nan
