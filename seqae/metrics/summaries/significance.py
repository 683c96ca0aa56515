"""How sure a mean over documents is: bootstrap intervals, and tests of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000  # means of an interval
EXCHANGES = 10_000  # of a test
BLOCK = 500  # resamples at once, which bounds the memory


class Interval(NamedTuple):
    """A mean with the bounds between which it is with a probability of 95 %."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Compute the mean of n values and its 95 % interval: percentiles of resampled means.

    Efron 1979 (doi:10.1214/aos/1176344552). The documents are what is drawn, so the interval is
    that of other documents, not of another training or another seed.

    Args:
        values: (n,), one of each document.
        seed: of the draws.
        resamples: how many means are drawn.
    """
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [
        array[generator.integers(len(array), size=(count, len(array)))].mean(axis=1)
        for count in _blocks(resamples)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high))


def randomization_test(
    values: Sequence[float], baseline: Sequence[float], seed: int = 0, exchanges: int = EXCHANGES
) -> float:
    """Compute how likely a difference of means is by chance alone, p, of values of n documents.

    Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005, W05-0908): if two systems were
    alike, the two values of each document could as well be exchanged; p is the share of random
    exchanges with at least as large a difference, in either direction.

    Args:
        values: (n,).
        baseline: (n,), of the same documents.
        seed: of the draws.
        exchanges: how many are drawn; p is at least 1 / (exchanges + 1).
    """
    difference = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    generator = np.random.default_rng(seed)
    observed = abs(difference.sum())
    as_large = 0
    for count in _blocks(exchanges):
        signs = generator.integers(2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        sums: NDArray[np.float64] = np.abs(signs @ difference)
        as_large += int((sums >= observed - 1e-12).sum())
    return (as_large + 1) / (exchanges + 1)


def _blocks(total: int) -> list[int]:
    return [min(BLOCK, total - start) for start in range(0, total, BLOCK)]
