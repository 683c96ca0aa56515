"""TokenStream: training batches without an end, from text that is tokenised while training.

For what does not fit a disk or has no end. The stream consists of S lanes (lanes.py), and batch g
of all is lane g mod S's next one. Ranks, and the loader workers of each, divide the lanes in turn,
so that the order of all batches is one and the same on any number of ranks and workers that
divides S, and every rank has a batch at every step without asking the others.

Loader workers, and Lightning itself, fetch ahead. So each batch brings the state of its lane after
it, and only what `consumed` was told of stands in the state that is saved.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import cycle
from operator import add
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqae.batch import Batch
from seqae.component import check_range
from seqae.data.preprocessing import Pipeline
from seqae.data.sources.base import READER_VERSION, Part, Source
from seqae.data.sources.discovery import quote
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.reader import Reader
from seqae.data.split import SPLITS
from seqae.data.streaming.shard import Lane, LaneState, StreamOptions, Tally
from seqae.data.workers import heed_parent_only

FINER = 4  # parts for each lane, where a file can be cut: their texts stand in one window
BLOCK_BYTES = 1 << 15  # small, so that a short file has blocks for all lanes; no slower
FETCHED_AHEAD = 8  # batches of each worker; bridges the reading of a window


@dataclass
class StreamBatch:
    """A batch, and what is to be remembered when it has been trained.

    Attributes:
        batch: the batch.
        lane: the lane that it is from.
        state: that lane's, after it.
    """

    batch: Batch
    lane: int
    state: LaneState

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
        check_range("data.stream_lanes", options.lanes, 1, 2**16)
        check_range("data.shuffle_buffer", options.shuffle_buffer, 1, 2**31)
        self.parts = [part for source in sources for part in _cut(source, options.lanes)]
        self.options, self._text = options, _digest(sources)
        told = asdict(pipeline.settings) | {"tokenizer": pipeline.tokenizer.fingerprint}
        told = {name: value for name, value in told.items() if name not in SPLITS}
        self._settings = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        self.lanes = [Lane(n, self.parts, pipeline, options) for n in range(options.lanes)]
        self.states = {number: LaneState() for number in range(options.lanes)}
        self._before = 0  # batches of all ranks when this process began
        self._taken = 0  # batches that this rank has consumed since
        self._last: tuple[int, LaneState] | None = None  # a lane, and its state a batch ago

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
            world_size: how many there are; it divides the number of lanes.
            num_workers: loader workers of each; divides a rank's lanes, or is 0.
            pin_memory: as of DataLoader.

        Raises:
            ValueError: if the lanes cannot be divided so.
        """
        check_division(self.options.lanes, world_size, num_workers)
        return StreamLoader(
            _RankBatches(self, rank, world_size),
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=heed_parent_only,
            pin_memory=pin_memory,
            prefetch_factor=FETCHED_AHEAD if num_workers else None,
            # Its own, so that starting draws nothing from the generator of dropout.
            generator=torch.Generator(),
        )

    def consumed(self, item: StreamBatch) -> Batch:
        """Remember that a batch is being trained, the next in order; give the batch."""
        self._last = (item.lane, self.states[item.lane])
        self.states[item.lane] = item.state
        self._taken += 1
        return item.batch

    def turns(self, rank: int, world_size: int) -> list[int]:
        """A rank's lanes, in the order in which it takes their next batches, again and again."""
        first, lanes = self._before + self._taken * world_size + rank, self.options.lanes
        return [(first + step) % lanes for step in range(0, lanes, world_size)]

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
            "lanes": {number: state.to_dict() for number, state in states.items()},
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
            int(number): LaneState.from_dict(told) for number, told in state["lanes"].items()
        }
        self._before, self._taken, self._last = state["batches"], 0, None

    def _order(self) -> dict[str, Any]:
        """What decides the order, by configuration key."""
        options = self.options
        return {
            "data.batch_tokens": options.batch_tokens,
            "data.seed": options.seed,
            "data.stream_lanes": options.lanes,
            "data.shuffle_buffer": options.shuffle_buffer,
            "data.round_length": options.rounding.length,
            "data.round_rows": options.rounding.rows,
            "data": f"settings of reading, cleaning, split and length with key {self._settings}",
            "data.train": f"the text of {len(self.parts)} parts with key {self._text}",
        }


def check_division(lanes: int, world_size: int, num_workers: int) -> None:
    """Refuse lanes that cannot be divided over processes and loader workers.

    Raises:
        ValueError: with what fits.
    """
    if lanes % world_size:
        raise ValueError(
            f"`data.stream_lanes` must be a multiple of the number of processes, but it is "
            f"{lanes} and there are {world_size} processes instead. Set it to "
            f"{-(-lanes // world_size) * world_size}."
        )
    each = lanes // world_size
    if num_workers and each % num_workers:
        fits = [str(n) for n in range(1, each + 1) if each % n == 0 and n < 2 * num_workers]
        raise ValueError(
            f"`data.num_workers` must divide the {each} lanes of a process "
            f"(`data.stream_lanes` by the number of processes), but it is {num_workers} "
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
    lanes: dict[int, LaneState] = {}
    for state in states:
        for number, told in state["lanes"].items():
            found = LaneState.from_dict(told)
            if number not in lanes or found.progress > lanes[number].progress:
                lanes[number] = found  # only the rank that has the lane gets on with it
    return {
        "order": states[0]["order"],
        "batches": states[0]["before"] + sum(state["taken"] for state in states),
        "lanes": {number: state.to_dict() for number, state in lanes.items()},
    }


def summarize(state: Mapping[str, Any]) -> dict[str, Any]:
    """Say what was read, from what `merge_states` gave.

    Returns:
        The Tally of all lanes as plain data, and `passes`: how many were begun, at least in part.
    """
    lanes = [LaneState.from_dict(told) for told in state["lanes"].values()]
    total = reduce(add, (lane.tally for lane in lanes), Tally())
    return total.to_dict() | {"passes": 1 + max(lane.passes for lane in lanes)}


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
        batches = {number: self.stream.lanes[number].batches(states[number]) for number in mine}
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


def _cut(source: Source, lanes: int) -> list[Part]:
    """Cut a source for lanes: to more parts than one each, where that costs nothing.

    Raises:
        ValueError: if it can be read only once.
    """
    check_streamable(source)
    parts = source.parts(lanes * FINER)
    if any(part.turns > 1 for part in parts):  # each of which would read all of a file
        parts = source.parts(lanes)
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
