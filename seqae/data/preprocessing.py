"""Pipeline: from a block of records to rows of token ids, by split. The same for every way to read.

    Block ─► clean ─► split by hash ─► tokenise ─► length policy ─► Encoded

A pure function of the block, so that any process may do it: `prepare` spreads it over the cores, a
stream calls it in its loader workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqae.data.cleaning import clean
from seqae.data.config import DataConfig
from seqae.data.corpus import Rows
from seqae.data.sources.records import TOO_LONG, Block, Counts, Position
from seqae.data.split import Split, hash_texts, split_by_hash
from seqae.data.tokenizers.base import Tokenizer

TRUNCATED = "truncated"
CUT = "cut into pieces"


@dataclass
class Encoded:
    """What became of a block.

    Attributes:
        rows: its sentences, by split.
        records: what became of its records; the block's own counts.
        sentences: what became of the sentences that its records held.
        altered: sentences that were kept, but changed by the length policy, by what it did.
        end: the block's end.
        weight: the block's weight.
    """

    rows: dict[Split, Rows]
    records: Counts
    sentences: Counts
    altered: dict[str, int]
    end: Position
    weight: int


class Pipeline:
    """From blocks of records to rows of token ids.

    Args:
        settings: what to do with them.
        tokenizer: trained.
    """

    def __init__(self, settings: DataConfig, tokenizer: Tokenizer) -> None:
        self.settings, self.tokenizer = settings, tokenizer

    def __call__(self, block: Block, split: Split) -> Encoded:
        """Clean, split and tokenise.

        Args:
            block: of a source of ...
            split: ... this split.

        Raises:
            ValueError: if a sentence is longer than `max_length` and `too_long` is `error`.
        """
        cleaned, sentences = clean(block, self.settings.cleaning)
        encoded = Encoded({}, block.counts, sentences, {}, block.end, block.weight)
        hashes = hash_texts(cleaned.texts)
        rows = self._rows(cleaned.texts, hashes)
        if cleaned.targets is not None:
            rows.target = self._rows(cleaned.targets, hash_texts(cleaned.targets))
        sides = split_by_hash(cleaned.texts, hashes, split, self.settings.split_rule)
        for side, members in sides.items():
            key = f"data.{side if self.settings.named[side] else 'train'}"
            chosen = rows.select(members)
            encoded.rows[side] = self._shorten(
                chosen, cleaned, np.flatnonzero(members), key, encoded
            )
        return encoded

    def _rows(self, texts: Sequence[str], hashes: NDArray[np.uint64]) -> Rows:
        return Rows(*self.tokenizer.encode_to_arrays(texts), hashes)

    def _shorten(
        self, rows: Rows, block: Block, chosen: NDArray[np.intp], key: str, encoded: Encoded
    ) -> Rows:
        """Do with what is too long as the policy says, and count it."""
        limit, policy = self.settings.max_length, self.settings.too_long
        longest = rows.lengths
        if rows.target is not None:
            longest = np.maximum(longest, rows.target.lengths)
        is_long = longest > limit
        if not is_long.any():
            return rows
        if policy == "error":
            first = int(np.argmax(is_long))
            raise ValueError(
                f"`data.max_length` must be at least the length of every sentence, but it is "
                f"{limit} and the sentence at {block.where(int(chosen[first]))} ({key}) has "
                f"{int(longest[first]):,} tokens. Set `data.max_length: {int(longest.max())}` or "
                f"more, or `data.too_long: truncate`, `drop` or `split`."
            )
        count = int(is_long.sum())
        if policy == "drop":
            encoded.sentences.dropped[TOO_LONG] += count
            return rows.select(~is_long)
        word = TRUNCATED if policy == "truncate" else CUT
        encoded.altered[word] = encoded.altered.get(word, 0) + count
        return self._cut(rows, all_pieces=policy == "split")

    def _cut(self, rows: Rows, all_pieces: bool) -> Rows:
        """Cut to pieces of `max_length`, each with bos and eos of its own; keep one, or all."""
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        room = self.settings.max_length - 2
        pieces: list[list[int]] = []
        owners, numbers = [], []
        ends = rows.lengths.cumsum()
        for owner, (end, length) in enumerate(zip(ends, rows.lengths, strict=True)):
            body = rows.ids[end - length + 1 : end - 1].tolist()
            stop = len(body) if all_pieces else min(1, len(body))
            for number, start in enumerate(range(0, max(1, stop), room)):
                pieces.append([bos, *body[start : start + room], eos])
                owners.append(owner)
                numbers.append(number)
        target = None if rows.target is None else self._cut(rows.target, all_pieces)
        ids = np.fromiter((token for piece in pieces for token in piece), rows.ids.dtype)
        lengths = np.asarray([len(piece) for piece in pieces], dtype=np.int64)
        # The pieces of a sentence are no repetitions of each other.
        hashes = rows.hashes[owners] + np.asarray(numbers, dtype=np.uint64)
        return Rows(ids, lengths, hashes, target)
