"""Documents of a file, one after the other, so that memory does not grow with their number.

A record without a document, or without a summary where one is read, is left out and counted, in
every format alike: it has nothing to summarize, or nothing to be compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from seqae.component import type_in_words
from seqae.data.sources.discovery import SourceFile, find_files
from seqae.data.sources.file_source import split_column
from seqae.data.sources.formats.compression import open_file
from seqae.data.sources.formats.content import check_content
from seqae.data.sources.formats.json_columns import look_up, names_of
from seqae.data.sources.formats.lines import BYTE_ORDER_MARK, newlines_only, read_chunks
from seqae.data.sources.formats.reader import HeadFirst
from seqae.data.sources.open import open_source
from seqae.data.sources.records import BLANK, TOO_LONG, Counts, ReadOptions
from seqae.summarizers import Document
from seqae.terminal import visible

CHUNK_BYTES = 1 << 16
MAX_BYTES = 1 << 27  # of a document: 128 MiB; a book of 200 pages is 0.6 MB
WITH_COLUMNS = ("csv", "tsv", "parquet", "arrow")


@dataclass(frozen=True)
class Reading:
    """How documents are read.

    Attributes:
        column: that has the document, in formats with columns.
        target_column: that has the summary, or a list of several; None reads none.
        split: whether the texts of a list are cut into sentences.
        language: whose rules cut texts.
    """

    column: str = "document"
    target_column: str | None = None
    split: bool = False
    language: str = "en"


class Record(NamedTuple):
    """A document to summarize.

    Attributes:
        file: that it is from, as the user named it.
        number: its line or row, from 1.
        document: its sentences.
        references: the sentences of each summary that people wrote of it.
    """

    file: str
    number: int
    document: Document
    references: list[tuple[str, ...]]


def check_documents(file: str, reading: Reading) -> None:
    """Refuse a file that does not exist or has no columns for summaries, before a model is loaded.

    Raises:
        ValueError, OSError: as `read_records`.
    """
    for one in find_files(split_column(file)[0], "file").files:
        if one.format == "text" and one.kind != "stdin":
            _check_plain(one, reading)


def read_records(file: str, reading: Reading, counts: Counts | None = None) -> Iterator[Record]:
    """Read documents.

    Args:
        file: JSON lines (a document is a text, or a list of sentences or reviews), CSV, TSV,
            Parquet or Arrow with the columns; of any other file, and of every file of a folder, the
            whole text is one document. Standard input, `-`, is JSON lines if it begins with `{`.
            `FILE#COLUMN` names the column of the document.
        reading: how.
        counts: where records are counted, also those that are left out.

    Raises:
        ValueError: if a record is not of that form, or text is not UTF-8.
        OSError: if a file cannot be read.
    """
    path, column = split_column(file)
    reading = reading if column is None else replace(reading, column=column)
    counts = Counts() if counts is None else counts
    for one in find_files(path, "file").files:
        if one.format in WITH_COLUMNS:
            yield from _rows(one, reading, counts)
            continue
        for record in _other_records(one, reading):
            counts.read += 1
            if record.document.sentences and (record.references or not reading.target_column):
                yield record
            else:
                counts.dropped[BLANK] += 1
    if not counts.kept:
        raise ValueError(
            f"`file` must have a document or more, but there is none in {visible(file)}: {counts}. "
            f"Name another file."
        )


def describe_left_out(counts: Counts) -> str | None:
    """Say how many records were left out and why, for people; None if none was."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.dropped.items()))
    return f"left out of {counts.read:,} records: {reasons}" if reasons else None


def _other_records(file: SourceFile, reading: Reading) -> Iterator[Record]:
    """Read JSON lines, or plain text."""
    with ExitStack() as stack:
        read = open_file(file, "file", ReadOptions().max_expansion, stack)
        opened = HeadFirst(read, CHUNK_BYTES)
        check_content(opened.head, file, "file")
        begin = opened.head.removeprefix(BYTE_ORDER_MARK).lstrip()
        if file.format == "jsonl" or (file.kind == "stdin" and begin.startswith(b"{")):
            yield from _json_lines(file, opened, reading)
            return
        _check_plain(file, reading)
        document = Document.read("file", [_whole(file, opened)], True, reading.language)
        yield Record(file.shown, 1, document, [])


def _check_plain(file: SourceFile, reading: Reading) -> None:
    """Refuse a plain text if summaries are to be read beside documents."""
    if reading.target_column is not None:
        raise ValueError(
            f"`file` must have summaries beside its documents, but {visible(file.shown)} is "
            f"plain text instead. Write JSON lines with {reading.column!r} and "
            f"{reading.target_column!r}."
        )


def _whole(file: SourceFile, opened: HeadFirst) -> str:
    data = bytearray()
    while chunk := opened(CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise _too_long(file, "that of line 1")
    try:
        return data.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        shown, line = visible(file.shown), error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"`file` must be UTF-8 text, but line {line:,} of {shown} has the invalid byte "
            f"0x{error.object[error.start]:02x} instead. Convert the file "
            f"(`iconv -f LATIN1 -t UTF-8`)."
        ) from None


def _too_long(file: SourceFile, which: str) -> ValueError:
    return ValueError(
        f"`file` must have documents of at most {MAX_BYTES >> 20} MiB, but {which} of "
        f"{visible(file.shown)} is longer. Cut it."
    )


def _json_lines(file: SourceFile, opened: HeadFirst, reading: Reading) -> Iterator[Record]:
    number = 0
    for data, _, _ in read_chunks(opened, CHUNK_BYTES, MAX_BYTES):
        if data is None:
            raise _too_long(file, f"that of line {number + 1:,}")
        for line in newlines_only(data).split(b"\n")[:-1]:
            number += 1
            if line.strip():
                yield _parse(line, file, number, reading)


def _parse(line: bytes, file: SourceFile, number: int, reading: Reading) -> Record:
    where = f"line {number:,} of {visible(file.shown)}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`file` must have one JSON object a line, but {where} is none ({error}). Correct it."
        ) from None
    if not isinstance(record, dict):
        raise ValueError(
            f"`file` must have one JSON object a line, but {where} is {type_in_words(record)} "
            f"instead. Write `{{{json.dumps(reading.column)}: ...}}`."
        )
    document = _texts(record, reading.column, where)
    references: list[str] = []
    if reading.target_column is not None:
        written = _texts(record, reading.target_column, where)
        references = [written] if isinstance(written, str) else written
    try:
        return _record(file, number, document, references, reading)
    except ValueError as error:  # of text that cannot be written as UTF-8
        raise ValueError(f"{error} It is in {where}.") from None


def _texts(record: dict[str, Any], column: str, where: str) -> Any:
    value = look_up(record, column)
    is_list = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    if not (isinstance(value, str) or is_list):
        found = "is not there" if value is None else f"is {str(value)[:40]!r}"
        columns = ", ".join(names_of(record)[:20])
        raise ValueError(
            f"`{column}` must be a text or a list of texts, but in {where} it {found}. Its columns "
            f"are {visible(columns)}: name one with `--column` or `--target_column`."
        )
    return value


def _rows(file: SourceFile, reading: Reading, counts: Counts) -> Iterator[Record]:
    options = ReadOptions(
        column=reading.column, target_column=reading.target_column, max_line_bytes=MAX_BYTES
    )
    (part,) = open_source(file.name, "file", options).parts()
    for block in part.blocks():
        if block.counts.dropped[TOO_LONG]:
            raise _too_long(file, "a row")
        counts.add(block.counts)
        targets = [None] * len(block.texts) if block.targets is None else block.targets
        for number, text, target in zip(block.numbers, block.texts, targets, strict=True):
            yield _record(file, number, text, [] if target is None else [target], reading)


def _record(
    file: SourceFile, number: int, document: Any, references: list[str], reading: Reading
) -> Record:
    """Cut a document, and its summaries without blank ones, into sentences."""
    read = Document.read(
        reading.column, document, reading.split or isinstance(document, str), reading.language
    )
    cut = [
        Document.read("summary", reference, language=reading.language).sentences
        for reference in references
    ]
    return Record(file.shown, number, read, [sentences for sentences in cut if sentences])
