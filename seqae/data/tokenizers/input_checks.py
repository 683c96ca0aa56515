"""Checks of what a tokenizer is given: texts to train on or to encode, ids to decode."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seqae.component import type_in_words


def check_text(key: str, index: int, text: object) -> str:
    """Check that an item of a list is text that can be written as UTF-8.

    A missing value (None, NaN) is refused and not left out: what comes of a text by its index, such
    as its latent or its label, would belong to another one.

    Args:
        key: names the list.
        index: of the item.
        text: the item.

    Raises:
        ValueError: if it is something else, or has a lone surrogate.
    """
    if text is None or (isinstance(text, float) and math.isnan(text)):
        raise ValueError(
            f"`{key}` must be texts, but the item at index {index:,} is missing ({text}). Drop it; "
            f"`.dropna()` does that in pandas."
        )
    if not isinstance(text, str):
        raise ValueError(
            f"`{key}` must be texts, but the item at index {index:,} is {type_in_words(text)} "
            f"instead. Drop it, or turn it into text."
        )
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{key}` must be Unicode text, but the one at index {index:,} has the lone surrogate "
            f"{text[error.start]!r} at character {error.start:,} instead. Read the file with "
            f'errors="replace", or drop the line.'
        ) from error
    return text


def check_not_one_text(key: str, kind: str, texts: object) -> None:
    """Refuse a single text, whose characters would be taken for texts.

    Args:
        key: names the argument.
        kind: what it must be.
        texts: the argument.

    Raises:
        ValueError: if it is a str.
    """
    if isinstance(texts, str):
        raise ValueError(
            f"`{key}` must be {kind} of texts, but it is one text instead. Put it in a list."
        )


def check_training_texts(sentences: Iterable[str]) -> Iterator[str]:
    """Check sentences while they are read.

    Raises:
        ValueError: if one is no text or has a lone surrogate, or there is no text in any.
    """
    num_characters = 0
    for index, sentence in enumerate(sentences):
        num_characters += len(check_text("sentences", index, sentence))
        yield sentence
    if not num_characters:
        raise ValueError(
            "`sentences` must hold some text to train on, but there is none instead. Check the "
            "file and what was filtered from it."
        )


def check_ids(row: Any, index: int, vocab_size: int) -> npt.NDArray[np.integer[Any]]:
    """Check that a row of a batch holds token ids.

    Args:
        row: a sequence, array or tensor.
        index: of the row in the batch.
        vocab_size: V.

    Returns:
        (T,) the ids.

    Raises:
        ValueError: if it holds something else than ids from 0 to V-1.
    """
    try:
        ids = np.asarray(row.tolist() if isinstance(row, Tensor) else row)
    except ValueError:  # lists of unequal length inside
        ids = np.empty((1, 1), dtype=object)
    if ids.size == 0:
        return np.empty(0, dtype=np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"`batch` must be rows of integer ids, (B, T), but row {index} is "
            f"{reprlib.repr(row)} instead. Pass a batch of sentences."
        )
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise ValueError(
            f"`batch` must hold ids from 0 to {vocab_size - 1:,}, but row {index} has "
            f"{ids.min()} to {ids.max()} instead. Use the tokenizer that the model was "
            f"trained with."
        )
    return ids
