"""A judge of text: an n-gram language model of words that a corpus trains in a second or two.

Its perplexity says how likely a text is as text of that corpus: that of shuffled words is higher
than that of real text, and that of soups of letters far higher. It is no measure of meaning, and
rewards what is dull; show diversity beside it. Small as it is, it is the same on every machine, and
nothing is downloaded.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from seqae.metrics.judge.kneser_ney import KneserNey
from seqae.metrics.segmenter import lower_words

ORDER = 3  # of words
SPELLING_ORDER = 5  # of characters
LONGEST = 200  # words of a sampled sentence

UNKNOWN = 2  # the symbol of all words and characters that have none of their own
CHARACTERS = 0x110000  # of Unicode

_BEFORE = re.compile(r" (?=[,.;:!?)\]}%]( |$))")
_AFTER = re.compile(r"(?<=[(\[{]) ")


class NgramJudge:
    """A trigram model of words, and for words that it does not know, one of their spelling.

    Words are those of BLEU, in lower case. Both models are interpolated modified Kneser-Ney (Chen
    and Goodman 1999). Training words that occur once are one class, which stands for all unknown
    words: such a word has the probability of the class times that of its spelling, under a 5-gram
    model of the characters of those training words. A plausible new word thus costs some 20 nats
    more than its class, and a soup of letters twice that. Every text has a probability, and models
    with different words can be compared.

    Args:
        texts: sentences to train on.
        order: n.
    """

    def __init__(self, texts: Iterable[str], order: int = ORDER) -> None:
        rows = [lower_words(text) for text in texts]
        self._counts = Counter(word for row in rows for word in row)
        self._total = sum(self._counts.values())
        # From the most to the least frequent; equally frequent ones by their spelling.
        self._frequent = sorted(self._counts, key=lambda word: (-self._counts[word], word))
        self._once = [word for word in self._frequent if self._counts[word] == 1]
        self._several = self._frequent[: len(self._frequent) - len(self._once)]
        self._symbols = {word: symbol for symbol, word in enumerate(self._several, UNKNOWN + 1)}
        self._model = KneserNey(self._numbered(rows), len(self._several) + UNKNOWN + 1, order)
        spelt = self._once or self._several
        alphabet = sorted(set("".join(spelt)))
        self._characters = {one: symbol for symbol, one in enumerate(alphabet, UNKNOWN + 1)}
        self._spelling = KneserNey(
            [self._spelt(word) for word in spelt], len(alphabet) + UNKNOWN + 1, SPELLING_ORDER
        )

    def perplexity(self, texts: Iterable[str]) -> float:
        """Compute the perplexity per word, the ends of texts counted; NaN if there are no texts."""
        nats, lengths = self.nats(texts)
        return math.exp(nats.sum() / lengths.sum()) if len(lengths) else math.nan

    def nats(self, texts: Iterable[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compute -log p of each text, and count its words, its end included."""
        rows = [lower_words(text) for text in texts]
        if not rows:
            return np.zeros(0), np.zeros(0, np.int64)
        found, lengths = self._model.log_probabilities(self._numbered(rows))
        costs = -found
        flat = [word for row in rows for word in row]
        is_spelt = np.asarray([word not in self._symbols for word in flat], bool)
        inside = np.ones(len(found), bool)
        inside[np.cumsum(lengths) - 1] = False  # the ends
        spelt = list(itertools.compress(flat, is_spelt))
        costs[np.flatnonzero(inside)[is_spelt]] += self._spelling_nats(spelt)
        return np.add.reduceat(costs, np.cumsum(lengths) - lengths), lengths

    def unknown(self, texts: Iterable[str]) -> float:
        """Compute the share of words that the training text does not have."""
        found = [word not in self._counts for text in texts for word in lower_words(text)]
        return sum(found) / len(found) if found else math.nan

    def common(self, share: float = 0.5) -> frozenset[str]:
        """List the most frequent words, which together make up a share of the training text.

        In English those that make up half of it are some hundred, with the punctuation: what
        stop-word lists have. A sentence's other words, the unknown ones too, are its content.
        """
        found, covered = [], 0
        for word in self._frequent:
            if covered >= share * self._total:
                break
            found.append(word)
            covered += self._counts[word]
        return frozenset(found)

    def sample(self, count: int, seed: int = 0) -> list[str]:
        """Draw sentences: the baseline that a model of sentences has to beat.

        They are in lower case. For an unknown word, a training word that occurs once is drawn.
        """
        rng = random.Random(seed)
        return [
            joined([self._word(symbol, rng) for symbol in row])
            for row in self._model.sample(count, seed, LONGEST)
        ]

    def _word(self, symbol: int, rng: random.Random) -> str:
        if symbol == UNKNOWN:
            return rng.choice(self._once or self._several or [""])
        return self._several[symbol - UNKNOWN - 1]

    def _numbered(self, rows: Sequence[Sequence[str]]) -> list[list[int]]:
        return [[self._symbols.get(word, UNKNOWN) for word in row] for row in rows]

    def _spelt(self, word: str) -> list[int]:
        return [self._characters.get(character, UNKNOWN) for character in word]

    def _spelling_nats(self, spelt: Sequence[str]) -> NDArray[np.float64]:
        if not spelt:
            return np.zeros(0)
        found, lengths = self._spelling.log_probabilities([self._spelt(word) for word in spelt])
        strange = [sum(one not in self._characters for one in word) for word in spelt]
        nats = -np.add.reduceat(found, np.cumsum(lengths) - lengths)
        return nats + np.asarray(strange) * math.log(CHARACTERS)


def joined(row: Sequence[str]) -> str:
    """Join words to a text, with punctuation at the word that it belongs to."""
    return _AFTER.sub("", _BEFORE.sub("", " ".join(row)))
