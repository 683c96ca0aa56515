"""The fixed split of any corpus into train, val and test.

A hash of the sentence decides, not its position: a sentence falls into the same split in every
order, on every machine, and also after the corpus has grown. So no sentence can be in two splits,
however often it occurs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqae.component import check_range

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class SplitRule:
    """Says how to split training sources.

    Attributes:
        val_percent: share of the sentences for validation, in percent.
        test_percent: share of the sentences for the test, in percent.
        seed: 0 gives the fixed split; any other number gives an independent one.
        held_out: the splits that have no sources of their own.
    """

    val_percent: int = 5
    test_percent: int = 5
    seed: int = 0
    held_out: tuple[Split, ...] = ("val", "test")


def split_of(sentence: str, *, val_percent: int = 5, test_percent: int = 5, seed: int = 0) -> Split:
    """Return the split of a sentence, which depends on nothing but its text.

    The first 8 bytes of the SHA-256 of the sentence, as a big-endian number modulo 100, are below
    `100 - val_percent - test_percent` for train, and at least `100 - test_percent` for test.

    Args:
        sentence: the text.
        val_percent: share of the sentences for validation, in percent.
        test_percent: share of the sentences for the test, in percent.
        seed: 0 gives the fixed split; any other number gives an independent one.

    Raises:
        ValueError: if a share is negative, or the two exceed 100 % together.
    """
    check_range("val_percent", val_percent, 0, 100)
    check_range("test_percent", test_percent, 0, 100 - val_percent)
    salt = f"{seed}:" if seed else ""
    # surrogatepass: a str with a lone surrogate is no valid text, but has a split, too.
    digest = hashlib.sha256((salt + sentence).encode("utf-8", "surrogatepass")).digest()
    percentile = int.from_bytes(digest[:8], "big") % 100
    if percentile < 100 - val_percent - test_percent:
        return "train"
    return "val" if percentile < 100 - test_percent else "test"


def hash_texts(texts: Sequence[str], seed: int = 0) -> NDArray[np.uint64]:
    """Return the first 8 bytes of the SHA-256 of each text as a big-endian number, (n,) uint64."""
    salt = f"{seed}:" if seed else ""
    # surrogatepass: the tokenizer refuses a text with a lone surrogate, and says where it is.
    digests = (
        hashlib.sha256((salt + text).encode("utf-8", "surrogatepass")).digest()[:8]
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def split_by_hash(
    texts: Sequence[str], hashes: NDArray[np.uint64], split: Split, rule: SplitRule
) -> dict[Split, NDArray[np.bool_]]:
    """Assign texts to splits as `split_of` does, but many at once.

    A split with sources of its own takes nothing from train; the share of the other split stays the
    same.

    Args:
        texts: n texts of one source.
        hashes: (n,) uint64, their `hash_texts` with seed 0.
        split: that names the source; only the texts of `train` are divided.
        rule: the shares.

    Returns:
        (n,) bool for each split that gets any.
    """
    is_train = np.ones(len(texts), dtype=bool)
    if split != "train" or not (rule.val_percent or rule.test_percent):
        return {split: is_train}
    if rule.seed:
        hashes = hash_texts(texts, rule.seed)
    percentile = hashes % np.uint64(100)
    is_test = percentile >= 100 - rule.test_percent
    is_val = (percentile >= 100 - rule.test_percent - rule.val_percent) & ~is_test
    members: dict[Split, NDArray[np.bool_]] = {"val": is_val, "test": is_test}
    held_out = {side: members[side] for side in rule.held_out if members[side].any()}
    for mask in held_out.values():
        is_train &= ~mask
    return {"train": is_train, **held_out}
