"""Source: something to read, in parts that can be read independently."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from seqae.data.sources.discovery import STANDARD_INPUT
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.records import Block, BlockReader, Counts, Position, ReadOptions
from seqae.data.sources.walking import quote

READER_VERSION = 3  # part of every fingerprint; raise it when the rules of a record change


@dataclass(frozen=True)
class SourcePart:
    """A part of a source: all blocks of a reader, or every n-th if n parts share the reader.

    Attributes:
        reader: reads the blocks.
        stride: how many parts share the reader.
        offset: index of this part's first block.
    """

    reader: BlockReader
    stride: int = 1
    offset: int = 0

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the part, or continue after the block whose `end` is `start`.

        Raises:
            ValueError, OSError: as Reader.blocks.
        """
        if self.stride == 1:
            yield from self.reader.blocks(start)
            return
        count = start["block"] if start else 0
        for index, block in enumerate(self.reader.blocks(start and start["at"]), start=count):
            if index % self.stride == self.offset:
                yield replace(block, end={"at": block.end, "block": index + 1})


class Source(ABC):
    """Something to read, named by the user; opened by `open_source`.

    Args:
        name: as the user wrote it.
        options: say how to read it.
        keys: for error messages.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        options.check(keys.section)
        self.name, self.options, self.keys = name, options, keys

    @property
    @abstractmethod
    def can_reread(self) -> bool:
        """Whether a second pass is possible; for standard input and pipes it is not."""

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """Key for a cache of what this source gives; None if it can be read only once."""

    def hash_of(self, *content: Any) -> str:
        """Hash what decides the text for a fingerprint, beside the options: plain data."""
        text = json.dumps([READER_VERSION, vars(self.options), *content])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Plain data for the record of a run, such as the revision of a data set."""

    @property
    def left_out(self) -> dict[str, dict[str, Any]]:
        """Files of a folder that are not read: by ending, how many, and the first names."""
        return {}

    @property
    def is_delimited(self) -> bool:
        """Whether any of it is CSV or TSV, which have a delimiter and quotes."""
        return False

    @property
    def size(self) -> int | None:
        """Total of the `weight` of all blocks, in bytes; None if it is unknown."""
        return None

    @abstractmethod
    def parts(self, wanted: int = 1) -> list[SourcePart]:
        """Cut the source into parts; together they give each record once.

        Args:
            wanted: parts to read at the same time. There are at least as many, unless the source
                can be read only once; a part may be empty. For 1, the parts are its files, in the
                order of reading.
        """

    def blocks(self) -> Iterator[Block]:
        """Read all of it, in order.

        Raises:
            ValueError: if a record cannot be read and `errors` is strict, or no record is kept.
            OSError: if a file has gone or cannot be read.
        """
        counts = Counts()
        for part in self.parts():
            for block in part.blocks():
                counts.add(block.counts)
                yield block
        self.check_usable(counts)

    def texts(self) -> Iterator[str]:
        """Read the texts of all kept records, in order; raises as `blocks`."""
        for block in self.blocks():
            yield from block.texts

    def check_usable(self, counts: Counts) -> None:
        """Refuse a source of which nothing was kept.

        Raises:
            ValueError: if so; it says why records were dropped.
        """
        if not counts.kept:
            shown = STANDARD_INPUT if self.name == "-" else quote(self.name)
            raise ValueError(
                f"`{self.keys.source}` must hold text, but there are no usable sentences in "
                f"{shown}: {counts}. Give at least one record that is not blank and not too long."
            )
