"""Read sentences that people annotated: pairs with a similarity, sentences with a label."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqae.metrics.embedding import FOLDS


@dataclass
class LabelledData:
    """Annotated sentences.

    Attributes:
        pairs: (first, second, score) each; None if no file was given.
        labelled: (text, label) each; None if no file was given.
        paraphrases: (first, second) each; None if no file was given.
    """

    pairs: Sequence[tuple[str, str, float]] | None = None
    labelled: Sequence[tuple[str, str]] | None = None
    paraphrases: Sequence[tuple[str, str]] | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.pairs, self.labelled, self.paraphrases))


def read_annotations(
    pairs: str | None, labels: str | None, paraphrases: str | None = None
) -> LabelledData:
    """Read the files of annotated sentences that are given; see the functions below."""
    return LabelledData(
        None if pairs is None else read_pairs(pairs),
        None if labels is None else read_labelled(labels),
        None if paraphrases is None else read_paraphrases(paraphrases),
    )


def read_pairs(path: str) -> list[tuple[str, str, float]]:
    """Read pairs of sentences with a score, such as those of an STS task.

    Args:
        path: a .tsv file of `first TAB second TAB score`, or a .jsonl file with these keys.

    Raises:
        ValueError: if the file holds anything else, or fewer than two pairs.
    """
    pairs = []
    for first, second, value in _read_rows(path, "pairs", ("first", "second", "score"), texts=2):
        score = _to_finite(value)
        if score is None:
            raise ValueError(
                f"`pairs` must have a finite number as the score of each pair, but {path} has "
                f"{str(value)[:60]!r}. If that is a heading, remove its line."
            )
        pairs.append((first, second, score))
    if len(pairs) < 2:
        raise ValueError(f"`pairs` must hold two pairs or more, but {path} holds {len(pairs)}.")
    return pairs


def read_paraphrases(path: str) -> list[tuple[str, str]]:
    """Read pairs of sentences that say the same.

    Args:
        path: a .tsv file of `first TAB second`, or a .jsonl file with these keys.

    Raises:
        ValueError: if the file holds anything else, or fewer than two pairs.
    """
    rows = _read_rows(path, "paraphrases", ("first", "second"), texts=2)
    if len(rows) < 2:
        raise ValueError(
            f"`paraphrases` must hold two pairs or more, but {path} holds {len(rows)}. Add some."
        )
    return [(first, second) for first, second in rows]


def read_labels(path: str) -> list[tuple[str, str]]:
    """Read sentences with a label, of whatever number.

    Args:
        path: a .tsv file of `text TAB label`, or a .jsonl file with these keys.

    Raises:
        ValueError: if the file holds anything else.
    """
    rows = _read_rows(path, "labels", ("text", "label"), texts=1)
    return [(text, str(label)) for text, label in rows]


def read_labelled(path: str) -> list[tuple[str, str]]:
    """Read sentences with a label, enough of each for a classifier.

    Raises:
        ValueError: as `read_labels`, or if there are too few sentences of a label.
    """
    labelled = read_labels(path)
    counts = Counter(label for _, label in labelled)
    rarest = min(counts, key=lambda label: counts[label], default="")
    if len(counts) < 2 or counts[rarest] < FOLDS:
        raise ValueError(
            f"`labels` must hold two labels or more with {FOLDS} sentences or more each, but "
            f"{path} holds {len(counts)}, and {counts[rarest]} of {rarest!r}. Remove rare labels."
        )
    return labelled


def _read_rows(path: str, key: str, columns: tuple[str, ...], texts: int) -> list[list[Any]]:
    """Read the columns of each line, of which the first `texts` must be text."""
    if Path(path).suffix not in (".tsv", ".jsonl"):
        raise ValueError(
            f"`{key}` must be a .tsv or .jsonl file, but it is {path} instead. Write "
            f"{' TAB '.join(columns)} in each line of a .tsv file."
        )
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.rstrip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise ValueError(
            f"`{key}` must be a file of text in UTF-8, but {path} is none: {reason}. "
            f"Check the path."
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _split(line, columns, is_json=path.endswith(".jsonl"))
        if row is None or not all(isinstance(text, str) for text in row[:texts]):
            raise ValueError(
                f"`{key}` must have {', '.join(columns)} in each line, but line {number} of {path} "
                f"has not: {line[:60]!r}. Correct or remove it."
            )
        rows.append(row)
    return rows


def _split(line: str, columns: tuple[str, ...], is_json: bool) -> list[Any] | None:
    """Split a line into its columns; None if it has others."""
    if not is_json:
        row = line.split("\t")
        return row if len(row) == len(columns) else None
    try:
        fields = json.loads(line)
        row = [fields[column] for column in columns]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return row if all(isinstance(value, (str, int, float)) for value in row) else None


def _to_finite(value: Any) -> float | None:
    """Convert a value to a finite number; None if that is impossible."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
