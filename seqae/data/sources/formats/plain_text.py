"""TextReader: a line is a record. It is fast because it splits and decodes a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from seqae.data.sources.formats.reader import LineReader
from seqae.data.sources.records import Block, Position


@final
class TextReader(LineReader):
    """Reads one record a line; lines.py says where a line ends.

    White space around a line (as `str.strip` understands it, so also U+3000) is no text; NUL and
    everything else is. A line of white space alone is blank.
    """

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        for block in self.line_blocks(start):
            yield block.stripped()
