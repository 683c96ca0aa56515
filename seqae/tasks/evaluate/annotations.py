"""Sentences with a judgement: pairs with a score of similarity, sentences with a label."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from seqae.metrics.embedding import FOLDS


def read_pairs(path: str) -> list[tuple[str, str, float]]:
    """Read pairs of sentences with a score, as those of an STS task.

    Args:
        path: a .tsv file of `first TAB second TAB score`, or a .jsonl file with these keys.

    Raises:
        ValueError: if it holds something else, or fewer than two pairs.
    """
    pairs = []
    for first, second, told in _read(path, "pairs", ("first", "second", "score"), texts=2):
        score = _number(told)
        if score is None:
            raise ValueError(
                f"`pairs` must have a finite number as the score of each pair, but {path} has "
                f"{str(told)[:60]!r}. Take out the line of headings, if that is it."
            )
        pairs.append((first, second, score))
    if len(pairs) < 2:
        raise ValueError(f"`pairs` must hold two pairs or more, but {path} holds {len(pairs)}.")
    return pairs


def read_labelled(path: str) -> list[tuple[str, str]]:
    """Read sentences with a label.

    Args:
        path: a .tsv file of `text TAB label`, or a .jsonl file with these keys.

    Raises:
        ValueError: if it holds something else, or too few sentences of a label.
    """
    rows = _read(path, "labels", ("text", "label"), texts=1)
    labelled = [(text, str(label)) for text, label in rows]
    counts = Counter(label for _, label in labelled)
    rarest = min(counts, key=lambda label: counts[label], default="")
    if len(counts) < 2 or counts[rarest] < FOLDS:
        raise ValueError(
            f"`labels` must hold two labels or more with {FOLDS} sentences or more each, but "
            f"{path} holds {len(counts)}, and {counts[rarest]} of {rarest!r}. Leave rare ones out."
        )
    return labelled


def _read(path: str, key: str, columns: tuple[str, ...], texts: int) -> list[list[Any]]:
    """The columns of each line; the first `texts` of them are text."""
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
                f"has not: {line[:60]!r}. Put it right or take it out."
            )
        rows.append(row)
    return rows


def _split(line: str, columns: tuple[str, ...], is_json: bool) -> list[Any] | None:
    """The columns of a line; None if it has others."""
    if not is_json:
        row = line.split("\t")
        return row if len(row) == len(columns) else None
    try:
        fields = json.loads(line)
        row = [fields[column] for column in columns]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return row if all(isinstance(value, (str, int, float)) for value in row) else None


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
