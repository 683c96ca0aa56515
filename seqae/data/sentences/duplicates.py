"""Find equal sentences by their hashes alone, in memory that does not grow.

The hashes are spread evenly over 64 bits, so their leading bits divide them into parts of similar
size, which are sorted one at a time: 100 million take half a minute on one core, and 400 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20  # hashes read at a time
PART = 1 << 22  # hashes sorted at a time, 100 bytes each
MIXER = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, so that equal sides do not cancel each other


class Hashes(Protocol):
    """An array of uint64 that can be read in slices."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint64]: ...


class Distinct(NamedTuple):
    """The distinct values among some hashes, ascending.

    Attributes:
        hashes: (n,) uint64.
        counts: (n,) int64, how often each occurs.
        first: (n,) int64, the index where each occurs first.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    first: NDArray[np.int64]


class PairHashes:
    """Array of one hash per pair, computed when it is read.

    Args:
        texts: (N,) uint64, hashes of one side.
        targets: (N,) uint64, hashes of the other.
    """

    def __init__(self, texts: Hashes, targets: Hashes) -> None:
        self.texts, self.targets = texts, targets

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: slice) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = self.texts[rows] ^ self.targets[rows] * np.uint64(MIXER)
        return hashes


def first_occurrences(hashes: Hashes) -> NDArray[np.bool_]:
    """Tell for each hash whether no earlier one is equal: (N,) bool."""
    is_first = np.zeros(len(hashes), dtype=bool)
    for (distinct,) in distinct_parts([hashes]):
        is_first[distinct.first] = True
    return is_first


def distinct_parts(arrays: Sequence[Hashes]) -> Iterator[list[Distinct]]:
    """Find the distinct hashes in each of some arrays, part by part.

    Yields:
        For each part of the range of hashes, the distinct ones of each array. Equal hashes of
        different arrays are in the same part.
    """
    longest = max(map(len, arrays), default=0)
    bits = max(0, (longest - 1) // PART).bit_length()
    for part in range(1 << bits):
        yield [_distinct(array, part, bits) for array in arrays]


def _distinct(hashes: Hashes, part: int, bits: int) -> Distinct:
    """Find the distinct hashes among those whose leading `bits` are `part`."""
    parts = [Distinct(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))]
    for start in range(0, len(hashes), BLOCK):
        block = hashes[start : start + BLOCK]
        rows = np.arange(start, start + len(block))
        if bits:  # numpy does not define a shift by 64
            rows = start + np.flatnonzero(block >> np.uint64(64 - bits) == part)
            block = block[rows - start]
        values, first, counts = np.unique(block, return_index=True, return_counts=True)
        parts.append(Distinct(values, counts, rows[first]))
    values, counts, first = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(values, kind="stable")  # equal hashes stay in the order of their blocks
    values, counts, first = values[order], counts[order], first[order]
    is_new = np.ones(len(values), dtype=bool)
    is_new[1:] = values[1:] != values[:-1]
    begins = np.flatnonzero(is_new)
    if len(begins):
        counts = np.add.reduceat(counts, begins)
    return Distinct(values[begins], counts, first[begins])
