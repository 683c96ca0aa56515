"""Metrics of the texts half way between two sentences, beside unrelated sentences and a mixture."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from seqae.bundle.operations.latent_ops import between
from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.generation import Decoding
from seqae.metrics.judge.ngram_judge import NgramJudge, joined
from seqae.metrics.metric import Scores
from seqae.metrics.segmenter import lower_words
from seqae.metrics.text import content_kept
from seqae.tasks.evaluate.samples import MODEL, REAL, SHUFFLED

Pairs = Sequence[tuple[str, str]]

MIDPOINTS = 500  # at most


def pairs_of(texts: Sequence[str], count: int = MIDPOINTS) -> list[tuple[str, str]]:
    """Pair the sentences of the first half with those of the second, `count` pairs at most."""
    half = len(texts) // 2
    return list(zip(texts[: min(half, count)], texts[half:], strict=False))


def paths(
    model: TextAutoencoder,
    pairs: Pairs,
    steps: int,
    decoding: Decoding = GREEDY,
    seed: int = 0,
) -> list[list[str]]:
    """Decode the points that `seqae interpolate` decodes, of all pairs at once.

    Args:
        model: encodes and decodes.
        pairs: of sentences.
        steps: points on each path, both ends included.
        decoding: how they are decoded.
        seed: of drawn tokens.
    """
    if not pairs:
        return []
    sides = [model.encode([pair[side] for pair in pairs], "truncate") for side in (0, 1)]
    points = [between(first, last, steps) for first, last in zip(*sides, strict=True)]
    sources = [np.repeat(side, steps, axis=0) for side in sides]
    decoded = model.decode_near(np.concatenate(points), sources, decoding, seed)
    return [decoded[start : start + steps] for start in range(0, len(decoded), steps)]


def midpoint_metrics(
    midpoints: Sequence[str], pairs: Pairs, judge: NgramJudge, seed: int
) -> Scores:
    """Score midpoints: is it language, and is it of both ends?

    Args:
        midpoints: the text between the sentences of each pair.
        pairs: of unseen sentences.
        judge: trained on training sentences.
        seed: of all draws.
    """
    rng = random.Random(seed)
    columns = {MODEL: list(midpoints)}
    if len(pairs) > 1:  # the start of the pair before has nothing to do with this one
        columns[REAL] = [pairs[index - 1][0] for index in range(len(pairs))]
    columns[SHUFFLED] = [_half_of_both(pair, rng) for pair in pairs]
    common = judge.common()
    scores: Scores = {}
    for name, column in columns.items():
        kept = content_kept(column, pairs, common)
        scores[name] = {
            "midpoint_judge_perplexity": judge.perplexity(column),
            "midpoint_unknown_words": judge.unknown(column),
            "midpoint_content": kept.share,
            "midpoint_both_ends": kept.both,
        }
    return scores


def _half_of_both(pair: tuple[str, str], rng: random.Random) -> str:
    """Draw half of the words of both ends, in random order."""
    row = [word for end in pair for word in lower_words(end)]
    return joined(rng.sample(row, (len(row) + 1) // 2))
