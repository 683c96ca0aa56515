"""Padding: sentences of different lengths as the rows of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch, Vocabulary
from seqae.data.batches.batching import plan_batches


def like_length_batches(
    rows: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    batch_tokens: int,
    batch_size: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Pad sentences to batches of like length, from short to long, for use outside of training.

    Args:
        rows: token ids of each sentence, bos and eos included.
        vocabulary: names the token that fills a row.
        batch_tokens: budget of a batch, rows times the padded length.
        batch_size: sentences of a batch, instead of that.

    Yields:
        The indices of the sentences in a batch, (B,), and the batch.
    """
    lengths = np.asarray([len(row) for row in rows], np.int32)
    plan: Iterable[NDArray[np.int64]]
    if batch_size is None:
        plan = plan_batches(lengths, batch_tokens, seed=0, epoch=0, shuffle=False)
    else:
        order = np.argsort(lengths, kind="stable")
        plan = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
    for indices in plan:
        yield indices, collate([rows[index] for index in indices], vocabulary)


def gather_rows(
    ids: NDArray[np.integer[Any]],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    width: int,
    pad_id: int,
) -> NDArray[np.int64]:
    """Gather sentences from a flat array of token ids as padded rows.

    Args:
        ids: of any integer type, one sentence after the other.
        starts: (B,), where each sentence begins.
        lengths: (B,), its tokens.
        width: T, tokens of a padded row.
        pad_id: fills the rows.

    Returns:
        (B, T) token ids.
    """
    columns = np.arange(width)
    is_token = columns < lengths[:, None]
    # A padded position reads the row's first token, so that no index leaves the array.
    positions = starts[:, None] + np.where(is_token, columns, 0)
    rows = np.asarray(ids[positions], dtype=np.int64)
    rows[~is_token] = pad_id
    return rows


def collate(rows: Sequence[Sequence[int]], vocabulary: Vocabulary) -> Batch:
    """Pad sentences, as token ids with bos and eos, to one batch."""
    lengths = np.asarray([len(row) for row in rows], np.int64)
    token_ids = np.full((len(rows), lengths.max()), vocabulary.pad_id, np.int64)
    # All rows at once: one after the other they cost a twentieth of encoding a sentence.
    is_token = np.arange(token_ids.shape[1]) < lengths[:, None]
    token_ids[is_token] = np.concatenate([np.asarray(row, np.int64) for row in rows])
    return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths))
