"""Shards of a stream, each with its own share of every pass over the text.

    parts of this pass ─► blocks, in turns ─► Pipeline ─► window ─► shuffle, sort, cut ─► batches

A window is some thousand sentences, as token ids in flat arrays. It is shuffled and cut to batches
of like length as a whole corpus is (batching.py), so a window is a pure function of where reading
stood at its begin; to go on within it, it is read once more and what was given is left out. So the
state of a shard is a few numbers, exact after every batch, and no buffer is ever saved.
A window takes 20 bytes a sentence and 2 a token (4 where V > 65,536), and what is being read about
1 MB; at the defaults and 16 tokens a sentence, 16 shards take 40 MB (benchmarks/stream.py).

Passes are dealt so that the shards' shares of one pass are the whole text, and so are one shard's
shares of as many passes as there are shards. So the shards need no agreement: one that is through
with its share begins the next pass, also where it had none, and in the long run no sentence is seen
more often than another.
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
from seqae.data.batching import BatchPlan, gather_rows, plan_batches
from seqae.data.config import StreamOptions
from seqae.data.corpus import Rows
from seqae.data.preprocessing import Encoded, Pipeline
from seqae.data.sampler import RoundedPadding
from seqae.data.sources.base import SourcePart
from seqae.data.sources.records import Block, Counts, Position

INTERLEAVED = 4  # parts that a shard reads in turns, so that one text does not fill a window


@dataclass(frozen=True)
class StreamCounts:
    """What was read, and what became of it; never changed, as batches on their way share it.

    Attributes:
        records: what became of records.
        sentences: what became of the sentences that they held.
        altered: sentences that the length policy changed, by what it did.
        trained: sentences of the training split, or the pieces they were cut into.
        tokens: of these, bos and eos counted.
    """

    records: Counts = field(default_factory=Counts)
    sentences: Counts = field(default_factory=Counts)
    altered: Mapping[str, int] = field(default_factory=dict)
    trained: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, encoded: Encoded) -> StreamCounts:
        """Count a block."""
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
        """As plain data."""
        counts = {"records": self.records.to_dict(), "sentences": self.sentences.to_dict()}
        return asdict(self) | {"altered": dict(self.altered)} | counts

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> StreamCounts:
        """From what `to_dict` gave."""
        counts = {name: Counts.from_dict(told[name]) for name in ("records", "sentences")}
        return cls(**{**told, **counts})


@dataclass(frozen=True)
class ShardState:
    """Where a shard stands after a batch: what it needs to give all that follow.

    Attributes:
        passes: passes that it has finished.
        window: windows of this pass that it has finished.
        given: batches of the next window that it has given.
        opened: parts of this pass that were opened before that window.
        reading: of these the ones that are not known to be at their end, in the order of their
            turns: which part, and the `end` of the last block of it that was read before.
        counts: what it has read in all; that window too, if a batch of it was given.
    """

    passes: int = 0
    window: int = 0
    given: int = 0
    opened: int = 0
    reading: tuple[tuple[int, Position], ...] = ()
    counts: StreamCounts = field(default_factory=StreamCounts)

    @property
    def progress(self) -> tuple[int, int, int]:
        """Of two states of one shard, the later has the larger one."""
        return self.passes, self.window, self.given

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        reading = [[part, dict(position)] for part, position in self.reading]
        return {**vars(self), "reading": reading, "counts": self.counts.to_dict()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> ShardState:
        """From what `to_dict` gave."""
        reading = tuple((part, position) for part, position in told["reading"])
        return cls(**{**told, "reading": reading, "counts": StreamCounts.from_dict(told["counts"])})


@dataclass(frozen=True)
class StreamShard:
    """One of the streams; plain data, so that workers can have a copy.

    Attributes:
        number: from 0.
        parts: of all sources; the same for each shard.
        pipeline: what makes rows of their records.
        options: what decides the order.
    """

    number: int
    parts: Sequence[SourcePart]
    pipeline: Pipeline
    options: StreamOptions

    def batches(self, state: ShardState) -> Iterator[tuple[Batch, ShardState]]:
        """Go on from a state, without an end: each batch, and the state after it.

        Raises:
            ValueError: if a record cannot be read or a sentence is too long, no part has a sentence
                for training, or the parts are not what they were when `state` was saved.
            OSError: if a file has gone or cannot be read.
        """
        pad_id, barren = self.pipeline.tokenizer.pad_id, 0
        padding = RoundedPadding(self.options.rounding, pad_id)
        while barren < 2 * self.options.shards:  # passes; by then every part was read
            reader = _PartReader(self.parts_of_pass(state.passes), state.opened, state.reading)
            barren += 1
            while True:
                window, counts = self._read(reader, self._size_of_window(state))
                begun = state if state.given else replace(state, counts=state.counts + counts)
                after = replace(
                    begun,
                    window=state.window + 1,
                    given=0,
                    opened=reader.opened,
                    reading=reader.reading,
                )
                if not counts.trained and not state.given:
                    break  # nothing was left of the pass
                barren, plan = 0, self._plan(window, state)
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
        """This shard's share of a pass: in so many passes as there are shards, all parts once."""
        shards, seed = self.options.shards, self.options.seed
        order = np.random.default_rng([seed, passes // shards]).permutation(len(self.parts))
        share = order[(self.number + passes) % shards :: shards]
        np.random.default_rng([seed, passes, self.number]).shuffle(share)
        return [self.parts[index] for index in share]

    def _size_of_window(self, state: ShardState) -> int:
        """How many sentences the next window has, at least.

        The very first one is smaller, for each shard by another share: so training begins soon, and
        the shards do not all read their next windows at the same step.
        """
        if state.passes or state.window:
            return self.options.shuffle_buffer
        return -(-self.options.shuffle_buffer * (self.number + 1) // self.options.shards)

    def _read(self, reader: _PartReader, sentences: int) -> tuple[_Window, StreamCounts]:
        """Read and tokenise blocks until there are so many sentences, or the pass is over."""
        rows, counts = [], StreamCounts()
        while counts.trained < sentences and (block := reader.read()) is not None:
            encoded = self.pipeline(block, "train")
            rows.append(encoded.rows["train"])
            counts += StreamCounts.of(encoded)
        return _Window.join(rows), counts

    def _plan(self, window: _Window, state: ShardState) -> BatchPlan:
        place = [self.options.seed, self.number, state.passes, state.window]
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        options = self.options
        plan = plan_batches(
            window.batch_lengths, options.batch_tokens, seed, epoch=0, rounding=options.rounding
        )
        if len(plan) <= state.given:
            raise ValueError(
                f"`data.train` must be what it was, to go on within a stream, but there are "
                f"{len(plan)} batches where {state.given} had been taken. Put it back, or train "
                f"anew."
            )
        return plan


class _PartReader:
    """Read parts one after the other, a few of them in turns; say where reading stands.

    Attributes:
        opened: how many parts were opened.
    """

    def __init__(
        self, parts: Sequence[SourcePart], opened: int, reading: Sequence[tuple[int, Position]]
    ) -> None:
        self.parts, self.opened = parts, opened
        self._turns = deque((part, end, parts[part].blocks(end)) for part, end in reading)

    @property
    def reading(self) -> tuple[tuple[int, Position], ...]:
        """Parts that may have more to read, and the end of the last block of each."""
        return tuple((part, end) for part, end, _ in self._turns)

    def read(self) -> Block | None:
        """The next block, or None if all parts are at their end."""
        while True:
            if self.opened < len(self.parts) and len(self._turns) < INTERLEAVED:
                part, blocks = self.opened, self.parts[self.opened].blocks()
                self.opened += 1
            elif self._turns:
                part, _, blocks = self._turns.popleft()
            else:
                return None
            if (block := next(blocks, None)) is not None:
                self._turns.append((part, block.end, blocks))
                return block


@dataclass(frozen=True)
class _Window:
    """Sentences in memory; `ids` and `lengths` as of Rows, `starts` says where each begins."""

    ids: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    target: _Window | None

    @classmethod
    def join(cls, rows: Sequence[Rows]) -> _Window:
        """Put rows one behind the other."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(some.lengths for some in rows)])
        targets = [some.target for some in rows if some.target is not None]
        return cls(
            np.concatenate([np.zeros(0, np.uint16), *(some.ids for some in rows)]),
            np.cumsum(lengths) - lengths,
            lengths,
            cls.join(targets) if targets else None,
        )

    @property
    def batch_lengths(self) -> NDArray[np.int32]:
        """(n,): what batches are planned by; of a pair, the longer side."""
        own = self.lengths.astype(np.int32)
        return own if self.target is None else np.maximum(own, self.target.batch_lengths)

    def gather(self, indices: NDArray[np.int64], pad_id: int) -> Batch:
        """Sentences as a padded batch."""
        starts, lengths = self.starts[indices], self.lengths[indices]
        token_ids = gather_rows(self.ids, starts, lengths, int(lengths.max()), pad_id)
        target = None if self.target is None else self.target.gather(indices, pad_id)
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths), target)
