"""Text: a line is a record. Split and decoded a block at a time, which is what makes it fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from seqae.data.sources.reader import LineReader
from seqae.data.sources.records import Block, Position


@final
class TextReader(LineReader):
    """One record a line; see lines.py for where a line ends.

    White space around a line (what `str.strip` takes for it, so U+3000 too) is no text; NUL and
    everything else is. A line of nothing but white space is blank.
    """

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        for block in self.line_blocks(start):
            yield block.stripped()
