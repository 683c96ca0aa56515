"""JSON lines, CSV, TSV, Parquet and Arrow: columns by name, records counted, bad ones named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqae.data.sources.base import Source
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.formats import arrow, json_columns, reader
from seqae.data.sources.formats import compression as opening
from seqae.data.sources.open import open_source
from seqae.data.sources.records import BLANK, MALFORMED, NO_TEXT, NOT_UTF8, TOO_LONG, ReadOptions

COLUMNS = ("jsonl", "list", "csv", "tsv", "parquet", "arrow", "stream")
FORMATS = {"list": "jsonl", "stream": "arrow"}  # where the kind has not the name of its format


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(data: bytes | str, name: str) -> str:
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def open_one(name: str, **options: Any) -> Source:
    return open_source(name, "data.train", ReadOptions(**options), "data.reading.")


def read(source: str | Source, **options: Any) -> tuple[list[tuple[int, str]], Counter[str]]:
    """The kept records with their numbers; how many were read, and dropped for which reason."""
    source = open_one(source, **options) if isinstance(source, str) else source
    kept, counted = [], Counter()
    for part in source.parts():
        for block in part.blocks():
            kept += zip(block.numbers, block.texts, strict=True)
            counted += Counter(block.counts.dropped)
            counted["read"] += block.counts.read
    assert len(kept) == 2 * counted["read"] - counted.total()
    return kept, counted


def refusal(source: str, start: str = "`data.train` must ", **options: Any) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        list(open_one(source, **options).texts())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(start)
    return message


def write_rows(rows: list[dict[str, str]], kind: str) -> str:
    """Write a table in any of the formats."""
    stream = io.StringIO(newline="")
    table = pa.Table.from_pylist(rows)
    path = {"stream": "stream.arrow", "list": "rows.json"}.get(kind, f"rows.{kind}")
    if kind == "list":
        json.dump(rows, stream, indent=1)
    elif kind == "jsonl":
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    elif kind in ("csv", "tsv"):
        writer = csv.DictWriter(stream, rows[0], delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(table, path, row_group_size=700)
        return path
    else:
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with make(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
        return path
    return write(stream.getvalue(), path)


ROWS = [
    {"text": f"sentence {n}, the {n}th", "summary": f"{n}", "id": f"{n}"} for n in range(1, 3001)
]


# --- all formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_by_name(kind):
    name = write_rows(ROWS, kind)
    source = open_one(name, target_column="summary")
    blocks = list(source.blocks())
    pairs = [pair for b in blocks for pair in zip(b.texts, b.targets, strict=True)]
    assert pairs == [(row["text"], row["summary"]) for row in ROWS]
    first = 2 if kind in ("csv", "tsv") else 1
    assert [n for b in blocks for n in b.numbers] == list(range(first, first + len(ROWS)))
    assert sum(block.weight for block in blocks) <= source.size
    assert sum(block.weight for block in blocks) > 0.9 * source.size
    assert list(open_one(f"{name}#id").texts()) == [row["id"] for row in ROWS]


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_that_is_not_there(kind):
    name = write_rows(ROWS, kind)
    message = refusal(name, "`data.reading.column` must ", column="body")
    assert message == (
        f"`data.reading.column` must be a column of '{name}', which has 'text', 'summary', 'id', "
        f"but it is 'body' instead. Choose one of these, or write '{name}#COLUMN'."
    )
    refusal(f"{name}#body", "`data.reading.column` must ")
    refusal(name, "`data.reading.target_column` must ", target_column="abstract")


@pytest.mark.parametrize("kind", COLUMNS)
def test_parts_give_each_record_once_and_go_on_anywhere(kind, monkeypatch):
    monkeypatch.setattr("seqae.data.sources.formats.reader.MIN_SPAN_BYTES", 1000)
    source = open_one(write_rows(ROWS, kind))
    assert isinstance(source, FileSource)
    size = 60_000 if kind == "list" else 10_000  # all of it is read for each part
    source.readers = [replace(one, block_bytes=size) for one in source.readers]
    for wanted in (1, 2, 3, 7):
        parts = pickle.loads(pickle.dumps(source.parts(wanted)))
        assert len(parts) >= wanted
        texts = []
        for part in parts:
            blocks = list(part.blocks())
            texts += [text for block in blocks for text in block.texts]
            for index, block in enumerate(blocks):
                rest = part.blocks(json.loads(json.dumps(block.end)))
                assert list(rest) == blocks[index + 1 :]
        assert sorted(texts) == sorted(row["text"] for row in ROWS)


@pytest.mark.parametrize("kind", COLUMNS)
def test_packed_or_through_a_pipe(kind, monkeypatch):
    texts = [row["text"] for row in ROWS]
    name = write_rows(ROWS, kind)
    data = Path(name).read_bytes()
    assert list(open_one(write(gzip.compress(data), name + ".gz")).texts()) == texts
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(open_one("-", format=FORMATS.get(kind, kind)).texts()) == texts
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(data,))
    writer.start()
    assert list(open_one("pipe", format=FORMATS.get(kind, kind)).texts()) == texts
    writer.join()


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_file_that_changes_is_named(kind):
    source = open_one(write_rows(ROWS, kind))
    blocks = source.blocks()
    if kind in ("parquet", "arrow", "stream"):
        next(blocks)  # it is open
    with open(source.readers[0].file.name, "ab") as file:
        file.write(b"\n")
    with pytest.raises(ValueError, match="must not change while it is in use, but"):
        list(blocks)


@pytest.mark.parametrize("kind", ["jsonl", "list", "csv", "parquet", "arrow", "stream"])
def test_a_file_that_is_cut_off_is_not_taken_for_a_whole_one(kind):
    name = write_rows(ROWS, kind)
    write(Path(name).read_bytes()[:-20], name)
    if kind == "list":
        message = refusal(name)
        assert (
            "must hold a list with an end, but it is cut off instead, at element 3,000" in message
        )
        assert read(name, errors="skip")[1] == {"read": 3000, MALFORMED: 1}
    elif kind in ("jsonl", "csv"):
        data = Path(name).read_bytes()
        write(data[: -len(data.splitlines()[-1]) // 2] + b'"', name)
        assert "instead, at line" in refusal(name, column="id" if kind == "csv" else "text")
    else:
        assert "is damaged or cut off: " in refusal(name)


@pytest.mark.parametrize("kind", COLUMNS)
def test_an_empty_file(kind):
    name = write(b"", f"a.{FORMATS.get(kind, kind)}")
    message = refusal(name)
    assert ("0 of 0 kept" in message) or ("is damaged or cut off" in message)


# --- JSON lines --------------------------------------------------------------------------------

BAD_LINES = {
    b"no JSON": "there is no JSON (Expecting value at character 1) instead",
    b'{"text": "cut': "there is no JSON (Unterminated string",
    b'["text"]': "one JSON object a line, but there is a list instead",
    b'"text"': "one JSON object a line, but there is text instead",
    b"3": "one JSON object a line, but there is a number instead",
    b"null": "one JSON object a line, but there is null instead",
    b'{"text": 3}': "text in 'text', but there is a number instead",
    b'{"text": true}': "text in 'text', but there is true or false instead",
    b'{"text": ["a"]}': "text in 'text', but there is a list instead",
    b'{"text": {}}': "text in 'text', but there is an object instead",
    b"[" * 100_000: "there is one that is nested too deeply instead",
    b'{"a":' * 100_000: "there is one that is nested too deeply instead",
    b'{"text": ' + b"9" * 5000 + b"}": "there is a number of too many digits instead",
    b'{"text": "a\x00b"}': "there is no JSON (Invalid control character at character 12) instead",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_of_json(line):
    name = write(b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n', "a.jsonl")
    message = refusal(name)
    assert BAD_LINES[line] in message
    assert (
        "instead, at line 2 of 'a.jsonl'. Mend it, or set `data.reading.errors: skip`." in message
    )
    kept, counted = read(name, errors="skip")
    assert kept == [(1, "one"), (3, "three")]
    assert counted == {"read": 3, MALFORMED: 1}


def test_objects_without_text_are_counted():
    lines = ['{"text": "a\\n\\u00e9 "}', "", " \t", '{"text": null}', '{"id": 1}', '{"text": " "}']
    kept, counted = read(write("\n".join(lines), "a.jsonl"))
    assert kept == [(1, "a\né")]
    assert counted == {"read": 6, BLANK: 3, NO_TEXT: 2}


def test_what_json_allows():
    lines = ['{"text": "a", "text": "b"}', '{"text": "\\u0000 x", "n": NaN}', '{"text": "\u2028y"}']
    assert read(write("\r\n".join(lines), "a.ndjson"))[0] == [(1, "b"), (2, "\0 x"), (3, "y")]


def test_half_of_a_character():
    name = write('{"text": "a \\ud83d\\ude00"}\n{"text": "b \\ud83d"}\n', "a.jsonl")
    assert "half of a pair such as \\ud83d\\ude00 instead, at line 2" in refusal(name)
    assert read(name, errors="skip") == ([(1, "a 😀")], {"read": 2, NOT_UTF8: 1})
    assert read(name, errors="replace") == ([(1, "a 😀"), (2, "b \ufffd")], {"read": 2})


def test_bytes_that_are_not_utf8_in_json():
    name = write(b'{"text": "a"}\n{"text": "caf\xe9"}\n', "a.jsonl")
    assert "line 2 of 'a.jsonl' has the invalid byte 0xe9 at byte 14" in refusal(name)
    assert read(name, errors="skip") == ([(1, "a")], {"read": 2, NOT_UTF8: 1})
    assert read(name, errors="replace") == ([(1, "a"), (2, "caf\ufffd")], {"read": 2})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_list(suffix, packed):
    data = """\ufeff \n [
        {"text": "a, [b] \\" {c", "tags": [["x"], {"text": "no"}]}, "just text",
        {"id": 1}, {"text": null}, {"text": " "} , {"text": "\\u00e9\\\\"},{"text": "f"}
    ] \n"""
    name = f"a.{suffix}" + ".gz" * packed
    write(gzip.compress(data.encode()) if packed else data, name)
    kept, counted = read(name)
    assert kept == [(1, 'a, [b] " {c'), (2, "just text"), (6, "é\\"), (7, "f")]
    assert counted == {"read": 7, NO_TEXT: 2, BLANK: 1}
    assert read(write("[]", "b.json"))[1] == {}


BAD_LISTS = {
    '["a", 3, "c"]': "a list of JSON objects or texts, but there is a number instead, at element 2",
    '["a", {"text": 3}, "c"]': "text in 'text', but there is a number instead, at element 2",
    '["a", {"text"}, "c"]': "there is no JSON (Expecting ':' delimiter at character 8) instead, at",
    '["a", , "c"]': "there is no JSON (Expecting value at character 1) instead, at element 2",
    '["a", }, "c"]': "there is no JSON (Expecting value at character 1) instead, at element 2",
    '["a", "b" "b", "c"]': "there is no JSON (Extra data at character 5) instead, at element 2",
}


@pytest.mark.parametrize("data", BAD_LISTS)
def test_a_bad_element(data):
    name = write(data, "a.json")
    assert BAD_LISTS[data] in refusal(name)
    assert read(name, errors="skip") == ([(1, "a"), (3, "c")], {"read": 3, MALFORMED: 1})


@pytest.mark.parametrize("data", ['["a"] ["b"]', '["a"]\n\n["b"]\n', '["a", "cut', '["a", {'])
def test_what_is_no_whole_list(data):
    name = write(data, "a.json")
    what = "nothing after its list, but there is more" if "]" in data else "a list with an end, but"
    assert f"must hold {what}" in refusal(name)
    assert read(name, errors="skip") == ([(1, "a")], {"read": 2, MALFORMED: 1})


def test_texts_in_a_list_have_no_columns():
    name = write('["a"]', "a.json")
    assert "objects or texts, but there is text instead" in refusal(name, column="body")
    assert "objects or texts, but there is text instead" in refusal(name, target_column="body")


@pytest.mark.parametrize("errors", ["strict", "skip"])
def test_one_object_over_several_lines(errors):
    name = write("\ufeff" + json.dumps({"id": 1, "text": "a\nb"}, indent=2) + "\n", "a.json")
    assert read(name, errors=errors) == ([(1, "a\nb")], {"read": 1})
    name = write(json.dumps({"data": [{"text": "a"}]}, indent=2), "b.json")
    message = refusal(name, "`data.reading.column` must be a column of 'b.json'", errors=errors)
    assert message.endswith("Take the list out (`jq .data FILE > NEW.json`).")


def test_lines_of_which_the_first_is_broken_are_lines():
    name = write('{"text": "a",\n{"text": "b"}\n', "a.jsonl")
    assert read(name, errors="skip") == ([(2, "b")], {"read": 2, MALFORMED: 1})


LIST_PIECES = [
    '"',
    "\\",
    '\\"',
    "[",
    "]",
    "{",
    "}",
    ",",
    ",",
    " ",
    '"a"',
    '{"text": "b"}',
    "é",
    "\n",
]


@given(st.lists(st.sampled_from(LIST_PIECES), max_size=30).map("".join), st.integers(1, 40))
@settings(deadline=None)
def test_any_list_against_a_reading_of_the_whole(tmp_path_factory, data, block_bytes):
    path = tmp_path_factory.getbasetemp() / "any.json"
    data = f'[{{"text": "first"}}, {data}]'
    path.write_text(data)
    results = []
    for size in (block_bytes, 1000):
        source = open_one(str(path), errors="skip")
        source.readers = [replace(one, block_bytes=size) for one in source.readers]
        results.append(read(source))
        blocks = [block for part in source.parts() for block in part.blocks()]
        for index, block in enumerate(blocks):
            assert list(source.readers[0].blocks(block.end)) == blocks[index + 1 :]
    assert results[0] == results[1]
    try:
        elements = json.loads(data)
    except ValueError:
        return
    texts = [some["text"] if isinstance(some, dict) and some else some for some in elements]
    expected = [(n, t.strip()) for n, t in enumerate(texts, 1) if isinstance(t, str) and t.strip()]
    assert results[0][0] == expected
    assert results[0][1]["read"] == len(elements)


def test_a_long_element_in_bounded_memory(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("w") as file:
        file.write('["before", "')
        for _ in range(500):
            file.write("x, " * 20_000)
        file.write('", "after"]')
    tracemalloc.start()
    try:
        assert read(str(path)) == ([(1, "before"), (3, "after")], {"read": 3, TOO_LONG: 1})
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def nested_rows(kind: str) -> str:
    rows = [
        {"id": n, "translation": {"en": f"word {n}", "de": f"Wort {n}", "more": {"note": "x"}}}
        for n in range(5)
    ]
    rows[1]["translation"] = None
    rows[2]["translation"]["en"] = None
    table = pa.Table.from_pylist(rows)
    if kind in ("jsonl", "list"):
        lines = "\n".join(map(json.dumps, rows))
        return write(json.dumps(rows) if kind == "list" else lines, f"a.{kind}.json")
    return write_table(table, kind)


@pytest.mark.parametrize("kind", ["jsonl", "list", "parquet", "arrow", "stream"])
def test_a_column_inside_of_another(kind):
    name = nested_rows(kind)
    kept, counted = read(name, column="translation.en")
    assert kept == [(1, "word 0"), (4, "word 3"), (5, "word 4")]
    assert counted == {"read": 5, NO_TEXT: 2}
    assert read(f"{name}#translation.more.note")[0][0] == (1, "x")
    source = open_one(name, column="translation.en", target_column="translation.de")
    blocks = list(source.blocks())
    pairs = [pair for b in blocks for pair in zip(b.texts, b.targets, strict=True)]
    assert pairs == [("word 0", "Wort 0"), ("word 3", "Wort 3"), ("word 4", "Wort 4")]
    message = refusal(name, "`data.reading.column` must ", column="translation.fr")
    assert "'translation.en', 'translation.de', 'translation.more" in message
    assert "text" in refusal(name, column="translation")


@pytest.mark.parametrize("kind", ["jsonl", "list", "parquet", "arrow", "stream"])
def test_a_name_with_a_dot_comes_first(kind):
    row = {"a.b": "its own", "a": {"b": "inside"}}
    if kind in ("jsonl", "list"):
        data = json.dumps([row] if kind == "list" else row)
        assert read(write(data, "a.json"), column="a.b")[0] == [(1, "its own")]
    else:
        assert read(write_table(pa.Table.from_pylist([row]), kind), column="a.b")[0][0][1] == (
            "its own"
        )


def test_a_column_may_begin_late_but_not_never(monkeypatch):
    monkeypatch.setattr(json_columns, "FIRST_OBJECTS", 5)
    lines = ['{"id": 1}'] * 4 + ['{"text": "late"}'] + ['{"id": 2}'] * 9
    name = write("\n".join(lines), "a.jsonl")
    assert read(name) == ([(5, "late")], {"read": 14, NO_TEXT: 13})
    name = write("\n".join(["{}", *lines]), "b.jsonl")
    assert "which has 'id', but it is 'text'" in refusal(name, "`data.reading.column` must ")


# --- CSV and TSV -------------------------------------------------------------------------------


def test_rows_by_hand():
    data = (
        '\ufeffid, text\r\n1,"one, ""1"""\r\n\r\n2,"two\r\nlines"\r3,fo"ur\n4,\n5,"\u2028 five "\n'
    )
    kept, counted = read(write(data, "a.csv"))
    assert kept == [(2, 'one, "1"'), (4, "two\nlines"), (6, 'fo"ur'), (8, "five")]
    assert counted == {"read": 6, BLANK: 2}
    assert read(write("text\ta\n1, 2\tb", "a.tsv"))[0] == [(2, "1, 2")]


def test_a_quote_in_tsv_is_text():
    rows = ["text\tid", '"Yes\t1', 'he said "no"\t2', 'no"\t3', '"both"\t4', '"\t5', "a\\tb\t6"]
    name = write("\n".join(rows), "a.tsv")
    expected = ['"Yes', 'he said "no"', 'no"', '"both"', '"', "a\\tb"]
    assert read(name)[0] == list(enumerate(expected, start=2))
    assert read(name)[1] == {"read": 6}
    message = refusal(write('text\tid\n"two\nlines"\t1\n', "a.tsv"))
    assert "has 1 fields and not 2 instead, at line 2 of 'a.tsv'. Mend it, set " in message
    assert "set `data.reading.quoting: minimal` if fields are in quotes, or set " in message
    assert read("a.tsv", quoting="minimal")[0] == [(2, "two\nlines")]
    message = refusal(write('"text"\t"id"\n"a"\t"1"\n', "a.tsv"), "`data.reading.column` must ")
    assert message.endswith("Its names are in quotes: set `data.reading.quoting: minimal`.")


def test_a_quote_in_csv_is_text_if_one_asks():
    name = write('id,text\n1,"open\n2,"a"b\n3,c\n', "a.csv")
    assert "Mend it, set `data.reading.quoting: none` if quotes are text, or set" in refusal(name)
    assert read(name, quoting="none")[0] == [(2, '"open'), (3, '"a"b'), (4, "c")]


def test_another_delimiter():
    name = write('id;text\n1;"a;b"\n2;c\n', "a.csv")
    assert read(name, delimiter=";")[0] == [(2, "a;b"), (3, "c")]
    assert read(write("text\tid\na\t1", "b.csv"), delimiter=r"\t")[0] == [(2, "a")]
    assert read(write("text|id\na|1", "c.tsv"), delimiter="|")[0] == [(2, "a")]


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("id;text", "';': set `data.reading.delimiter: ';'`."),
        ('"id";"text"', "';': set `data.reading.delimiter: ';'`."),
        ("id;body", "';': set `data.reading.delimiter: ';'`."),
        ("id\ttext", r"a tab: set `data.reading.delimiter: '\t'`."),
        ("a|b, c|text", "'|': set `data.reading.delimiter: '|'`."),
    ],
)
def test_a_file_that_looks_as_if_separated_otherwise(header, shown):
    name = write(f"{header}\n1;x\n", "a.csv")
    message = refusal(name, "`data.")
    assert message.endswith(f"It looks as if its fields were separated by {shown}")


def test_an_escape():
    name = write('text,id\na\\, b,1\n\\"c,2\n"d\\"e",3\n', "a.csv")
    assert read(name, escape="\\")[0] == [(2, "a, b"), (3, '"c'), (4, 'd"e')]
    name = write("text\tid\na\\\tb\t1\nc\\\nd\t2\n", "a.tsv")
    assert read(name, escape="\\")[0] == [(2, "a\tb"), (3, "c\nd")]
    lines = ["a,b,c", *['x"\\"\\"\\",y,z', '"' + '\n\\"' * 5 + '",2,3']]
    kept, _ = read(write("\n".join(lines), "b.csv"), column="a", escape="\\")
    assert kept[1] == (3, '"\n"\n"\n"\n"')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"delimiter": ""},
            "must be one character, and no quote or line end, but it is ''",
        ),
        ({"delimiter": ";;"}, "must be one character"),
        ({"delimiter": '"'}, "must be one character"),
        ({"escape": "\n"}, "must be one character"),
        ({"escape": ","}, "must be another character than the delimiter, but it is ',' instead"),
        ({"quoting": "all"}, "must be one of auto, minimal, none"),
        ({"delimiter": ";", "format": "jsonl"}, "must not be given for jsonl"),
        ({"quoting": "none", "format": "text"}, "must not be given for text"),
    ],
)
def test_a_dialect_that_cannot_be(options, message):
    write("text\n", "a.csv")
    assert message in refusal("a.csv", f"`data.reading.{next(iter(options))}` must ", **options)


BAD_ROWS = {
    "1,2,3": "there is a line that has 3 fields and not 2 instead",
    "1": "there is a line that has 1 fields and not 2 instead",
    '1,"2"3': "there is a line that has text after a closing quote instead",
    '1,"2': "there is a line that opens a quote that is not closed instead",
    "1,2\0": "there is a line that has a NUL instead",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row(row):
    name = write(f"id,text\n0,zero\n{row}\n2,two\n3,three\n", "a.csv")
    message = refusal(name)
    assert f"must hold rows like its header, but {BAD_ROWS[row]}, at line 3 of 'a.csv'" in message
    kept, counted = read(name, errors="skip")
    assert kept == [(2, "zero"), (4, "two"), (5, "three")]
    assert counted == {"read": 4, MALFORMED: 1}


def test_a_stray_quote_does_not_swallow_the_file():
    rows = [f"{n},row {n}" for n in range(10_000)]
    rows[7] = '7,"row 7'
    name = write("id,text\n" + "\n".join(rows), "a.csv")
    kept, counted = read(name, errors="skip", max_line_bytes=1000)
    assert counted == {"read": 10_000, MALFORMED: 1}
    assert kept == [(n + 2, f"row {n}") for n in range(10_000) if n != 7]
    message = refusal(name, max_line_bytes=1000)
    assert "opens a quote that is not closed within 1,000 bytes instead, at line 9" in message


def test_quotes_that_open_in_every_line_take_no_longer(monkeypatch):
    lines = ["a,b,c"] + ['x","y'] * 50_000  # each closes the quote before, and opens one
    _, counted = read(write("\n".join(lines), "a.csv"), column="a", errors="skip")
    assert counted == {"read": 50_000, MALFORMED: 50_000}


def test_a_row_of_several_lines_over_the_cap():
    lines = ["text", '"' + "\n".join(["line"] * 10) + '"', "after"]
    kept, counted = read(write("\n".join(lines), "a.csv"), errors="skip", max_line_bytes=20)
    # Of one column, each of its lines is a row of its own, but for the last, with its quote.
    assert counted == {"read": 11, MALFORMED: 1}
    assert kept[-2:] == [(11, 'line"'), (12, "after")]


def test_a_long_line_ends_an_open_quote():
    data = 'text\n"open\nx\n' + "y" * 50 + "\nz\n"
    for block_bytes in (1, 7, 1000):
        source = open_one(write(data, "a.csv"), errors="skip", max_line_bytes=20)
        source.readers = [replace(one, block_bytes=block_bytes) for one in source.readers]
        kept, counted = read(source)
        assert kept == [(3, "x"), (5, "z")]
        assert counted == {"read": 4, MALFORMED: 1, TOO_LONG: 1}


def test_fields_may_be_larger_than_the_default_of_csv():
    before = csv.field_size_limit()
    text = "x" * 500_000
    assert read(write(f'text,a\n"{text}",b\n', "a.csv"))[0] == [(2, text)]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('"text\n1\n', "begins with a line that opens a quote that is not closed instead"),
        ("a\0b\n1\n", "begins with a line that has a NUL instead"),
        ("x" * 200 + "\n1\n", "begins with a line of more than `max_line_bytes` instead"),
        ("text,a,text\n1,2,3\n", "has 2 of the name 'text' instead. Rename one."),
    ],
)
def test_a_bad_header(data, message):
    assert message in refusal(write(data, "a.csv"), errors="skip", max_line_bytes=100)


def test_other_columns_may_have_no_name_or_the_same():
    assert read(write(",text,,a,a\n1,2,3,4,5\n", "a.csv"))[0] == [(2, "2")]


def test_bytes_that_are_not_utf8_in_csv():
    name = write(b'id,text\n1,a\n2,"b\ncaf\xe9"\n3,c\n', "a.csv")
    assert "line 4 of 'a.csv' has the invalid byte 0xe9 at byte 4" in refusal(name)
    assert read(name, errors="skip") == ([(2, "a"), (5, "c")], {"read": 3, NOT_UTF8: 1})
    assert read(name, errors="replace")[0] == [(2, "a"), (3, "b\ncaf\ufffd"), (5, "c")]


def plain_rows(lines: list[str], cap: int, width: int | None) -> list[tuple[int, Any]]:
    """What `csv.py` does, character by character: (index, fields, or None if dropped)."""
    rows: list[tuple[int, Any]] = []
    at = 0
    while at < len(lines):
        if len(lines[at].encode()) > cap:
            rows.append((at, TOO_LONG))
            at += 1
            continue
        fields, end = plain_row(lines, at, cap)
        if fields is None or (fields and width is not None and len(fields) != width):
            rows.append((at, None))
            at += 1
        else:
            rows.append((at, fields))
            at = end
        width = len(fields) if width is None and fields else width
    return rows


def plain_row(lines: list[str], at: int, cap: int) -> tuple[list[str] | None, int]:
    fields, state, size = [""], "start", 0
    for end in range(at, len(lines)):
        line = lines[end] + "\n"
        size += len(line.encode())
        if "\0" in line or (end > at and size > cap) or len(line.encode()) > cap + 1:
            return None, 0
        for char in line:
            if state == "quoted" and char != '"':
                fields[-1] += char
            elif state == "quoted":
                state = "quote"
            elif char == "\n":
                return ([] if line == "\n" and end == at else fields), end + 1
            elif char == ",":
                fields.append("")
                state = "start"
            elif char == '"' and state in ("start", "quote"):
                fields[-1] += char if state == "quote" else ""
                state = "quoted"
            elif state == "quote":
                return None, 0
            else:
                fields[-1] += char
                state = "plain"
    return None, 0


CSV_PIECES = [
    '"',
    '"',
    '""',
    ",",
    ",",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "a",
    "é",
    '"b"',
    '\n"',
    '",',
    "\0",
]


@given(
    st.lists(st.sampled_from(CSV_PIECES), max_size=40).map("".join),
    st.integers(1, 40),
    st.integers(5, 30),
)
@example('"', 1, 30)
@settings(deadline=None, max_examples=300)
def test_any_csv_against_a_reading_by_characters(tmp_path_factory, data, block_bytes, cap):
    with pytest.MonkeyPatch.context() as patch:  # much of it is NULs
        patch.setattr(reader, "check_content", lambda head, file, key: None)
        check_csv(tmp_path_factory.getbasetemp() / "any.csv", data, block_bytes, cap)


def check_csv(path: Path, data: str, block_bytes: int, cap: int) -> None:
    path.write_bytes(b"a,b\n" + data.encode())
    lines = [line.decode() for line in path.read_bytes().splitlines()]
    expected, dropped = [], Counter()
    for at, row in plain_rows(lines, cap, None)[1:]:
        if row is None or row == TOO_LONG:
            dropped[row or MALFORMED] += 1
        elif not row or not row[1].strip():
            dropped[BLANK] += 1
        else:
            expected.append((at + 1, row[1].strip()))
    options = {"errors": "skip", "column": "b", "max_line_bytes": cap}
    for size in (block_bytes, 1000):
        source = open_one(str(path), **options)
        source.readers = [replace(one, block_bytes=size) for one in source.readers]
        kept, counted = read(source)
        assert kept == expected
        assert counted == dropped + Counter(read=len(expected) + dropped.total())
        blocks = [block for part in source.parts() for block in part.blocks()]
        assert not blocks or blocks[-1].end["line"] == len(lines)
        for index, block in enumerate(blocks):
            assert list(source.readers[0].blocks(block.end)) == blocks[index + 1 :]


# --- Parquet and Arrow -------------------------------------------------------------------------


def write_table(table: pa.Table, kind: str, **options: Any) -> str:
    if kind == "parquet":
        pq.write_table(table, "a.parquet", **options)
        return "a.parquet"
    make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
    with make("a.arrow", table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return "a.arrow"


TABLES = ["parquet", "arrow", "stream"]


@pytest.mark.parametrize("kind", TABLES)
def test_types_of_text(kind):
    dictionary = pa.dictionary(pa.int16(), pa.string())
    for type in (pa.string(), pa.large_string(), pa.string_view(), dictionary):
        values = ["one", " two ", None, "", "é\n", "one", "x" * 50]
        column = pa.array(values).dictionary_encode() if pa.types.is_dictionary(type) else None
        column = column.cast(type) if column is not None else pa.array(values, type)
        name = write_table(pa.table({"id": range(7), "text": column}), kind)
        kept, counted = read(name, max_line_bytes=40)
        assert kept == [(1, "one"), (2, "two"), (5, "é"), (6, "one")], type
        assert counted == {"read": 7, NO_TEXT: 1, BLANK: 1, TOO_LONG: 1}, type


@pytest.mark.parametrize("kind", TABLES)
def test_other_types_are_named(kind):
    table = pa.table({"text": [1], "title": ["a"], "tags": [["b"]], "body": ["c"]})
    name = write_table(table, kind)
    assert f"'text' of '{name}' is of type int64 instead. Choose one of text: 'title', 'body'." in (
        refusal(name)
    )
    assert "is of type list<" in refusal(name, column="tags")
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    assert "'text' of 'a." in refusal(write_table(twice, kind))


@pytest.mark.parametrize("kind", TABLES)
def test_text_of_a_table_that_is_not_utf8(kind):
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\5\0\0\0")
    data = pa.py_buffer(b"okcaf\xe9"[:4] + b"\xe9")
    wrong = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    name = write_table(pa.table({"text": wrong}), kind)
    assert f"row 2 of '{name}' has the invalid byte 0xe9 at byte 3 instead" in refusal(name)
    assert read(name, errors="skip") == ([(1, "ok")], {"read": 2, NOT_UTF8: 1})
    assert read(name, errors="replace")[0] == [(1, "ok"), (2, "ca\ufffd")]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_parts_of_a_table_are_its_groups(kind):
    name = write_rows(ROWS, kind)  # of 700 rows, and one of 200
    parts = open_one(name).parts(2)
    assert [part.reader.span for part in parts] == [(0, 2), (2, 5)]
    shown = {"parquet": "row group", "arrow": "record batch"}[kind]
    assert next(parts[1].blocks()).where(0) == f"{name} after {shown} 2:1"
    assert [part.stride for part in open_one(name).parts(6)] == [6] * 6


def test_few_rows_at_a_time():
    (block, *_) = open_one(write_table(pa.table({"text": ["a"] * 5000}), "parquet")).blocks()
    assert len(block.texts) == arrow.BLOCK_ROWS


def test_a_table_that_unpacks_too_far(monkeypatch):
    monkeypatch.setattr(opening, "BOMB_FLOOR", 100_000)
    name = write_table(pa.table({"text": ["again and again " * 100] * 5000}), "parquet")
    assert "must not unpack to more than 200 times its size" in refusal(name)
    assert len(read(name, max_expansion=0)[0]) == 5000


def test_no_room_for_a_copy(monkeypatch):
    name = write_rows(ROWS, "parquet")
    write(gzip.compress(Path(name).read_bytes()), "a.parquet.gz")

    def fail(**options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening.tempfile, "TemporaryFile", fail)
    message = refusal("a.parquet.gz")
    assert "copying 'a.parquet.gz' there failed: No space left on device" in message
    assert "set TMPDIR" in message


def test_text_does_not_import_arrow():
    program = (
        "import sys; from seqae.data.sources.open import open_source;"
        "list(open_source('hsk', 'data.train').texts()); assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
