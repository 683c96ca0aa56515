"""JsonLinesReader: each line is an object, one field of which is the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar, Literal, final

from typing_extensions import override

from seqae.data.sources.formats.json_columns import ColumnCheck, has_column, look_up
from seqae.data.sources.formats.json_list import Element, InBrackets, cut_list
from seqae.data.sources.formats.lines import BYTE_ORDER_MARK
from seqae.data.sources.formats.reader import LineReader, Reader
from seqae.data.sources.records import (
    BLANK,
    MALFORMED,
    NO_TEXT,
    NOT_UTF8,
    TOO_LONG,
    Block,
    Counts,
    Position,
    ReadOptions,
)
from seqae.data.sources.walking import quote

LOOKED_AT_BYTES = 1 << 16  # of a .json file in a folder, to see whether it is data

SURROGATE = re.compile("[\ud800-\udfff]")
KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


class JsonReader(Reader):
    r"""Reads the text of JSON objects; it is the value of one of their keys.

    An object without the key, or with null there, is dropped as "no text". An escape such as
    `\ud800`, half of a character, is treated like a byte that is not UTF-8.
    """

    wanted: ClassVar[str] = "one JSON object a line"  # what the file must hold, for messages

    @property
    def takes_texts(self) -> bool:
        """Whether a record may be a text without an object."""
        return False

    def texts_of(
        self, raw: str, number: int, counts: Counts, check: ColumnCheck | None
    ) -> list[str] | None:
        """Return the text and, for paired text, the target in the JSON of one record.

        Args:
            raw: the JSON.
            number: line or element of the record.
            counts: where to count it if it is dropped.
            check: looks for the columns; None looks no more.

        Returns:
            None if the record is dropped.

        Raises:
            ValueError: if the record cannot be read and `errors` is strict.
        """
        record = self._load(raw, number, counts)
        if record is None:
            return None
        if isinstance(record, dict):
            if check:
                check.add(record)
            texts = self._values(record, number, counts)
        else:
            texts = [record]
        if texts and not all(map(str.isascii, texts)) and SURROGATE.search("".join(texts)):
            return self._repair(texts, number, counts)
        return texts

    def _load(self, line: str, number: int, counts: Counts) -> dict[str, Any] | str | None:
        try:
            record = json.loads(line)
        except RecursionError:
            fault = "one that is nested too deeply"
        except json.JSONDecodeError as error:
            what = error.msg.removesuffix(" at")  # of "Invalid control character at"
            fault = f"no JSON ({what} at character {error.pos + 1:,})"
        except ValueError:  # Python's
            fault = "a number of too many digits"
        else:
            if isinstance(record, dict) or (isinstance(record, str) and self.takes_texts):
                return record
            fault = _kind(record)
        self.drop(MALFORMED, number, f"{self.wanted}, but there is {fault}", counts)
        return None

    def _values(self, record: dict[str, Any], number: int, counts: Counts) -> list[str] | None:
        """Return the columns of an object; None if it is dropped."""
        texts = []
        for column in self.columns:
            value = look_up(record, column)
            if value is None:
                counts.dropped[NO_TEXT] += 1
                return None
            if not isinstance(value, str):
                fault = f"text in {quote(column)}, but there is {_kind(value)}"
                self.drop(MALFORMED, number, fault, counts)
                return None
            texts.append(value)
        return texts

    def _repair(self, texts: list[str], number: int, counts: Counts) -> list[str] | None:
        """Treat halves of characters like bytes that are not UTF-8."""
        if self.options.errors != "replace":
            fault = r"whole characters, but there is half of a pair such as \ud83d\ude00"
            self.drop(NOT_UTF8, number, fault, counts)
            return None
        counts.repaired += 1
        return [SURROGATE.sub("\ufffd", text) for text in texts]


@final
class JsonLinesReader(JsonReader, LineReader):
    """Reads one JSON object a line; or one list of them, or one object over several lines."""

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        if start is not None and "element" in start:
            yield from self._list_reader.blocks(start)
            return
        if start is not None or (self.span and self.span[0]):
            for block in self.line_blocks(start):
                yield self._parse(block, None)
            return
        with ExitStack() as stack:
            read = self.open_text(stack)
            if layout_of(read.head) != "lines":
                is_list = layout_of(read.head) == "list"
                yield from self._list_reader.elements(read if is_list else InBrackets(read))
                return
            check = ColumnCheck(self.columns, self.refuse_column)
            for block in self.line_blocks(None, read):
                yield self._parse(block, check)
            check.finish()

    @override
    def spans(self, wanted: int) -> list[tuple[int, int]]:
        spans = super().spans(wanted)
        if len(spans) < 2:  # it is small, or its bytes cannot be reached
            return spans
        with ExitStack() as stack:
            return spans if layout_of(self.open_text(stack).head) == "lines" else []

    @property
    def _list_reader(self) -> JsonListReader:
        return JsonListReader(**vars(self))

    def _parse(self, block: Block, check: ColumnCheck | None) -> Block:
        """Replace the lines of a block by the texts in them."""
        columns: list[list[str]] = [[] for _ in self.columns]
        numbers: list[int] = []
        for line, number in zip(block.texts, block.numbers, strict=True):
            if not line or line.isspace():
                block.counts.dropped[BLANK] += 1
                continue
            texts = self.texts_of(line, number, block.counts, check)
            if texts is not None:
                numbers.append(number)
                for column, text in zip(columns, texts, strict=True):
                    column.append(text)
        return block.with_columns(columns, numbers).stripped()


@final
class JsonListReader(JsonReader):
    """Reads the elements of one JSON list: objects, or the texts themselves.

    Elements are cut apart and parsed one by one, so memory does not grow with the file.
    """

    unit = "element"
    wanted = "a list of JSON objects or texts"

    @override
    @property
    def takes_texts(self) -> bool:
        return self.columns == [ReadOptions.column]  # no other one was asked for

    @override
    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        if start is not None and start["done"]:
            return
        with ExitStack() as stack:
            yield from self.elements(self.open_text(stack, start["offset"] if start else 0), start)

    def elements(
        self, read: Callable[[int], bytes], start: Position | None = None
    ) -> Iterator[Block]:
        """Read the list, or continue after the block whose `end` is `start`.

        Args:
            read: opened, at the offset of `start`.
            start: as in `blocks`.

        Raises:
            ValueError, OSError: as `blocks`.
        """
        check = None if start else ColumnCheck(self.columns, self.refuse_column)
        number, offset = (start["element"], start["offset"]) if start else (0, 0)
        columns: list[list[str]] = [[] for _ in self.columns]
        numbers: list[int] = []
        counts = Counts()
        for element in cut_list(read, self.block_bytes, self.options.max_line_bytes, offset):
            number += 1
            texts = self._parse(element, number, counts, check)
            if texts is not None:
                numbers.append(number)
                for column, text in zip(columns, texts, strict=True):
                    column.append(text)
            if element.end - offset >= self.block_bytes or element.is_last:
                position = {"element": number, "offset": element.end, "done": element.is_last}
                block = Block(self.shown, [], [], counts, position, weight=element.end - offset)
                yield block.with_columns(columns, numbers).stripped()
                columns, numbers, counts = [[] for _ in self.columns], [], Counts()
                offset = element.end
        if check:
            check.finish()

    def _parse(
        self, element: Element, number: int, counts: Counts, check: ColumnCheck | None
    ) -> list[str] | None:
        """Return the columns of an element; None if it is dropped."""
        counts.read += 1
        if element.fault:
            self.drop(MALFORMED, number, element.fault, counts)
        elif element.raw is None:
            counts.dropped[TOO_LONG] += 1
        elif (text := self.decode(element.raw, number, counts)) is not None:
            return self.texts_of(text, number, counts, check)
        return None


def layout_of(head: bytes) -> Literal["lines", "list", "object"]:
    """Tell by its first bytes how a JSON file is written.

    Returns:
        `list` if it begins with one, `object` if one object goes over several lines.
    """
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"["):
        return "list"
    first, _, rest = text.partition(b"\n")
    # The next line of an object is a key; in a file of lines it is another object.
    if first.startswith(b"{") and rest.lstrip().startswith((b'"', b"}")) and not _is_json(first):
        return "object"
    return "lines"


def holds_records(reader: Reader) -> bool:
    """Tell whether a .json file is data: a list, several objects, or one with the column.

    Beside data, a .json file is most often what some tool says of the data: one object.

    Args:
        reader: of the file. Of a file that cannot be read, reading will say so.
    """
    try:
        with ExitStack() as stack:
            head = replace(reader, block_bytes=LOOKED_AT_BYTES).open_text(stack).head
    except (ValueError, OSError):
        return True
    text = head.removeprefix(BYTE_ORDER_MARK).strip()
    layout = layout_of(head)
    if layout == "list" or (layout == "lines" and (b"\n" in text or len(head) == LOOKED_AT_BYTES)):
        return True
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and has_column(record, reader.columns[0])


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else KINDS.get(type(value), "null")
