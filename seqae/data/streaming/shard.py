"""Shards of a stream, each with its own share of every pass over the text.

    parts of this pass ─► blocks, round robin ─► Pipeline ─► window ─► shuffle, sort, cut ─► batches

A window is some thousand sentences, as token ids in flat arrays. It is shuffled and cut to batches
of like length as a whole corpus is (batching.py), so a window is a pure function of the position
where its reading began. To resume within a window, the shard reads it again and skips the batches
that were given. So the state of a shard is a few numbers, exact after every batch, and no buffer is
ever saved. A window takes 20 bytes a sentence and 2 a token (4 if V > 65,536), and reading about 1
MB; at the defaults and 16 tokens a sentence, 16 shards take 40 MB (benchmarks/stream.py).

The shares of all shards in one pass are the whole text, and so are the shares of one shard in as
many passes as there are shards. So the shards need not agree with each other: a shard that has
finished its share (or had none) begins the next pass, and in the long run every sentence is seen
equally often.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.data.batches.batching import BatchPlan, plan_batches
from seqae.data.batches.padding import gather_rows
from seqae.data.batches.sampler import RoundedPadding
from seqae.data.config import StreamOptions
from seqae.data.prepared.corpus import Rows
from seqae.data.sentences.preprocessing import Encoded, Pipeline
from seqae.data.sources.base import SourcePart
from seqae.data.sources.records import Block, Counts, Position

INTERLEAVED_PARTS = 4  # read round robin by a shard, so that one text does not fill a window


@dataclass(frozen=True)
class StreamCounts:
    """Counts what was read, and what became of it; immutable, as prefetched batches share it.

    Attributes:
        records: what became of the records.
        sentences: what became of the sentences that they held.
        altered: sentences that the length policy changed, by what it did.
        trained: sentences of the training split, or pieces of them if they were cut.
        tokens: of these sentences, bos and eos counted.
    """

    records: Counts = field(default_factory=Counts)
    sentences: Counts = field(default_factory=Counts)
    altered: Mapping[str, int] = field(default_factory=dict)
    trained: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, encoded: Encoded) -> StreamCounts:
        """Count one block."""
        lengths = encoded.rows["train"].lengths
        counts = encoded.records, encoded.sentences, encoded.altered
        return cls(*counts, trained=len(lengths), tokens=int(lengths.sum()))

    def __add__(self, other: StreamCounts) -> StreamCounts:
        records, sentences = Counts(), Counts()
        for counts in (self, other):
            records.add(counts.records)
            sentences.add(counts.sentences)
        altered = dict(Counter(self.altered) + Counter(other.altered))
        numbers = self.trained + other.trained, self.tokens + other.tokens
        return StreamCounts(records, sentences, altered, *numbers)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        counts = {"records": self.records.to_dict(), "sentences": self.sentences.to_dict()}
        return asdict(self) | {"altered": dict(self.altered)} | counts

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> StreamCounts:
        """Rebuild the counts from `to_dict()`."""
        counts = {name: Counts.from_dict(fields[name]) for name in ("records", "sentences")}
        return cls(**{**fields, **counts})


@dataclass(frozen=True)
class ShardState:
    """Position of a shard after a batch: all that it needs to give the batches that follow.

    Attributes:
        passes: finished passes.
        window: finished windows of this pass.
        given: batches of the next window that were given.
        opened: parts of this pass that were opened before that window.
        reading: the opened parts that may have more blocks, in the order in which they are read:
            index of the part, and `end` of its last block before that window.
        counts: of all that was read, that window included if a batch of it was given.
    """

    passes: int = 0
    window: int = 0
    given: int = 0
    opened: int = 0
    reading: tuple[tuple[int, Position], ...] = ()
    counts: StreamCounts = field(default_factory=StreamCounts)

    @property
    def progress(self) -> tuple[int, int, int]:
        """Grows from state to state of a shard."""
        return self.passes, self.window, self.given

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        reading = [[part, dict(position)] for part, position in self.reading]
        return {**vars(self), "reading": reading, "counts": self.counts.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ShardState:
        """Rebuild a state from `to_dict()`."""
        reading = tuple((part, position) for part, position in fields["reading"])
        counts = StreamCounts.from_dict(fields["counts"])
        return cls(**{**fields, "reading": reading, "counts": counts})


@dataclass(frozen=True)
class StreamShard:
    """Reads its share of the text; plain data, so that workers can have a copy.

    Attributes:
        number: of this shard, from 0.
        parts: of all sources; the same for each shard.
        pipeline: turns their blocks into rows.
        options: decide the order.
    """

    number: int
    parts: Sequence[SourcePart]
    pipeline: Pipeline
    options: StreamOptions

    def batches(self, state: ShardState) -> Iterator[tuple[Batch, ShardState]]:
        """Yield each batch after a state, and the state after that batch, without end.

        Raises:
            ValueError: if a record cannot be read or a sentence is too long, no part has a sentence
                for training, or the parts have changed since `state` was saved.
            OSError: if a file has gone or cannot be read.
        """
        pad_id, empty_passes = self.pipeline.tokenizer.pad_id, 0
        padding = RoundedPadding(self.options.rounding, pad_id)
        while empty_passes < 2 * self.options.shards:  # by then every part was read
            reader = _PartReader(self.parts_of_pass(state.passes), state.opened, state.reading)
            empty_passes += 1
            while True:
                window, counts = self._read(reader, self._window_sentences(state))
                begun = state if state.given else replace(state, counts=state.counts + counts)
                after = replace(
                    begun,
                    window=state.window + 1,
                    given=0,
                    opened=reader.opened,
                    reading=reader.reading,
                )
                if not counts.trained and not state.given:
                    break  # the pass was at its end
                empty_passes, plan = 0, self._plan(window, state)
                for index in range(state.given, len(plan)):
                    is_last = index + 1 == len(plan)
                    batch = padding(window.gather(plan[index], pad_id))
                    yield batch, after if is_last else replace(begun, given=index + 1)
                state = after
            state = replace(after, passes=state.passes + 1, window=0, opened=0, reading=())
        raise ValueError(
            f"`data.train` must have sentences for training, but none is left of what was read: "
            f"{state.counts.records}. Give more text, or drop less of it (`data.too_long`, "
            f"`data.val_percent`, `data.test_percent`)."
        )

    def parts_of_pass(self, passes: int) -> list[SourcePart]:
        """Return this shard's share of a pass: all parts once in as many passes as shards."""
        shards, seed = self.options.shards, self.options.seed
        order = np.random.default_rng([seed, passes // shards]).permutation(len(self.parts))
        share = order[(self.number + passes) % shards :: shards]
        np.random.default_rng([seed, passes, self.number]).shuffle(share)
        return [self.parts[index] for index in share]

    def _window_sentences(self, state: ShardState) -> int:
        """Return how many sentences the next window must have.

        The very first window is smaller, by another share for each shard: so training begins soon,
        and the shards do not all read their next windows at the same step.
        """
        if state.passes or state.window:
            return self.options.shuffle_buffer
        return -(-self.options.shuffle_buffer * (self.number + 1) // self.options.shards)

    def _read(self, reader: _PartReader, sentences: int) -> tuple[_Window, StreamCounts]:
        """Read and tokenise blocks until there are enough sentences, or the pass is over."""
        rows, counts = [], StreamCounts()
        while counts.trained < sentences and (block := reader.read()) is not None:
            encoded = self.pipeline(block, "train")
            rows.append(encoded.rows["train"])
            counts += StreamCounts.of(encoded)
        return _Window.join(rows), counts

    def _plan(self, window: _Window, state: ShardState) -> BatchPlan:
        entropy = [self.options.seed, self.number, state.passes, state.window]
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        options = self.options
        plan = plan_batches(
            window.batch_lengths, options.batch_tokens, seed, epoch=0, rounding=options.rounding
        )
        if len(plan) <= state.given:
            raise ValueError(
                f"`data.train` must be unchanged to resume within a stream, but there are "
                f"{len(plan)} batches where {state.given} had been given. Put it back, or start a "
                f"new training."
            )
        return plan


class _PartReader:
    """Reads a few parts round robin, and then the next ones; knows the position in each.

    Args:
        parts: all of them, in order.
        opened: how many were opened before.
        reading: as in ShardState.

    Attributes:
        opened: how many parts were opened.
    """

    def __init__(
        self, parts: Sequence[SourcePart], opened: int, reading: Sequence[tuple[int, Position]]
    ) -> None:
        self.parts, self.opened = parts, opened
        self._queue = deque((part, end, parts[part].blocks(end)) for part, end in reading)

    @property
    def reading(self) -> tuple[tuple[int, Position], ...]:
        """Parts that may have more blocks, and the end of the last block of each."""
        return tuple((part, end) for part, end, _ in self._queue)

    def read(self) -> Block | None:
        """Return the next block; None if all parts are at their end."""
        while True:
            if self.opened < len(self.parts) and len(self._queue) < INTERLEAVED_PARTS:
                part, blocks = self.opened, self.parts[self.opened].blocks()
                self.opened += 1
            elif self._queue:
                part, _, blocks = self._queue.popleft()
            else:
                return None
            if (block := next(blocks, None)) is not None:
                self._queue.append((part, block.end, blocks))
                return block


@dataclass(frozen=True)
class _Window:
    """Sentences in memory.

    Attributes:
        ids: (sum of lengths,), one sentence after the other.
        starts: (n,) int64, where each sentence begins.
        lengths: (n,) int64, tokens of each sentence.
        target: for paired text, the sentences to write instead.
    """

    ids: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    target: _Window | None

    @classmethod
    def join(cls, rows: Sequence[Rows]) -> _Window:
        """Join the rows of several blocks."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(block.lengths for block in rows)])
        targets = [block.target for block in rows if block.target is not None]
        return cls(
            np.concatenate([np.zeros(0, np.uint16), *(block.ids for block in rows)]),
            np.cumsum(lengths) - lengths,
            lengths,
            cls.join(targets) if targets else None,
        )

    @property
    def batch_lengths(self) -> NDArray[np.int32]:
        """(n,) int32, by which batches are planned: the tokens of a pair's longer side."""
        own = self.lengths.astype(np.int32)
        return own if self.target is None else np.maximum(own, self.target.batch_lengths)

    def gather(self, indices: NDArray[np.int64], pad_id: int) -> Batch:
        """Gather sentences into a padded batch."""
        starts, lengths = self.starts[indices], self.lengths[indices]
        token_ids = gather_rows(self.ids, starts, lengths, int(lengths.max()), pad_id)
        target = None if self.target is None else self.target.gather(indices, pad_id)
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths), target)
