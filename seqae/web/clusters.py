"""Groups of latents, and the words that tell one from the others."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 12  # as many as colours that an eye tells apart
LEAST = 20  # points for each cluster
ROUNDS = 30
WORDS = 4

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’][^\W\d_]+)?")


def clusters(
    latents: NDArray[np.float32], count: int = CLUSTERS, seed: int = 0
) -> NDArray[np.int64]:
    """Group latents by k-means (Lloyd, 1982) from a start by k-means++ (Arthur and others, 2007).

    Args:
        latents: (n, Z).
        count: of groups at most; there are at least 20 latents for each on average.
        seed: of the start.

    Returns:
        (n,): the group of each, the largest group first; no group is empty.
    """
    rows = np.asarray(latents, np.float32)
    count = max(1, min(count, len(rows) // LEAST))
    centres = _start(rows, count, np.random.default_rng(seed))
    groups = np.full(len(rows), -1)
    for _ in range(ROUNDS):
        nearest = (rows @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1)
        if (nearest == groups).all():
            break
        groups = nearest
        members = (groups == np.arange(len(centres))[:, None]).astype(np.float32)
        sums, sizes = members @ rows, members.sum(axis=1)  # np.add.at takes 50 times as long
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    sizes = np.bincount(groups, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    names = np.empty_like(order)
    names[order] = np.arange(len(order))
    renamed: NDArray[np.int64] = names[groups]
    return renamed


def cluster_words(
    texts: Sequence[str], groups: NDArray[np.int64], count: int = WORDS
) -> list[list[str]]:
    """Name groups by class-based tf-idf, of BERTopic (Grootendorst, 2022).

    The weight of a word in a group is √tf · log(1 + (A − f + ½) / (f + ½)): tf its share of the
    group's words, f how often it is in all of them, and A the mean number of words of a group. Both
    are BERTopic's own variants (`reduce_frequent_words`, `bm25_weighting`), which need no list of
    stop words in any language.

    Args:
        texts: of the latents.
        groups: (n,), as of `clusters`.
        count: of words for each group.

    Returns:
        For each group the words, the best first.
    """
    size = int(groups.max()) + 1 if len(groups) else 0
    own: list[Counter[str]] = [Counter() for _ in range(size)]
    for text, group in zip(texts, groups.tolist(), strict=True):
        own[group].update(_WORD.findall(text.lower()))
    everywhere: Counter[str] = Counter()
    for counts in own:
        everywhere.update(counts)
    mean = everywhere.total() / max(size, 1)
    rarity = {
        word: math.log(1 + max(mean - often + 0.5, 0.0) / (often + 0.5))
        for word, often in everywhere.items()
    }
    named = []
    for counts in own:
        total = max(counts.total(), 1)
        weights = {word: math.sqrt(often / total) * rarity[word] for word, often in counts.items()}
        best = sorted(weights, key=lambda word: (-weights[word], word))
        named.append(best[:count])
    return named


def _start(
    rows: NDArray[np.float32], count: int, random: np.random.Generator
) -> NDArray[np.float32]:
    chosen = [int(random.integers(len(rows)))]
    distances = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        total = float(distances.sum(dtype=np.float64))
        if total <= 0:  # fewer different rows than groups
            break
        bounds = np.cumsum(distances, dtype=np.float64)
        chosen.append(int(np.searchsorted(bounds, random.random() * bounds[-1], side="right")))
        distances = np.minimum(distances, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return rows[chosen]
