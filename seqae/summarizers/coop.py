"""CoopSummarizer: of the means of all subsets, the one whose text overlaps most with the inputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from seqae.component import check_range
from seqae.generation import Decoding
from seqae.metrics.segmenter import terms
from seqae.summarizers.base import DecodingSpace, Latents
from seqae.summarizers.consensus import ConsensusSummarizer, Spoken
from seqae.summarizers.document import Budget

# A summary speaks for many, so that these are no words of it; the list is Coop's.
FIRST_PERSON = ("i", "my", "me", "we", "our", "us")

WORD = re.compile(r"\w+")

Subset = tuple[int, ...]


@final
class CoopSummarizer(ConsensusSummarizer):
    """Decodes the best convex combination of latents.

    Convex aggregation (Iso et al. 2021, arXiv:2104.01371): the mean of a subset of the inputs often
    says more than the mean of all, which is near no input. Of all subsets it takes the one whose
    text has the highest ROUGE-1 F1 with the inputs, the mean over them. The evidence is the subset.

    Args:
        exhaustive: most inputs of which all subsets are decoded, 2^n - 1 of them. Of more it adds
            to the best single input the one that raises the overlap most, until none does.
        num_beams: of a beam search; 1 is greedy. Iso et al. take 4.
        banned_words: words that a text with another choice must not have; by default the first
            person of English. Texts that have one are decoded once more without it.
    """

    kind: ClassVar[str] = "coop"

    def __init__(
        self,
        exhaustive: int = 8,
        num_beams: int = 1,
        banned_words: list[str] | None = None,
    ) -> None:
        check_range("exhaustive", exhaustive, 0, 12)
        check_range("num_beams", num_beams, 1, 2**10)
        self.exhaustive, self.num_beams, self.banned_words = exhaustive, num_beams, banned_words

    @override
    def _speak(self, sentences: Sequence[str], space: DecodingSpace, budget: Budget) -> Spoken:
        latents, inputs = space.encode(sentences), [Counter(terms(s)) for s in sentences]
        best: tuple[tuple[bool, bool, float], Subset, str] | None = None
        candidates = self._first(len(sentences))
        while candidates:
            for subset, text in zip(
                candidates, self._decode(space, latents, candidates), strict=True
            ):
                rank = budget.fits([text]), not self._banned(text), overlap(text, inputs)
                if best is None or rank > best[0]:
                    best = rank, subset, text
            assert best is not None
            candidates = self._next(len(sentences), best[1], candidates)
        assert best is not None
        return Spoken(best[2], best[1])

    def _first(self, count: int) -> list[Subset]:
        """List the subsets that are decoded first: all, or those of one input."""
        sizes = range(1, count + 1) if count <= self.exhaustive else (1,)
        return [subset for size in sizes for subset in combinations(range(count), size)]

    def _next(self, count: int, best: Subset, tried: Sequence[Subset]) -> list[Subset]:
        """List the subsets that have one input more than the best, if that was found just now."""
        if count <= self.exhaustive or best not in tried:
            return []
        return [tuple(sorted((*best, one))) for one in range(count) if one not in best]

    def _decode(
        self, space: DecodingSpace, latents: Latents, subsets: Sequence[Subset]
    ) -> list[str]:
        """Decode the mean of each subset, once more where a banned word occurs."""
        is_in = np.zeros((len(subsets), len(latents)), dtype=bool)
        for row, subset in enumerate(subsets):
            is_in[row, list(subset)] = True
        means = (is_in / is_in.sum(axis=1, keepdims=True)).astype(np.float32) @ latents
        # Where an input is not in the subset, its first one stands for it.
        firsts = latents[is_in.argmax(axis=1)]
        sources = [
            np.where(is_in[:, [index]], latents[index], firsts) for index in range(len(latents))
        ]
        decoding = Decoding(num_beams=self.num_beams)
        texts = space.decode_near(means, sources, decoding)
        # A word that was written is in the vocabulary, which a ban asks for.
        found = sorted({word for text in texts for word in self._banned(text)})
        rows = [row for row, text in enumerate(texts) if self._banned(text)]
        if rows:
            decoding = decoding.replaced({"banned_words": found})
            again = space.decode_near(means[rows], [part[rows] for part in sources], decoding)
            for row, text in zip(rows, again, strict=True):
                texts[row] = text
        return texts

    def _banned(self, text: str) -> list[str]:
        """List the banned words of a text as they are written there."""
        banned = FIRST_PERSON if self.banned_words is None else self.banned_words
        folded = {word.lower() for word in banned}
        return [word for word in WORD.findall(text) if word.lower() in folded]


def overlap(text: str, inputs: Sequence[Counter[str]]) -> float:
    """Compute the mean over inputs of ROUGE-1 F1: 2 matches / (words of both), without stemming.

    Args:
        text: of a candidate.
        inputs: how often each has each of its words, as `terms` splits them.
    """
    own = Counter(terms(text))
    size = own.total()
    scores = [2 * (own & other).total() / max(size + other.total(), 1) for other in inputs]
    return sum(scores) / len(scores)
