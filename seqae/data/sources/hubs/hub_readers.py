"""Readers of one commit of a data set of the hub, as a stream or from the cache."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from typing_extensions import override

from seqae.data.sources.formats.nested import column_of, root_of
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.hubs.hub_requests import first_line
from seqae.data.sources.records import NO_TEXT, TOO_LONG, Block, Counts, Position
from seqae.extras import extra

with extra("data"):
    import pyarrow as pa
    import pyarrow.compute as pc

BLOCK_ROWS = 2048
# Long documents come in smaller blocks, so that a few blocks fit into memory at the same time.
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class HubLocation:
    """Some columns of one split of one configuration at one commit.

    Attributes:
        columns: of text, maybe inside of others.
        roots: the columns of the data set that these are, or are in.
    """

    dataset: str
    revision: str
    config: str
    split: str
    columns: tuple[str, ...]
    roots: tuple[str, ...]


@dataclass(frozen=True)
class HubReader(ABC):
    """Reads a data set; plain data, so that workers can have a copy and open it themselves.

    Attributes:
        name: of the data set, as the user wrote it.
        location: what the name means.
        keys: for error messages.
        max_bytes: longer texts are dropped.
        span: shards or rows to read, (begin, stop).
    """

    name: str
    location: HubLocation
    keys: Keys
    max_bytes: int
    span: tuple[int, int]

    @property
    @abstractmethod
    def way_out(self) -> str:
        """What the user can do when reading fails."""

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the span, or continue after the block whose `end` is `start`.

        Raises:
            OSError: if the hub, the network or the cache fails.
        """
        blocks, row = self.read(start), start["row"] if start else 0
        while True:
            try:
                block = next(blocks)
            except StopIteration:
                return
            except Exception as error:  # of httpx, fsspec, Arrow, pandas, datasets
                raise OSError(
                    f"`{self.keys.source}` must be readable to its end, but reading {self.name} "
                    f"failed after row {row:,} instead ({first_line(error)}). {self.way_out}"
                ) from error
            row = block.end["row"]
            yield block

    @abstractmethod
    def read(self, start: Position | None) -> Iterator[Block]:
        """Read as `blocks`, but raise anything."""

    def cut(
        self, tables: Iterator[pa.Table], shown: str, row: int, done: int, at: Position
    ) -> Iterator[Block]:
        """Make a block of each table, or several if its texts are large.

        Where a table is cut must not depend on where reading began, because parts that share the
        blocks count them.

        Args:
            tables: of BLOCK_ROWS each, except for the last.
            shown: name of their origin, for messages.
            row: rows before the first table.
            done: rows whose blocks were read earlier.
            at: the position of a block, without its row.
        """
        for table in tables:
            step = max(1, table.num_rows * BLOCK_BYTES // max(table.nbytes, BLOCK_BYTES))
            for offset in range(0, table.num_rows, step):
                piece = table.slice(offset, step)
                first, row = row + 1, row + piece.num_rows
                if row > done:
                    yield self._to_block(piece, shown, first, {**at, "row": row})

    def _to_block(self, table: pa.Table, shown: str, first: int, end: Position) -> Block:
        """Make a block of rows; `first` is the number of the first row."""
        columns = [_as_text(table, name) for name in self.location.columns]
        is_present = np.ones(table.num_rows, dtype=bool)
        is_short = np.ones(table.num_rows, dtype=bool)
        for column in columns:
            is_present &= pc.is_valid(column).to_numpy()
            lengths = pc.fill_null(pc.binary_length(column), 0)
            is_short &= pc.less_equal(lengths, self.max_bytes).to_numpy()
        keep = is_present & is_short
        counts = Counts(table.num_rows)
        numbers: Sequence[int] = range(first, first + table.num_rows)
        if not keep.all():
            counts.dropped[NO_TEXT] = int((~is_present).sum())
            counts.dropped[TOO_LONG] = int((is_present & ~is_short).sum())
            numbers = (first + np.flatnonzero(keep)).tolist()
        texts, *targets = (column.filter(pa.array(keep)).to_pylist() for column in columns)
        weight = sum(column.nbytes for column in columns)
        target = targets[0] if targets else None
        return Block(shown, texts, numbers, counts, end, target, weight).stripped()


@final
@dataclass(frozen=True)
class StreamReader(HubReader):
    """Reads over the network; the span counts shards, which are the files of the data set.

    Attributes:
        shards: number of shards of the whole split.
    """

    shards: int

    @override
    @property
    def way_out(self) -> str:
        return f"Run the same command again, or set {self.keys.setting('hub', 'download')}."

    @override
    def read(self, start: Position | None) -> Iterator[Block]:
        begin, stop = self.span
        done = 0
        if start is not None:
            begin, done = start["shard"], start["row"]
        stream = open_stream(self.location)
        for shard in range(begin, stop):
            before = done - done % BLOCK_ROWS
            rows = stream.shard(self.shards, shard, contiguous=True).skip(before)
            tables = rows.with_format("arrow").iter(BLOCK_ROWS)
            many = f", shard {shard + 1} of {self.shards}" if self.shards > 1 else ""
            yield from self.cut(tables, f"{self.name}{many}", before, done, {"shard": shard})
            done = 0


@final
@dataclass(frozen=True)
class CachedReader(HubReader):
    """Reads memory-mapped Arrow files in the cache; the span counts rows.

    Attributes:
        paths: the files.
    """

    paths: tuple[str, ...]

    @override
    @property
    def way_out(self) -> str:
        return "Run the same command again; what is missing in the cache is fetched."

    @override
    def read(self, start: Position | None) -> Iterator[Block]:
        begin, stop = self.span
        done = begin if start is None else start["row"]
        before = done - (done - begin) % BLOCK_ROWS
        rows = open_cached(self.paths, self.location.roots).with_format("arrow")
        firsts = range(before, stop, BLOCK_ROWS)
        tables = (rows[first : min(first + BLOCK_ROWS, stop)] for first in firsts)
        yield from self.cut(tables, self.name, before, done, {})


def open_cached(paths: Sequence[str], columns: Sequence[str]) -> Any:
    """Open Arrow files of the cache as one Dataset of these columns."""
    datasets = import_datasets()
    files = [datasets.Dataset.from_file(path) for path in paths]
    return datasets.concatenate_datasets(files).select_columns(list(columns))


def _as_text(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as text.

    If its type was guessed from rows of JSON or CSV, some tables lack it or have no text in it.
    """
    if root_of(name, table.column_names) not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    column = column_of(table, name)
    return column if is_text(column.type) else column.cast(pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def open_stream(location: HubLocation) -> Any:
    """Open an IterableDataset of a location."""
    builder = open_builder(location.dataset, location.revision, location.config)
    narrow(builder, location.roots)
    return builder.as_streaming_dataset(location.split)


def open_builder(dataset: str, revision: str, config: str | None) -> Any:
    """Open the DatasetBuilder of a commit.

    Raises:
        OSError: if `datasets` could not reach the hub and took another revision from its cache.
    """
    datasets = import_datasets()
    # With this prefix it is not looked for on this machine, where a folder could have its name.
    builder = datasets.load_dataset_builder(f"hf://datasets/{dataset}", config, revision=revision)
    if builder.hash != revision:
        raise OSError(f"revision {revision} cannot be reached")
    return builder


def narrow(builder: Any, columns: tuple[str, ...]) -> None:
    """Fetch no other columns, if the files are stored by columns."""
    with extra("data"):
        from datasets.packaged_modules.parquet.parquet import ParquetConfig

    if isinstance(builder.config, ParquetConfig):
        builder.config.columns = list(columns)


def import_datasets() -> Any:
    """Import `datasets`, which takes a second, and silence it and the client of the hub."""
    with extra("data"):
        import datasets
        from huggingface_hub.utils import logging as hub_logging
        from huggingface_hub.utils.tqdm import disable_progress_bars

    datasets.disable_progress_bars()
    disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)
    return datasets
