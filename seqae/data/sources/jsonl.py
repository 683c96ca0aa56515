"""JsonLinesReader: each line is an object, one field of which is the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, final

from typing_extensions import override

from seqae.data.sources.discovery import quote
from seqae.data.sources.reader import LineReader
from seqae.data.sources.records import BLANK, MALFORMED, NO_TEXT, NOT_UTF8, Block, Counts, Position

# A column that none of the first objects has is a mistake, not a gap.
FIRST_OBJECTS = 1000

SURROGATE = re.compile("[\ud800-\udfff]")
KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


@final
class JsonLinesReader(LineReader):
    r"""Reads one JSON object a line; the text is the value of one of its keys.

    An object without the key, or with null there, is dropped as "no text". An escape such as
    `\ud800`, half of a character, is treated like a byte that is not UTF-8.
    """

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        is_at_beginning = start is None and not (self.span and self.span[0])
        check = ColumnCheck(self) if is_at_beginning else None
        for block in self.line_blocks(start):
            yield self._parse(block, check).stripped()
        if check:
            check.finish()

    def _parse(self, block: Block, check: ColumnCheck | None) -> Block:
        """Replace the lines of a block by the texts in them."""
        columns: list[list[str]] = [[] for _ in self.columns]
        numbers: list[int] = []
        for line, number in zip(block.texts, block.numbers, strict=True):
            if not line or line.isspace():
                block.counts.dropped[BLANK] += 1
                continue
            record = self._load(line, number, block.counts)
            if record is None:
                continue
            if check:
                check.add(record)
            texts = self._texts(record, number, block.counts)
            if texts is not None:
                numbers.append(number)
                for column, text in zip(columns, texts, strict=True):
                    column.append(text)
        return block.with_columns(columns, numbers)

    def _load(self, line: str, number: int, counts: Counts) -> dict[str, Any] | None:
        if number == 1 and line.lstrip().startswith("[") and self.shown == self.file.shown:
            raise ValueError(
                f"`{self.keys.source}` must hold one JSON object a line, but "
                f"{quote(self.file.shown)} begins with a list instead. Convert it "
                f"(`jq -c '.[]' FILE > FILE.jsonl`)."
            )
        try:
            record = json.loads(line)
        except RecursionError:
            fault = "one that is nested too deeply"
        except json.JSONDecodeError as error:
            fault = f"no JSON ({error.msg} at character {error.pos + 1:,})"
        except ValueError:  # Python's
            fault = "a number of too many digits"
        else:
            if isinstance(record, dict):
                return record
            fault = _kind(record)
        self.drop(MALFORMED, number, f"one JSON object a line, but there is {fault}", counts)
        return None

    def _texts(self, record: dict[str, Any], number: int, counts: Counts) -> list[str] | None:
        """Return the text and, for paired text, the target; None if the record is dropped."""
        texts = []
        for column in self.columns:
            value = record.get(column)
            if value is None:
                counts.dropped[NO_TEXT] += 1
                return None
            if not isinstance(value, str):
                fault = f"text in {quote(column)}, but there is {_kind(value)}"
                self.drop(MALFORMED, number, fault, counts)
                return None
            texts.append(value)
        if not all(map(str.isascii, texts)) and SURROGATE.search("".join(texts)):
            return self._repair(texts, number, counts)
        return texts

    def _repair(self, texts: list[str], number: int, counts: Counts) -> list[str] | None:
        """Treat halves of characters like bytes that are not UTF-8."""
        if self.options.errors != "replace":
            fault = r"whole characters, but there is half of a pair such as \ud83d\ude00"
            self.drop(NOT_UTF8, number, fault, counts)
            return None
        counts.repaired += 1
        return [SURROGATE.sub("\ufffd", text) for text in texts]


class ColumnCheck:
    """Finds out that no object has a column, whose name may be misspelt.

    Args:
        reader: of the objects.
    """

    def __init__(self, reader: JsonLinesReader) -> None:
        self.reader = reader
        self.missing = list(reader.columns)
        self.objects = 0
        self.first: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        """Look at the next object.

        Raises:
            ValueError: if it is the last of the first objects, and none of them has a column.
        """
        if not self.missing:
            return
        self.objects += 1
        self.first = self.first or list(record)
        self.missing = [column for column in self.missing if column not in record]
        if self.objects == FIRST_OBJECTS:
            self.finish()
            self.missing = []

    def finish(self) -> None:
        """Check the columns after the last object.

        Raises:
            ValueError: if no object has one of them.
        """
        if self.missing and self.objects:
            raise self.reader.refuse_column(self.missing[0], self.first)


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else KINDS.get(type(value), "null")
