"""Where a sentence and its reconstruction differ, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Literal

from seqae.web.payload import Piece, Reconstruction

Kind = Literal["same", "missing", "added"]
SAME: Kind = "same"
MISSING: Kind = "missing"
ADDED: Kind = "added"

# Scripts that write no blanks between words: each of their characters is a word of its own.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# A word or a mark with the blanks before it.
_TOKEN = re.compile(
    rf"\s*(?:[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|[^\w\s])|\s+"
)

MAX_CELLS = 10**6  # of the table of edits; a second of Python

EDIT = 10**6  # costs one more as a replacement: of the shortest ways, the one that keeps most words


@dataclass(frozen=True)
class Difference:
    """What became of a sentence.

    Attributes:
        pieces: runs of words with the same fate; those that are the same or missing make up the
            reference, those that are the same or added the prediction, but for its blanks.
        error: edits (words that are missing, added or replaced) for each word of the reference.
    """

    pieces: list[Piece]
    error: float


def difference(reference: str, prediction: str) -> Difference:
    """Align a sentence with its reconstruction by the fewest edits (Wagner and Fischer, 1974).

    Of several such alignments, it is one that keeps the most words.

    A word is a run of letters and digits, a punctuation mark, or a character of a script without
    blanks, such as Chinese. Where beginnings and ends are equal, only the middles are aligned; two
    middles of over 1,000 words each are taken as one replacement.

    Args:
        reference: the sentence.
        prediction: what came back.
    """
    old, new = words(reference), words(prediction)
    own, other = [word.strip() for word in old], [word.strip() for word in new]
    first = 0
    while first < min(len(own), len(other)) and own[first] == other[first]:
        first += 1
    last = 0
    while last < min(len(own), len(other)) - first and own[-1 - last] == other[-1 - last]:
        last += 1
    middle = own[first : len(own) - last], other[first : len(other) - last]
    edits, steps = _align(*middle)
    kinds: list[Kind] = [*repeat(SAME, first), *steps, *repeat(SAME, last)]
    return Difference(_pieces(kinds, old, new), edits / max(len(old), 1))


def reconstructions(references: Iterable[str], predictions: Iterable[str]) -> list[Reconstruction]:
    """Compare sentences with what came back of them.

    Args:
        references: n sentences.
        predictions: as many.
    """
    rows: list[Reconstruction] = []
    for reference, prediction in zip(references, predictions, strict=True):
        found = difference(reference, prediction)
        rows.append(
            {
                "reference": reference,
                "prediction": prediction,
                "pieces": found.pieces,
                "error": found.error,
            }
        )
    return rows


def words(text: str) -> list[str]:
    """Split a text into words and marks, each with the blanks before it; joined they are the text.

    Args:
        text: any text.
    """
    return _TOKEN.findall(text)


def _align(own: Sequence[str], other: Sequence[str]) -> tuple[int, list[Kind]]:
    """Return the number of edits and the fate of each word, those of `other` that are new too."""
    rows, columns = len(own), len(other)
    if rows * columns > MAX_CELLS:
        return max(rows, columns), [*repeat(MISSING, rows), *repeat(ADDED, columns)]
    costs = [[EDIT * j for j in range(columns + 1)]]
    for i in range(1, rows + 1):
        above, row = costs[-1], [EDIT * i]
        for j in range(1, columns + 1):
            swapped = above[j - 1] + (EDIT + 1) * (own[i - 1] != other[j - 1])
            row.append(min(swapped, above[j] + EDIT, row[-1] + EDIT))
        costs.append(row)
    steps: list[Kind] = []
    i, j = rows, columns
    while i or j:  # backwards, so that of each replacement the old word comes first
        here = costs[i][j]
        is_same = i > 0 and j > 0 and own[i - 1] == other[j - 1]
        if i and j and here == costs[i - 1][j - 1] + (EDIT + 1) * (not is_same):
            steps += [SAME] if is_same else [ADDED, MISSING]
            i, j = i - 1, j - 1
        elif j and here == costs[i][j - 1] + EDIT:
            steps.append(ADDED)
            j -= 1
        else:
            steps.append(MISSING)
            i -= 1
    return costs[rows][columns] // EDIT, steps[::-1]


def _pieces(kinds: Sequence[Kind], old: Sequence[str], new: Sequence[str]) -> list[Piece]:
    """Join the words of a stretch between two that are the same: first what is missing."""
    remaining, arriving = iter(old), iter(new)
    pieces: list[Piece] = []
    for is_same, run in groupby(kinds, lambda kind: kind == SAME):
        stretch = list(run)
        if is_same:
            texts = [next(remaining) for _ in stretch]
            for _ in stretch:
                next(arriving)
            pieces.append({"kind": SAME, "text": "".join(texts)})
            continue
        missing = "".join(next(remaining) for kind in stretch if kind == MISSING)
        added = "".join(next(arriving) for kind in stretch if kind == ADDED)
        if missing:
            pieces.append({"kind": MISSING, "text": missing})
        if added:
            pieces.append({"kind": ADDED, "text": added})
    return pieces
