"""Find sentences that are nearly equal: MinHash for candidates, then their true similarity.

Two sentences are as similar as the sets of their character n-grams: the Jaccard index, shared
n-grams by all of them (Broder 1997, "On the resemblance and containment of documents"). Case,
punctuation and white space do not count. MinHash signatures, cut into bands, bring together those
that may be similar (Indyk and Motwani 1998; Leskovec et al., "Mining of Massive Datasets", 3.4);
each such pair is then compared exactly. So whatever is found is true, and what signatures miss is
known: at most MISSED of the pairs that are just similar enough, fewer of those that are more so.
Where a band brings many different sentences together, as in much text at a low threshold, each is
compared with the first LEADERS of them only, so more may be missed.

Memory does not grow with the text, but for one byte a sentence. The bands and texts are on a disk;
the hashes of one band are sorted in parts of similar size, which their leading bits say, as in
duplicates.py.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PART = 1 << 22  # hashes sorted at a time, about 50 bytes each
BLOCK = 1 << 20  # hashes read at a time
CHUNK = 1 << 17  # n-grams hashed at a time: a cache of 1 MB holds them
LEADERS = 64  # kept sentences of a group that a further one is compared with
MISSED = 0.01  # of the pairs whose similarity is the threshold
MAX_HASHES = 256  # of a signature
EXAMPLES = 3

APART = re.compile(r"[\W_]+")
STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
MIX = np.uint64(0xFF51AFD7ED558CCD)  # of MurmurHash3's 64-bit finaliser


@dataclass(frozen=True)
class Similarity:
    """Says what makes two sentences near-duplicates.

    Attributes:
        threshold: smallest Jaccard index of their n-grams, from 0.3 to 1.
        ngram: characters of an n-gram.
    """

    threshold: float
    ngram: int

    @property
    def shape(self) -> tuple[int, int]:
        """Bands of a signature, and hashes of a band.

        A pair of similarity s meets in one of b bands of r hashes with the probability
        1 - (1 - s^r)^b. Longer bands bring fewer pairs together in vain, but more of them are
        needed for the same MISSED.
        """
        for rows in range(8, 0, -1):
            meets = self.threshold**rows
            bands = 1 if meets >= 1 else math.ceil(math.log(MISSED) / math.log1p(-meets))
            if bands * rows <= MAX_HASHES:
                break
        return bands, rows

    def grams(self, text: str) -> set[str]:
        """The n-grams of a text from `comparable`, of which a shorter text is itself the only."""
        n = self.ngram
        return {text[start : start + n] for start in range(max(1, len(text) - n + 1))}

    def are_near(self, one: set[str], other: set[str]) -> bool:
        """Tell whether two sets of n-grams are similar enough."""
        few, many = sorted((len(one), len(other)))
        if few < self.threshold * many:
            return False
        shared = len(one & other)
        return shared >= self.threshold * (few + many - shared)


def comparable(text: str, target: str | None = None) -> str:
    """What of a text, or of both sides of a pair, is compared: words in lower case."""
    words = APART.sub(" ", text.lower()).strip()
    return words if target is None else f"{words}\n{comparable(target)}"


@dataclass
class Sketches:
    """What is kept of sentences until all of them can be compared.

    Attributes:
        bands: (bands, n) uint32, a hash of each band of each signature.
        texts: n texts from `comparable`; empty ones are compared with nothing.
        pieces: (n,) int64, the rows that each sentence became.
    """

    bands: NDArray[np.uint32]
    texts: list[str]
    pieces: NDArray[np.int64]

    def select(self, members: NDArray[np.bool_], pieces: NDArray[np.int64]) -> Sketches:
        """Keep the sentences for which `members`, (n,), is True; say how many rows they became."""
        texts = [self.texts[index] for index in np.flatnonzero(members)]
        return Sketches(self.bands[:, members], texts, pieces)


class Sketcher:
    """Sketches texts.

    Args:
        similarity: that is to be found.
    """

    def __init__(self, similarity: Similarity) -> None:
        self.similarity = similarity
        bands, rows = similarity.shape
        generator = np.random.Generator(np.random.PCG64(0))  # the same in every process
        self._factors = generator.integers(0, 2**32, (bands, rows), np.uint32) | np.uint32(1)
        self._summands = generator.integers(0, 2**32, (bands, rows), np.uint32)

    def __call__(self, texts: Sequence[str], targets: Sequence[str] | None) -> Sketches:
        """Sketch texts, or pairs."""
        sides = [None] * len(texts) if targets is None else targets
        compared = [comparable(*pair) for pair in zip(texts, sides, strict=True)]
        bands = np.empty((len(self._factors), len(texts)), np.uint32)
        for chosen, grams, starts in self._chunks(compared):
            bands[:, chosen] = self._sign(grams, starts)
        return Sketches(bands, compared, np.ones(len(texts), np.int64))

    def _chunks(
        self, texts: list[str]
    ) -> Iterator[tuple[slice, NDArray[np.uint32], NDArray[np.int64]]]:
        """Hash the n-grams of some texts after the others.

        Yields:
            Which texts, the hashes of their n-grams, and where those of each text begin.
        """
        n, start = self.similarity.ngram, 0
        padded = [text.ljust(n, "\0") for text in texts]
        sizes = np.asarray([len(text) for text in padded], np.int64)
        ends = sizes.cumsum()
        while start < len(texts):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK, "right")))
            joined = "".join(padded[start:stop]).encode("utf-32-le", "surrogatepass")
            points = np.frombuffer(joined, np.uint32).astype(np.uint64)
            counts = sizes[start:stop] - n + 1
            # Windows that reach into the next text are left out.
            within = np.ones(len(points), np.bool_)
            for back in range(1, n):
                within[ends[start:stop] - before - back] = False
            hashes = np.zeros(len(points) - n + 1, np.uint64)
            for offset in range(n):
                hashes += points[offset : offset + len(hashes)]
                hashes *= STEP
            hashes ^= hashes >> np.uint64(33)
            hashes *= MIX
            grams = (hashes >> np.uint64(32)).astype(np.uint32)[within[: len(hashes)]]
            starts = counts.cumsum() - counts
            yield slice(start, stop), grams, starts
            start = stop

    def _sign(self, grams: NDArray[np.uint32], starts: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return a hash of each band, (bands, n), of the least hashes of each text's n-grams."""
        bands = np.zeros((len(self._factors), len(starts)), np.uint64)
        hashes = np.empty_like(grams)
        for number, (factors, summands) in enumerate(
            zip(self._factors, self._summands, strict=True)
        ):
            for factor, summand in zip(factors, summands, strict=True):
                np.multiply(grams, factor, out=hashes)
                np.add(hashes, summand, out=hashes)
                bands[number] += np.minimum.reduceat(hashes, starts)
                bands[number] *= STEP
        bands ^= bands >> np.uint64(33)
        bands *= MIX
        hashed: NDArray[np.uint32] = (bands >> np.uint64(32)).astype(np.uint32)
        return hashed


@dataclass
class NearDuplicates:
    """Sentences that are to be left out.

    Attributes:
        keep: (N,) bool, False for those.
        near: how many of them, by the group that has each, and the group of the one it is near to.
        examples: a few of them, each with the one it is near to.
    """

    keep: NDArray[np.bool_]
    near: Counter[tuple[int, int]] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)


def find_near_duplicates(
    bands: Sequence[Sequence[NDArray[np.uint32]]],
    text_of: Callable[[int], str],
    similarity: Similarity,
    advance: Callable[[int], None] = lambda _: None,
) -> NearDuplicates:
    """Find the sentences that are near-duplicates of an earlier one.

    Band after band, sentences with equal hashes are compared in their order: one that is near to an
    earlier one is left out at once, and compared no more. So the first of two always stays, unless
    one before it is near to it; and the result depends on the order of the sentences alone.

    Args:
        bands: for each band, arrays that can be read in slices, one for each group; together
            they have the hashes of all N sentences in their order.
        text_of: the text of a sentence, from `comparable`, by its index.
        similarity: what to look for.
        advance: called with the sentences of each band that was compared.
    """
    sizes = [len(array) for array in bands[0]]
    found = NearDuplicates(np.ones(sum(sizes), np.bool_))
    ends = np.cumsum(sizes)
    for arrays in bands:
        for members in _groups(arrays, found.keep):
            _compare(members, text_of, similarity, found, ends)
        advance(len(found.keep))
    return found


def _groups(
    arrays: Sequence[NDArray[np.uint32]], keep: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of kept sentences with equal hashes, ascending, group by group."""
    bits = max(0, (len(keep) - 1) // PART).bit_length()
    for part in range(1 << bits):
        hashes, rows = _read_part(arrays, keep, part, bits)
        order = np.argsort(hashes, kind="stable")
        hashes, rows = hashes[order], rows[order]
        begins = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] + np.uint32(1)))
        ends = np.append(begins[1:], len(hashes))
        several = ends - begins > 1
        for begin, end in zip(begins[several], ends[several], strict=True):
            yield rows[begin:end]


def _read_part(
    arrays: Sequence[NDArray[np.uint32]], keep: NDArray[np.bool_], part: int, bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Read the hashes whose leading `bits` are `part`, of kept sentences, and their indices."""
    hashes = [np.empty(0, np.uint32)]
    rows = [np.empty(0, np.int64)]
    first = 0
    for array in arrays:
        for start in range(0, len(array), BLOCK):
            block = np.asarray(array[start : start + BLOCK])
            at = first + start
            chosen = keep[at : at + len(block)]
            if bits:  # numpy does not define a shift by 32
                chosen = chosen & (block >> np.uint32(32 - bits) == part)
            hashes.append(block[chosen])
            rows.append(at + np.flatnonzero(chosen))
        first += len(array)
    return np.concatenate(hashes), np.concatenate(rows)


def _compare(
    members: NDArray[np.int64],
    text_of: Callable[[int], str],
    similarity: Similarity,
    found: NearDuplicates,
    ends: NDArray[np.int64],
) -> None:
    """Leave out the sentences of a group that are near to an earlier one of it."""
    leaders: dict[str, tuple[int, set[str]]] = {}
    for index in members.tolist():
        text = text_of(index)
        if not text:
            continue
        near: int | None
        if text in leaders:
            near = leaders[text][0]
        else:
            grams = similarity.grams(text)
            near = next(
                (at for at, other in leaders.values() if similarity.are_near(grams, other)), None
            )
        if near is None:
            if len(leaders) < LEADERS:
                leaders[text] = (index, grams)
            continue
        found.keep[index] = False
        groups = np.searchsorted(ends, (index, near), "right").tolist()
        found.near[groups[0], groups[1]] += 1
        if len(found.examples) < EXAMPLES and text_of(near) != text:
            found.examples.append((text, text_of(near)))
