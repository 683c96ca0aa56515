"""TokenStream: training batches without an end, from text that is tokenised while training.

For text that does not fit a disk or has no end. A stream has S shards (shard.py); batch g of
the stream is the next batch of shard g mod S. Ranks, and the loader workers of each, divide the
shards, so that the order of batches is the same on any number of ranks and workers that divides S,
and every rank has a batch at every step without asking the others.

Loader workers, and Lightning itself, fetch ahead. So each batch brings the state of its shard after
it, and only what `consumed` was told of stands in the state that is saved.
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
from seqae.component import check_range
from seqae.data.config import StreamOptions
from seqae.data.preprocessing import Pipeline
from seqae.data.sources.base import READER_VERSION, Source, SourcePart
from seqae.data.sources.discovery import quote
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.reader import Reader
from seqae.data.split import SPLITS
from seqae.data.streaming.shard import ShardState, StreamCounts, StreamShard
from seqae.processes import ignore_group_signals

FINER = 4  # parts for each shard, where a file can be cut: their texts stand in one window
BLOCK_BYTES = 1 << 15  # small, so that a short file has blocks for all shards; no slower
FETCHED_AHEAD = 8  # batches of each worker; bridges the reading of a window


@dataclass
class StreamBatch:
    """A batch, and what is to be remembered when it has been trained.

    Attributes:
        batch: the batch.
        shard: the shard that it is from.
        state: that shard's, after it.
    """

    batch: Batch
    shard: int
    state: ShardState

    def pin_memory(self) -> StreamBatch:
        """Move to page-locked memory; a DataLoader calls this."""
        return replace(self, batch=self.batch.pin_memory())


@dataclass(frozen=True)
class Failure:
    """What went wrong with the text in a worker: raised there, it would come as a traceback."""

    error: ValueError | OSError


class TokenStream:
    """Batches of training sentences, without an end.

    Args:
        sources: of training text.
        pipeline: what makes rows of their records.
        options: what decides the order.

    Raises:
        ValueError: if an option is out of range, or a source can be read only once.
    """

    def __init__(
        self, sources: Sequence[Source], pipeline: Pipeline, options: StreamOptions
    ) -> None:
        check_range("data.batch_tokens", options.batch_tokens, 1, 2**31)
        check_range("data.stream_shards", options.shards, 1, 2**16)
        check_range("data.shuffle_buffer", options.shuffle_buffer, 1, 2**31)
        self.parts = [part for source in sources for part in _cut(source, options.shards)]
        self.options, self._text = options, _digest(sources)
        told = pipeline.config.to_dict() | {"tokenizer": pipeline.tokenizer.fingerprint}
        told = {name: value for name, value in told.items() if name not in SPLITS}
        self._settings = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        self.shards = [StreamShard(n, self.parts, pipeline, options) for n in range(options.shards)]
        self.states = {number: ShardState() for number in range(options.shards)}
        self._before = 0  # batches of all ranks when this process began
        self._taken = 0  # batches that this rank has consumed since
        self._last: tuple[int, ShardState] | None = None  # a shard, and its state a batch ago

    def loader(
        self,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> StreamLoader:
        """Batches of one rank; each iteration begins behind the last batch that was consumed.

        Args:
            rank: this process's number.
            world_size: how many there are; it divides the number of shards.
            num_workers: loader workers of each; divides a rank's shards, or is 0.
            pin_memory: as of DataLoader.

        Raises:
            ValueError: if the shards cannot be divided so.
        """
        check_division(self.options.shards, world_size, num_workers)
        return StreamLoader(
            _RankBatches(self, rank, world_size),
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=ignore_group_signals,
            pin_memory=pin_memory,
            prefetch_factor=FETCHED_AHEAD if num_workers else None,
            # Its own, so that starting draws nothing from the generator of dropout.
            generator=torch.Generator(),
        )

    def consumed(self, item: StreamBatch) -> Batch:
        """Remember that a batch is being trained, the next in order; give the batch."""
        self._last = (item.shard, self.states[item.shard])
        self.states[item.shard] = item.state
        self._taken += 1
        return item.batch

    def turns(self, rank: int, world_size: int) -> list[int]:
        """A rank's shards, in the order in which it takes their next batches, again and again."""
        first, shards = self._before + self._taken * world_size + rank, self.options.shards
        return [(first + step) % shards for step in range(0, shards, world_size)]

    def rank_state(self, without_last: bool = False) -> dict[str, Any]:
        """What this rank has consumed, as plain data for `merge_states`.

        Args:
            without_last: whether to leave out the last batch, whose training is not complete.
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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `merge_states` gave, on any number of ranks and workers.

        Raises:
            ValueError: if the order would be another one: a setting or the text has changed.
        """
        for key, now in self._order().items():
            if (before := state["order"].get(key)) != now:
                raise ValueError(
                    f"`{key}` must be {before}, as before, to go on within a stream, but it is "
                    f"{now} instead. Put it back, or train anew."
                )
        self.states = {
            int(number): ShardState.from_dict(told) for number, told in state["shards"].items()
        }
        self._before, self._taken, self._last = state["batches"], 0, None

    def _order(self) -> dict[str, Any]:
        """What decides the order, by configuration key."""
        options = self.options
        return {
            "data.batch_tokens": options.batch_tokens,
            "data.seed": options.seed,
            "data.stream_shards": options.shards,
            "data.shuffle_buffer": options.shuffle_buffer,
            "data.round_length": options.rounding.length,
            "data.round_rows": options.rounding.rows,
            "data": f"settings of reading, cleaning, split and length with key {self._settings}",
            "data.train": f"the text of {len(self.parts)} parts with key {self._text}",
        }


def check_division(shards: int, world_size: int, num_workers: int) -> None:
    """Refuse shards that cannot be divided over processes and loader workers.

    Raises:
        ValueError: with what fits.
    """
    if shards % world_size:
        raise ValueError(
            f"`data.stream_shards` must be a multiple of the number of processes, but it is "
            f"{shards} and there are {world_size} processes instead. Set it to "
            f"{-(-shards // world_size) * world_size}."
        )
    each = shards // world_size
    if num_workers and each % num_workers:
        fits = [str(n) for n in range(1, each + 1) if each % n == 0 and n < 2 * num_workers]
        raise ValueError(
            f"`data.num_workers` must divide the {each} shards of a process "
            f"(`data.stream_shards` by the number of processes), but it is {num_workers} "
            f"instead. Choose 0, {', '.join(fits)}."
        )


def check_streamable(source: Source) -> None:
    """Refuse a source that can be read only once.

    Raises:
        ValueError: in one line.
    """
    if not source.can_reread:
        raise ValueError(
            f"`{source.keys.source}` must be files or a data set to be streamed, but "
            f"{quote(source.name)} can be read only once. Save it to a file, or leave out "
            f"`data.streaming`."
        )


def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one state of all ranks' `rank_state`, for `load_state_dict`; the order is no matter."""
    shards: dict[int, ShardState] = {}
    for state in states:
        for number, told in state["shards"].items():
            found = ShardState.from_dict(told)
            if number not in shards or found.progress > shards[number].progress:
                shards[number] = found  # only the rank that has the shard gets on with it
    return {
        "order": states[0]["order"],
        "batches": states[0]["before"] + sum(state["taken"] for state in states),
        "shards": {number: state.to_dict() for number, state in shards.items()},
    }


def gather_states(state: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the `rank_state` of all processes; every process must call this with its own."""
    states: list[Any] = [state]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        states *= torch.distributed.get_world_size()
        torch.distributed.all_gather_object(states, state)
    return merge_states(states)


def summarize(state: Mapping[str, Any]) -> dict[str, Any]:
    """Say what was read, from what `merge_states` gave.

    Returns:
        The StreamCounts of all shards as plain data, and `passes`: how many were begun, at least
        in part.
    """
    shards = [ShardState.from_dict(told) for told in state["shards"].values()]
    total = reduce(add, (shard.counts for shard in shards), StreamCounts())
    return total.to_dict() | {"passes": 1 + max(shard.passes for shard in shards)}


class _RankBatches(IterableDataset[StreamBatch | Failure]):
    """One rank's batches, or a loader worker's share of them."""

    def __init__(self, stream: TokenStream, rank: int, world_size: int) -> None:
        self.stream, self.rank, self.world_size = stream, rank, world_size

    def __iter__(self) -> Iterator[StreamBatch | Failure]:
        worker = get_worker_info()
        share = slice(worker.id, None, worker.num_workers) if worker else slice(None)
        # A DataLoader takes from its workers in turn, so these turns are the rank's again.
        mine = self.stream.turns(self.rank, self.world_size)[share]
        states = self.stream.states
        batches = {number: self.stream.shards[number].batches(states[number]) for number in mine}
        try:
            for number in cycle(mine):
                batch, state = next(batches[number])
                yield StreamBatch(batch, number, state)
        except (ValueError, OSError) as error:
            yield Failure(error)


class StreamLoader(DataLoader[StreamBatch | Failure]):
    """A DataLoader that raises what went wrong with the text as what it is, also from a worker."""

    def __iter__(self) -> Iterator[StreamBatch]:  # type: ignore[override]
        items = super().__iter__()
        while True:
            try:
                item = next(items)
            except (ConnectionError, EOFError) as error:
                # Of a batch that was being fetched; else torch's RuntimeError says about the same.
                raise RuntimeError(
                    "a DataLoader worker was killed, or ran out of memory. Resume; if it was "
                    "memory, with fewer `data.num_workers` or a smaller `data.shuffle_buffer`."
                ) from error
            if isinstance(item, Failure):
                raise item.error
            yield item


def _cut(source: Source, shards: int) -> list[SourcePart]:
    """Cut a source for shards: to more parts than one each, where that costs nothing.

    Raises:
        ValueError: if it can be read only once.
    """
    check_streamable(source)
    parts = source.parts(shards * FINER)
    if any(part.stride > 1 for part in parts):  # each of which would read all of a file
        parts = source.parts(shards)
    return [
        replace(part, reader=replace(part.reader, block_bytes=BLOCK_BYTES))
        if isinstance(part.reader, Reader)
        else part
        for part in parts
    ]


def _digest(sources: Sequence[Source]) -> str:
    """A key of what is read and how, wherever files lie and whenever they were written."""
    text = [[source.record, _files(source)] for source in sources]
    told = [READER_VERSION, BLOCK_BYTES, text]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]


def _files(source: Source) -> list[list[Any]]:
    """Names and sizes of a source's files; the record of other sources says enough."""
    if not isinstance(source, FileSource):
        return []
    files = [reader.file for reader in source.readers]
    return [[os.path.basename(file.name), file.stamp and file.stamp[0]] for file in files]
