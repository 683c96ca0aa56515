"""Limits: how many tokens a text may get, where the sentence that it should repeat is known.

A model that has learned little writes on until `max_length`, and so does a good one at a few hard
latents: twenty times the work of a sentence, for a row that is wrong already. Neither exact match
nor token accuracy can see a token after the end of the reference, so that a limit beyond it leaves
both as they are; BLEU counts fewer wrong words where one is reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from seqae.model.autoencoder import SequenceAutoencoder

LENGTH_RATIO = 2.0  # times the tokens of the sentence, as fairseq's `--max-len-a`
SLACK = 10  # tokens more, so that short ones have room; fairseq's `--max-len-b`


def limits_of(
    lengths: Iterable[int], max_length: int, ratio: float = LENGTH_RATIO, min_length: int = 2
) -> list[int]:
    """Limit the tokens of the texts that should repeat sentences.

    Args:
        lengths: tokens of each sentence, bos and eos counted, as everywhere here.
        max_length: of the model, or of the options.
        ratio: times a sentence's tokens; 10 more are allowed.
        min_length: a limit is never below it.

    Returns:
        The most tokens of each text.
    """
    return [
        min(max_length, max(min_length, math.ceil(ratio * length) + SLACK)) for length in lengths
    ]


def write_limit(model: SequenceAutoencoder) -> int:
    """Limit the tokens of a text where no sentence is known: what it has learned to write.

    With a `max_length` of 2,048, which is that of its documents, an early model would take thirty
    times as long as it must for a summary of 60 tokens.
    """
    if not model.longest_target:
        return model.max_length
    return limits_of([model.longest_target], model.max_length)[0]


def are_cut(rows: Iterable[Sequence[int]], limits: Iterable[int]) -> list[bool]:
    """Say of each text whether its limit cut it: it did not end before.

    Args:
        rows: token ids without bos and eos.
        limits: most tokens of each, bos and eos counted.
    """
    return [len(row) >= limit - 1 for row, limit in zip(rows, limits, strict=True)]
