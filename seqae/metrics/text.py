"""Figures of texts: what was written against what was due, and what was written by itself.

Words are those of sacreBLEU's tokenizer 13a, except where a published measure says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

ORDERS = 4  # of the n-grams of BLEU

_BLEU = BLEU(effective_order=True, force=True)


def words(text: str) -> list[str]:
    """Words and punctuation, as sacreBLEU's tokenizer 13a (that of mteval-v13a) finds them."""
    tokenized: str = _BLEU.tokenizer(text)
    return tokenized.split()


def unigram_bleu(written: Sequence[str], due: Sequence[str]) -> float:
    """The mean over sentences of the unigram precision times the brevity penalty, 0 to 1.

    That is what SentenceMIM calls BLEU (Livne et al. 2020; test.py of its demo calls NLTK's
    sentence_bleu with weights (1,)): order does not count. Words are parted by spaces, and the end
    of a sentence counts as one, as there. Nobody's BLEU-4 may be held against it.
    """
    scores = []
    for text, truth in zip(written, due, strict=True):
        found, wanted = [*text.split(), None], [*truth.split(), None]
        hits = sum((Counter(found) & Counter(wanted)).values())
        brevity = math.exp(min(0.0, 1.0 - len(wanted) / len(found)))
        scores.append(brevity * hits / len(found))
    return _mean(scores)


def chrf(written: Sequence[str], due: Sequence[str]) -> float:
    """Corpus chrF2 (Popović 2015) as sacreBLEU computes it, 0 to 100."""
    return float(CHRF().corpus_score(list(written), [list(due)]).score)


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How many insertions, deletions and replacements make one of the other (Levenshtein 1966)."""
    ids: dict[Hashable, int] = {}
    a, b = ([ids.setdefault(item, len(ids)) for item in side] for side in (first, second))
    target = np.asarray(b, dtype=np.int64)
    place = np.arange(len(b) + 1)
    row = place
    for index, item in enumerate(a):
        start = np.minimum(row[:-1] + (target != item), row[1:] + 1)
        row = np.concatenate([[index + 1], start])
        # An insertion costs one more than the place before: the running minimum, less the place.
        row = np.minimum.accumulate(row - place) + place
    return int(row[-1])


def normalized_edit_distance(written: Sequence[str], due: Sequence[str]) -> float:
    """The mean over sentences of the edit distance in words over the longer one's length, 0 to 1.

    Two empty texts are equal.
    """
    scores = []
    for text, truth in zip(written, due, strict=True):
        found, wanted = words(text), words(truth)
        longer = max(len(found), len(wanted))
        scores.append(edit_distance(found, wanted) / longer if longer else 0.0)
    return _mean(scores)


def self_bleu(texts: Sequence[str]) -> float:
    """The mean BLEU of each text against all the others, 0 to 100; low is diverse.

    Self-BLEU of Zhu et al. 2018 (arXiv:1802.01886, section 3.2), with sacreBLEU's BLEU-4 of a
    sentence (exponential smoothing, effective order) where they take NLTK's. It rises with the
    number of texts, so that only equally many may be compared.
    """
    if len(texts) < 2:
        return math.nan
    rows = [words(text) for text in texts]
    lengths = Counter(map(len, rows))
    grams = [_ngrams(row) for row in rows]
    # How often an n-gram occurs in the text that has it most often, and in the second; all others
    # together have the first of these that is not the text's own.
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
    """How many different n-grams there are for each word of all texts, 0 to 1; high is diverse.

    distinct-n of Li et al. 2016 (arXiv:1510.03055, section 5.2), who divide by the number of words
    for every n. It falls with the number of texts, so that only equally many may be compared.
    """
    rows = [words(text) for text in texts]
    grams = {tuple(row[i : i + order]) for row in rows for i in range(max(0, len(row) - order + 1))}
    total = sum(map(len, rows))
    return len(grams) / total if total else math.nan


def copies(texts: Sequence[str], train: Sequence[str]) -> float:
    """The share of texts that are a training sentence, character for character."""
    known = set(train)
    return _mean([text in known for text in texts])


def _ngrams(row: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(row[i : i + order])
        for order in range(1, ORDERS + 1)
        for i in range(len(row) - order + 1)
    )


def _closest(lengths: Counter[int], own: int) -> int:
    """The length nearest to a text's own among the others, the shorter of two."""
    others = [n for n, count in lengths.items() if count > (n == own)]
    return min(others, key=lambda n: (abs(n - own), n))


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores) if scores else math.nan
