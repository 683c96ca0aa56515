"""The data report: what a person should know of a corpus before training on it, as plain data.

It measures the tokenised corpora on disk, block by block; only the few sentences that are shown
become Python objects. render.py writes the report for people.

    tokenizer   class_path, vocab_size
    splits      by split: sentences, tokens, unknown ..., lengths, repetitions, and for paired text
                the same for the targets
    overlaps    by `train/val` and the like: distinct sentences that are in both, how many sentences
                of each split these are, examples

`prepare` adds `sources`, `repetitions_left_out`, `near_duplicates_left_out` and `settings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.data.sentences.duplicates import Hashes, PairHashes, distinct_parts
from seqae.data.sentences.split import Split
from seqae.data.tokenizers.base import Tokenizer

BLOCK = 1 << 13  # sentences measured together
EXAMPLES = 3  # sentences shown of those that repeat, or that two splits share
EXAMPLE_CHARACTERS = 200
BINS = 12  # of a histogram, and one more for the longest 1 %


def measure(corpora: Mapping[Split, TokenizedCorpus], tokenizer: Tokenizer) -> dict[str, Any]:
    """Measure tokenised corpora, except for empty ones.

    Args:
        corpora: by split.
        tokenizer: that tokenised them.

    Returns:
        Plain data; the module's docstring lists the keys.
    """
    present = {split: corpus for split, corpus in corpora.items() if len(corpus)}
    splits: dict[str, Any] = {}
    for split, corpus in present.items():
        splits[split] = {
            **_measure_tokens(corpus, tokenizer),
            "repetitions": _measure_repetitions(corpus, tokenizer),
        }
        if corpus.target is not None:
            splits[split]["target"] = _measure_tokens(corpus.target, tokenizer)
    return {
        "tokenizer": {"class_path": type(tokenizer).__name__, "vocab_size": tokenizer.vocab_size},
        "splits": splits,
        "overlaps": _measure_overlaps(present, tokenizer),
    }


def _measure_tokens(corpus: TokenizedCorpus, tokenizer: Tokenizer) -> dict[str, Any]:
    """Count tokens by id and sentences by length, and describe both."""
    vocabulary = tokenizer.vocabulary
    by_id = np.zeros(vocabulary.size, np.int64)
    by_length = np.zeros(1, np.int64)
    with_unknown = 0
    for ids, lengths in _blocks(corpus):
        by_id += np.bincount(ids, minlength=vocabulary.size)
        counts = np.bincount(lengths, minlength=len(by_length))
        counts[: len(by_length)] += by_length
        by_length = counts
        unknown = np.flatnonzero(ids == vocabulary.unk_id)
        if len(unknown):
            with_unknown += len(np.unique(np.searchsorted(lengths.cumsum(), unknown, "right")))
    tokens, unknown_tokens = int(by_id.sum()), int(by_id[vocabulary.unk_id])
    special = [vocabulary.pad_id, vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id]
    used = int(np.count_nonzero(np.delete(by_id, special)))
    ordinary = vocabulary.size - len(special)
    return {
        "sentences": len(corpus),
        "tokens": tokens,
        "unknown": unknown_tokens,
        # bos and eos are no text
        "unknown_share": unknown_tokens / max(1, tokens - 2 * len(corpus)),
        "sentences_with_unknown": with_unknown,
        "vocabulary_used": used,
        "vocabulary_used_share": used / max(1, ordinary),
        "lengths": describe_lengths(by_length),
    }


def _blocks(corpus: TokenizedCorpus) -> Iterator[tuple[NDArray[Any], NDArray[np.int32]]]:
    """Yield the ids of some sentences, one after the other, and their lengths; then the next."""
    for start in range(0, len(corpus), BLOCK):
        lengths = np.asarray(corpus.lengths[start : start + BLOCK])
        yield corpus.flat_ids(start, start + len(lengths)), lengths


def describe_lengths(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Describe how long sentences are.

    Args:
        counts: (longest + 1,) how many sentences have 0, 1, 2 ... tokens; not all zero.

    Returns:
        min, mean, max; p50 to p99, each the smallest length that this percentage of the sentences
        does not exceed; and a histogram whose bins include both their ends.
    """
    total = int(counts.sum())
    cumulative = counts.cumsum()
    covering = {p: int(np.searchsorted(cumulative * 100, total * p)) for p in (50, 90, 95, 99)}
    shortest, longest = (int(np.flatnonzero(counts)[end]) for end in (0, -1))
    return {
        "min": shortest,
        "mean": float(counts @ np.arange(len(counts)) / total),
        "max": longest,
        **{f"p{percent}": length for percent, length in covering.items()},
        "histogram": [
            {"from": low, "to": high, "sentences": int(counts[low : high + 1].sum())}
            for low, high in _bins(shortest, covering[99], longest)
        ],
    }


def _bins(shortest: int, most: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield bins of a round width from the shortest to `most`, and one more up to the longest."""
    widths = (digit * 10**zeros for zeros in range(9) for digit in (1, 2, 5))
    width = next(w for w in widths if (most - 1) // w - (shortest - 1) // w < BINS)
    low = (shortest - 1) // width * width + 1
    while low <= most:
        high = low + width - 1
        yield low, high
        low = high + 1
    if low <= longest:
        yield low, longest


def _measure_repetitions(corpus: TokenizedCorpus, tokenizer: Tokenizer) -> dict[str, Any]:
    """Count sentences that occur more than once; pairs must be equal on both sides."""
    hashes: Hashes = corpus.hashes
    if corpus.target is not None:
        hashes = PairHashes(corpus.hashes, corpus.target.hashes)
    distinct = 0
    frequent = np.empty((0, 2), np.int64)  # count and first index of the most repeated
    for (part,) in distinct_parts([hashes]):
        distinct += len(part.hashes)
        rows = np.flatnonzero(part.counts > 1)
        repeated = np.stack([part.counts[rows], part.first[rows]], axis=1)
        frequent = np.concatenate([frequent, repeated])
        frequent = frequent[np.lexsort((frequent[:, 1], -frequent[:, 0]))][:EXAMPLES]
    return {
        "distinct": distinct,
        "repeated": len(corpus) - distinct,
        "most_repeated": [
            {"count": int(count), "text": _text(corpus, int(index), tokenizer)}
            for count, index in frequent
        ],
    }


def _measure_overlaps(
    corpora: Mapping[Split, TokenizedCorpus], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Count the sentences that two splits share; for pairs, compare the text to read."""
    pairs = list(combinations(corpora, 2))
    overlaps: dict[str, Any] = {f"{a}/{b}": {"distinct": 0, a: 0, b: 0} for a, b in pairs}
    first = {pair: np.empty(0, np.int64) for pair in pairs}
    for parts in distinct_parts([corpus.hashes for corpus in corpora.values()] if pairs else []):
        part_of = dict(zip(corpora, parts, strict=False))
        for a, b in pairs:
            left, right = part_of[a], part_of[b]
            _, in_left, in_right = np.intersect1d(
                left.hashes, right.hashes, assume_unique=True, return_indices=True
            )
            counts = overlaps[f"{a}/{b}"]
            counts["distinct"] += len(in_left)
            counts[a] += int(left.counts[in_left].sum())
            counts[b] += int(right.counts[in_right].sum())
            first[a, b] = np.sort(np.concatenate([first[a, b], right.first[in_right]]))[:EXAMPLES]
    for (a, b), indices in first.items():
        examples = [_text(corpora[b], index, tokenizer) for index in indices.tolist()]
        overlaps[f"{a}/{b}"]["examples"] = examples
    return overlaps


def _text(corpus: TokenizedCorpus, index: int, tokenizer: Tokenizer) -> str:
    return tokenizer.decode([corpus[index].tolist()])[0][:EXAMPLE_CHARACTERS]
