"""Decide which sentences of prepared splits to leave out as repetitions or near-duplicates.

The splits for measuring come first, so that a training sentence that is also in them, or nearly, is
the one to go; within a split, the first of the file stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.sentences.duplicates import first_occurrences
from seqae.data.sentences.near_duplicates import Similarity, find_near_duplicates
from seqae.data.sentences.split import Split
from seqae.terminal import progress_bar

ORDER: tuple[Split, ...] = ("test", "val", "train")

Kept = dict[Split, NDArray[np.bool_]]


def choose_sentences(
    writers: Mapping[Split, CorpusWriter], options: CleanOptions
) -> tuple[Kept, dict[str, Any]]:
    """Choose what to keep of all that was written.

    Args:
        writers: of the three splits.
        options: say whether repetitions and near-duplicates go.

    Returns:
        For each split, (N,) bool, False for rows to leave out; nothing if all stay. And what the
        report says of it: how many by split, and for near-duplicates where the sentences are that
        they are near to.
    """
    keep: Kept = {}
    report: dict[str, Any] = {"repetitions_left_out": {}}
    if options.deduplicate:
        keep = _first_occurrences(writers)
        report["repetitions_left_out"] = {split: int((~kept).sum()) for split, kept in keep.items()}
    if (similarity := options.similarity) is not None:
        near, report["near_duplicates_left_out"] = _far_enough(writers, similarity)
        keep = {split: keep.get(split, True) & kept for split, kept in near.items()}
    return keep, report


def _first_occurrences(writers: Mapping[Split, CorpusWriter]) -> Kept:
    hashes = [writers[split].read_hashes() for split in ORDER]
    first = first_occurrences(np.concatenate(hashes))
    return dict(zip(ORDER, _cut(first, hashes), strict=True))


def _far_enough(
    writers: Mapping[Split, CorpusWriter], similarity: Similarity
) -> tuple[Kept, dict[str, Any]]:
    sketches = [files for split in ORDER if (files := writers[split].sketches) is not None]
    bands = [*zip(*(files.bands for files in sketches), strict=True)]
    readers = [files.reader() for files in sketches]
    pieces = [files.pieces for files in sketches]
    begins = np.cumsum([0, *map(len, pieces)])

    def text_of(index: int) -> str:
        number = int(np.searchsorted(begins, index, "right")) - 1
        return readers[number](index - int(begins[number]))

    total = len(bands) * int(begins[-1])
    with progress_bar("comparing", total) as advance:
        found = find_near_duplicates(bands, text_of, similarity, advance)
    keep = {
        split: np.repeat(kept, rows)
        for split, kept, rows in zip(ORDER, _cut(found.keep, pieces), pieces, strict=True)
    }
    near = {split: dict.fromkeys(ORDER, 0) for split in ORDER}
    for (dropped, kept), count in found.near.items():
        near[ORDER[dropped]][ORDER[kept]] = count
    return keep, {"near": near, "examples": [list(pair) for pair in found.examples]}


def _cut(array: NDArray[np.bool_], like: list[Any]) -> list[NDArray[np.bool_]]:
    ends = np.cumsum([*map(len, like)])[:-1]
    return np.split(array, ends)
