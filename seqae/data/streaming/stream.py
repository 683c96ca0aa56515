"""TokenStream: endless training batches, from text that is tokenised during training.

It serves text that does not fit a disk or has no end. A stream has S shards (shard.py); batch g of
the stream is the next batch of shard g mod S. Ranks, and the loader workers of each, divide the
shards, so the order of batches is the same on any number of ranks and workers that divides S, and
every rank has a batch at every step without asking the others.

Loader workers, and Lightning itself, fetch ahead. So each batch carries its shard's state after it,
and only batches passed to `consumed` enter the saved state.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import cycle
from operator import add
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqae.batch import Batch
from seqae.data.config import StreamOptions
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.sentences.split import SPLITS
from seqae.data.sources.base import READER_VERSION, Source, SourcePart
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.formats.reader import Reader
from seqae.data.streaming.checks import check_division, check_streamable
from seqae.data.streaming.shard import ShardState, StreamCounts, StreamShard
from seqae.processes import ignore_group_signals

PARTS_PER_SHARD = 4  # of a file that can be cut; a window then mixes text from all of them
BLOCK_BYTES = 1 << 15  # small, so that a short file has blocks for all shards; no slower
PREFETCHED_BATCHES = 8  # of each worker; they bridge the time that reading a window takes


@dataclass
class StreamBatch:
    """A batch, and what to record when it is trained.

    Attributes:
        batch: the batch.
        shard: number of the shard that gave it.
        state: of that shard, after this batch.
    """

    batch: Batch
    shard: int
    state: ShardState

    def pin_memory(self) -> StreamBatch:
        """Move to page-locked memory; a DataLoader calls this."""
        return replace(self, batch=self.batch.pin_memory())


@dataclass(frozen=True)
class Failure:
    """Carries an error about the text out of a worker; raised there, it would be a traceback."""

    error: ValueError | OSError


class TokenStream:
    """Gives batches of training sentences without end.

    Args:
        sources: of training text.
        pipeline: turns their blocks into rows.
        options: decide the order.

    Raises:
        ValueError: if a source can be read only once.
    """

    def __init__(
        self, sources: Sequence[Source], pipeline: Pipeline, options: StreamOptions
    ) -> None:
        self.parts = [part for source in sources for part in _cut(source, options.shards)]
        self.options, self._text = options, _digest(sources)
        config = pipeline.config.to_dict() | {"tokenizer": pipeline.tokenizer.fingerprint}
        config = {name: value for name, value in config.items() if name not in SPLITS}
        self._config = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        self.shards = [StreamShard(n, self.parts, pipeline, options) for n in range(options.shards)]
        self.states = {number: ShardState() for number in range(options.shards)}
        self._before = 0  # batches of all ranks when this process began
        self._taken = 0  # batches that this rank has consumed since
        self._last: tuple[int, ShardState] | None = None  # the last shard, and its state before

    def loader(
        self,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> StreamLoader:
        """Load the batches of one rank; each iteration begins after the last consumed batch.

        Args:
            rank: number of this process.
            world_size: how many processes there are; divides the number of shards.
            num_workers: loader workers of each process; divides the shards of a rank, or is 0.
            pin_memory: whether to move batches to page-locked memory.

        Raises:
            ValueError: if the shards cannot be divided like this.
        """
        check_division(self.options.shards, world_size, num_workers)
        return StreamLoader(
            _RankBatches(self, rank, world_size),
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=ignore_group_signals,
            pin_memory=pin_memory,
            prefetch_factor=PREFETCHED_BATCHES if num_workers else None,
            # Its own, so that starting draws nothing from the generator of dropout.
            generator=torch.Generator(),
        )

    def consumed(self, item: StreamBatch) -> Batch:
        """Record that the next batch in order is being trained, and return the batch itself."""
        self._last = (item.shard, self.states[item.shard])
        self.states[item.shard] = item.state
        self._taken += 1
        return item.batch

    def round_robin(self, rank: int, world_size: int) -> list[int]:
        """Return a rank's shards in the order in which it takes their batches, over and over."""
        first, shards = self._before + self._taken * world_size + rank, self.options.shards
        return [(first + step) % shards for step in range(0, shards, world_size)]

    def rank_state(self, without_last: bool = False) -> dict[str, Any]:
        """Return what this rank has consumed, as plain data for `merge_states`.

        Args:
            without_last: whether to leave out the last batch, because its training is incomplete.
        """
        states, taken = dict(self.states), self._taken
        if without_last and self._last is not None:
            states[self._last[0]] = self._last[1]
            taken -= 1
        return {
            "order": self._order(),
            "before": self._before,
            "taken": taken,
            "shards": {number: state.to_dict() for number, state in states.items()},
        }

    def gather(self, trainer: Any) -> dict[str, Any]:
        """Merge the states of all processes, without a batch whose training is not complete.

        Every process must call this.

        Args:
            trainer: of Lightning; its loops count the batches that were begun and completed.
        """
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        own = self.rank_state(without_last=progress.ready > progress.processed)
        states: list[Any] = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, own)
        return merge_states(states)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `merge_states`, on any number of ranks and workers.

        Raises:
            ValueError: if the order would differ, because an option or the text has changed.
        """
        # A checkpoint may be older than the option, without which it was 1.
        saved = {"data.min_rows": 1, **state["order"]}
        for key, now in self._order().items():
            if (before := saved.get(key)) != now:
                raise ValueError(
                    f"`{key}` must be {before}, as before, to resume within a stream, but it is "
                    f"{now} instead. Put it back, or start a new training."
                )
        self.states = {
            int(number): ShardState.from_dict(fields) for number, fields in state["shards"].items()
        }
        self._before, self._taken, self._last = state["batches"], 0, None

    def _order(self) -> dict[str, Any]:
        """Return what decides the order, by configuration key."""
        options = self.options
        return {
            "data.batch_tokens": options.batch_tokens,
            "data.seed": options.seed,
            "data.stream_shards": options.shards,
            "data.shuffle_buffer": options.shuffle_buffer,
            "data.round_length": options.rounding.length,
            "data.round_rows": options.rounding.rows,
            "data.min_rows": options.rounding.min_rows,
            "data": f"settings of reading, cleaning, split and length with key {self._config}",
            "data.train": f"the text of {len(self.parts)} parts with key {self._text}",
        }


def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the `rank_state` of all ranks, in any order, for `load_state_dict`."""
    shards: dict[int, ShardState] = {}
    for state in states:
        for number, fields in state["shards"].items():
            shard = ShardState.from_dict(fields)
            if number not in shards or shard.progress > shards[number].progress:
                shards[number] = shard  # only the rank that owns a shard advances it
    return {
        "order": states[0]["order"],
        "batches": states[0]["before"] + sum(state["taken"] for state in states),
        "shards": {number: state.to_dict() for number, state in shards.items()},
    }


def summarize(state: Mapping[str, Any]) -> dict[str, Any]:
    """Count what was read up to a state of `merge_states`.

    Returns:
        The StreamCounts of all shards as plain data, and `passes`, how many passes have begun.
    """
    shards = [ShardState.from_dict(fields) for fields in state["shards"].values()]
    total = reduce(add, (shard.counts for shard in shards), StreamCounts())
    return total.to_dict() | {"passes": 1 + max(shard.passes for shard in shards)}


class _RankBatches(IterableDataset[StreamBatch | Failure]):
    """Yields one rank's batches, or a loader worker's share of them."""

    def __init__(self, stream: TokenStream, rank: int, world_size: int) -> None:
        self.stream, self.rank, self.world_size = stream, rank, world_size

    def __iter__(self) -> Iterator[StreamBatch | Failure]:
        worker = get_worker_info()
        share = slice(worker.id, None, worker.num_workers) if worker else slice(None)
        # A DataLoader takes from its workers round robin, which restores the order of the rank.
        mine = self.stream.round_robin(self.rank, self.world_size)[share]
        states = self.stream.states
        batches = {number: self.stream.shards[number].batches(states[number]) for number in mine}
        try:
            for number in cycle(mine):
                batch, state = next(batches[number])
                yield StreamBatch(batch, number, state)
        except (ValueError, OSError) as error:
            yield Failure(error)


class StreamLoader(DataLoader[StreamBatch | Failure]):
    """Raises an error about the text unchanged, also if it happened in a worker."""

    def __iter__(self) -> Iterator[StreamBatch]:  # type: ignore[override]
        items = super().__iter__()
        while True:
            try:
                item = next(items)
            except (ConnectionError, EOFError) as error:
                # While a batch was fetched; at other times torch's RuntimeError says the same.
                raise RuntimeError(
                    "a DataLoader worker was killed, or ran out of memory. Resume; if it was "
                    "memory, with fewer `data.num_workers` or a smaller `data.shuffle_buffer`."
                ) from error
            if isinstance(item, Failure):
                raise item.error
            yield item


def _cut(source: Source, shards: int) -> list[SourcePart]:
    """Cut a source for shards, into several parts per shard if that costs nothing.

    Raises:
        ValueError: if it can be read only once.
    """
    check_streamable(source)
    parts = source.parts(shards * PARTS_PER_SHARD)
    if any(part.stride > 1 for part in parts):  # each of them reads a whole file
        parts = source.parts(shards)
    return [
        replace(part, reader=replace(part.reader, block_bytes=BLOCK_BYTES))
        if isinstance(part.reader, Reader)
        else part
        for part in parts
    ]


def _digest(sources: Sequence[Source]) -> str:
    """Hash what is read and how, but not where files are or when they were written."""
    text = [[source.record, _files(source)] for source in sources]
    content = [READER_VERSION, BLOCK_BYTES, text]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _files(source: Source) -> list[list[Any]]:
    """Return names and sizes of a source's files; the record of other sources is enough."""
    if not isinstance(source, FileSource):
        return []
    files = [reader.file for reader in source.readers]
    return [[os.path.basename(file.name), file.stamp and file.stamp[0]] for file in files]
