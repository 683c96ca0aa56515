"""Pipeline: from a block of records to rows of token ids by split, for every way to read.

    Block ─► clean ─► split by hash ─► tokenise ─► length policy ─► Encoded

It is a pure function of the block, so any process can run it: `prepare` spreads it over the cores,
a stream calls it in its loader workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus import Rows
from seqae.data.sentences.cleaning import clean
from seqae.data.sentences.near_duplicates import Sketcher, Sketches
from seqae.data.sentences.split import Split, hash_texts, split_by_hash
from seqae.data.sentences.stretches import Stretches, running_texts
from seqae.data.sources.records import TOO_LONG, Block, Counts, Position
from seqae.data.tokenizers.base import Tokenizer

TRUNCATED = "truncated"
CUT = "cut into pieces"
RUNNING = "texts of several sentences beside them"

# What a sentence seldom has inside, unless two records were taken for one or a table for text.
LINE_ENDS = "line end or tab inside"
QUOTED = "doubled quotes"
EXAMPLES = 3  # of each, kept for the report
EXAMPLE_CHARACTERS = 80


@dataclass
class SplitBlock:
    """A block after cleaning, and the split of each text.

    Attributes:
        block: the n texts that are left, with their targets.
        counts: what became of the sentences that the records held.
        hashes: (n,) uint64, of the texts.
        members: (n,) bool for each split that has any of the texts.
    """

    block: Block
    counts: Counts
    hashes: NDArray[np.uint64]
    members: dict[Split, NDArray[np.bool_]]

    def select(self, split: Split) -> Block:
        """Return the texts of one split."""
        members = self.members.get(split, np.zeros(len(self.hashes), dtype=bool))
        return self.block.select(np.flatnonzero(members).tolist())


def clean_and_split(block: Block, split: Split, config: CorpusConfig) -> SplitBlock:
    """Clean the texts of a block and assign each to a split.

    Args:
        block: read from a source.
        split: the split that names the source; only the texts of `train` are divided.
        config: says how.
    """
    cleaned, counts = clean(block, config.cleaning)
    hashes = hash_texts(cleaned.texts)
    members = split_by_hash(cleaned.texts, hashes, split, config.split_rule)
    return SplitBlock(cleaned, counts, hashes, members)


@dataclass
class Remark:
    """Sentences in which something is odd.

    Attributes:
        count: of the sentences.
        examples: a few, as `file:line  text`.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: Remark) -> None:
        """Add the sentences of another."""
        self.count += other.count
        self.examples = (self.examples + other.examples)[:EXAMPLES]


@dataclass
class Encoded:
    """What became of a block.

    Attributes:
        rows: its sentences by split.
        sketches: of the sentences by split, if near-duplicates are to be found.
        records: what became of its records; the block's own counts.
        sentences: what became of the sentences that its records held.
        altered: sentences that the length policy kept but changed, by what it did.
        remarks: sentences that look as if they had been read wrongly, by what is odd in them.
        end: the block's end.
        weight: the block's weight.
    """

    rows: dict[Split, Rows]
    sketches: dict[Split, Sketches]
    records: Counts
    sentences: Counts
    altered: dict[str, int]
    remarks: dict[str, Remark]
    end: Position
    weight: int


def remark(block: Block) -> dict[str, Remark]:
    """Look for sentences that seem to have been read wrongly.

    Args:
        block: cleaned, for what the cleaning mends is no fault.
    """
    remarks: dict[str, Remark] = {}
    sides = [block.texts] if block.targets is None else [block.texts, block.targets]
    for texts in sides:
        joined = "\n".join(texts)  # one look at all of them; nearly always, there is nothing
        ends = joined.count("\n") >= len(texts) or "\t" in joined or "\r" in joined
        if not ends and '""' not in joined:
            continue
        for index, text in enumerate(texts):
            at = min((text.find(end) for end in "\n\t\r" if end in text), default=None)
            if at is not None:
                odd, shown = LINE_ENDS, _around(text, at)
            elif '""' in text[1:-1] and text[0] == text[-1] == '"':
                odd, shown = QUOTED, _around(text, 0)
            else:
                continue
            example = f"{block.where(index)}  {shown}"
            remarks.setdefault(odd, Remark()).add(Remark(1, [example]))
    return remarks


def _around(text: str, at: int) -> str:
    """Cut out of a text what is around a place, with more after it than before."""
    begin = max(0, at - EXAMPLE_CHARACTERS // 4)
    return "…" * (begin > 0) + text[begin : begin + EXAMPLE_CHARACTERS]


class Pipeline:
    """Turns blocks of records into rows of token ids.

    Args:
        config: says how.
        tokenizer: trained.
    """

    def __init__(self, config: CorpusConfig, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self._stretches = Stretches(tokenizer, config.max_length)
        similarity = config.cleaning.similarity
        self._sketch = None if similarity is None else Sketcher(similarity)

    def __call__(self, block: Block, split: Split) -> Encoded:
        """Clean, split and tokenise a block.

        Args:
            block: read from a source.
            split: the split that names the source.

        Raises:
            ValueError: if a sentence is longer than `max_length` and `too_long` is `error`.
        """
        result = clean_and_split(block, split, self.config)
        cleaned = result.block
        remarks = remark(cleaned)
        encoded = Encoded({}, {}, block.counts, result.counts, {}, remarks, block.end, block.weight)
        rows = self._tokenize(cleaned.texts, result.hashes)
        if cleaned.targets is not None:
            rows.target = self._tokenize(cleaned.targets, hash_texts(cleaned.targets))
        sketches: Sketches | None = None
        if self._sketch is not None:
            sketches = self._sketch(cleaned.texts, cleaned.targets)
        for side, members in result.members.items():
            key = f"data.{side if self.config.source_names[side] else 'train'}"
            encoded.rows[side], pieces = self._shorten(
                rows.select(members), cleaned, np.flatnonzero(members), key, encoded
            )
            if sketches is not None:
                encoded.sketches[side] = sketches.select(members, pieces)
        if self.config.running_text and "train" in encoded.rows:
            self._add_running_text(result.select("train"), encoded)
        return encoded

    def _add_running_text(self, block: Block, encoded: Encoded) -> None:
        """Add the stretches of neighbouring sentences to the rows for training.

        Args:
            block: the cleaned sentences of the split.
            encoded: where to add and count them.
        """
        is_split = self.config.cleaning.split_sentences is not None
        documents = block.numbers if is_split else [0] * len(block.texts)
        texts = running_texts(
            block.texts, hash_texts(block.texts), documents, self.config.running_text
        )
        if texts:
            encoded.altered[RUNNING] = len(texts)
            rows, _ = self._cut(self._tokenize(texts, hash_texts(texts)), keep_all=True)
            encoded.rows["train"] = encoded.rows["train"].with_rows(rows)

    def _tokenize(self, texts: Sequence[str], hashes: NDArray[np.uint64]) -> Rows:
        return Rows(*self.tokenizer.encode_to_arrays(texts), hashes)

    def _shorten(
        self, rows: Rows, block: Block, indices: NDArray[np.intp], key: str, encoded: Encoded
    ) -> tuple[Rows, NDArray[np.int64]]:
        """Apply the length policy to rows, and count what it does.

        Args:
            rows: of one split.
            block: the cleaned block.
            indices: (n,), where the rows' texts are in it.
            key: the configuration key of their source.
            encoded: where to count.

        Returns:
            The rows that are left, and how many of them each row became, (n,).
        """
        limit, policy = self.config.max_length, self.config.too_long
        longest = rows.lengths
        if rows.target is not None:
            longest = np.maximum(longest, rows.target.lengths)
        is_long = longest > limit
        if not is_long.any():
            return rows, np.ones(len(is_long), np.int64)
        if policy == "error":
            first = int(np.argmax(is_long))
            raise ValueError(
                f"`data.max_length` must be at least the length of every sentence, but it is "
                f"{limit} and the sentence at {block.where(int(indices[first]))} ({key}) has "
                f"{int(longest[first]):,} tokens. Set `data.max_length: {int(longest.max())}` or "
                f"more, or `data.too_long: truncate`, `drop` or `split`."
            )
        count = int(is_long.sum())
        if policy == "drop":
            encoded.sentences.dropped[TOO_LONG] += count
            return rows.select(~is_long), (~is_long).astype(np.int64)
        word = TRUNCATED if policy == "truncate" else CUT
        encoded.altered[word] = encoded.altered.get(word, 0) + count
        return self._cut(rows, keep_all=policy == "split")

    def _cut(self, rows: Rows, keep_all: bool) -> tuple[Rows, NDArray[np.int64]]:
        """Cut rows into stretches, or cut off what is beyond `max_length`; count the pieces."""
        pieces: list[list[int]] = []
        owners: list[int] = []
        numbers: list[int] = []
        ends = rows.lengths.cumsum()
        for owner, (end, length) in enumerate(zip(ends, rows.lengths, strict=True)):
            row = rows.ids[end - length : end].tolist()
            own = self._stretches.cut(row) if keep_all else [self._truncate(row)]
            pieces += own
            owners += [owner] * len(own)
            numbers += range(len(own))
        target = None if rows.target is None else self._cut(rows.target, keep_all)[0]
        ids = np.fromiter((token for piece in pieces for token in piece), rows.ids.dtype)
        lengths = np.asarray([len(piece) for piece in pieces], dtype=np.int64)
        # The pieces of a sentence must not count as repetitions of each other.
        hashes = rows.hashes[owners] + np.asarray(numbers, dtype=np.uint64)
        counts = np.bincount(owners, minlength=len(rows.lengths))
        return Rows(ids, lengths, hashes, target), counts

    def _truncate(self, row: list[int]) -> list[int]:
        limit = self.config.max_length
        return row if len(row) <= limit else [*row[: limit - 1], self.tokenizer.eos_id]
