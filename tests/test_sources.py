"""Every record of a source is either kept, with its place, or counted under the reason why not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqae.data.builtin import load_builtin
from seqae.data.sources.base import Source, SourcePart
from seqae.data.sources.file_source import FileSource
from seqae.data.sources.formats import compression as opening
from seqae.data.sources.formats import reader
from seqae.data.sources.formats.reader import MIN_SPAN_BYTES
from seqae.data.sources.open import open_source
from seqae.data.sources.records import BLANK, NOT_UTF8, TOO_LONG, Block, Counts, ReadOptions

if sys.version_info >= (3, 14):
    from compression import zstd as zstandard
else:
    from backports import zstd as zstandard

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write bytes to a file of the current folder; give its name."""
    monkeypatch.chdir(tmp_path)

    def write(data: bytes, name: str = "a.txt") -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)
        return name

    return write


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def use_standard_input(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def open_one(name: str, **options) -> Source:
    return open_source(name, "data.train", ReadOptions(**options), "data.reading.")


def texts(name: str, **options) -> list[str]:
    return list(open_one(name, **options).texts())


def gather(parts: list[SourcePart]) -> tuple[list[tuple[str, int]], Counts]:
    """The kept texts of some parts with their numbers, and what became of all records."""
    counts, kept = Counts(), []
    for part in parts:
        for block in part.blocks():
            counts.add(block.counts)
            kept += zip(block.texts, block.numbers, strict=True)
    return kept, counts


def places(name: str, **options) -> list[tuple[str, str]]:
    blocks = open_one(name, **options).blocks()
    return [(text, block.where(i)) for block in blocks for i, text in enumerate(block.texts)]


def counts_of(name: str, **options) -> Counts:
    return gather(open_one(name, **options).parts())[1]


def with_block_bytes(source: Source, block_bytes: int) -> Source:
    assert isinstance(source, FileSource)
    source.readers = [replace(one, block_bytes=block_bytes) for one in source.readers]
    return source


def read_bytes(data: bytes, block_bytes: int = 1000, **options):
    """Read bytes as if they came from standard input (no file, so hypothesis stays fast).

    What is no text is refused elsewhere; here it shows where lines end.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "check_content", lambda head, file, key: None)
        use_standard_input(patch, data)
        return gather(with_block_bytes(open_one("-", **options), block_bytes).parts())


def refusal(kind: type[Exception], source: str, start: str = "`data.train` must ", **options):
    """Give the one line with which a source is refused, when it is opened or when it is read."""
    with pytest.raises(kind) as caught:
        list(open_one(source, **options).texts())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(start)
    return message


# --- lines -------------------------------------------------------------------------------------


def test_lines_by_hand(write):
    data = (
        BOM + b"one\r\n\r\n  two\t\nthree\rfour\x00\x0b4\xc2\x85\xe2\x80\xa8four\n\xe3\x80\x80\nend"
    )
    name = write(data)
    assert places(name) == [
        ("one", "a.txt:1"),
        ("two", "a.txt:3"),
        ("three", "a.txt:4"),
        ("four\x00\x0b4\x85\u2028four", "a.txt:5"),
        ("end", "a.txt:7"),
    ]
    assert counts_of(name) == Counts(read=7, dropped=Counter({BLANK: 2}))
    assert str(counts_of(name)) == "5 of 7 kept (2 blank)"


def test_blocks_say_where_a_sentence_stands(write):
    (block,) = open_one(write(b"one\n\ntwo\n")).blocks()
    assert block.texts == ["one", "two"]
    assert block.where(1) == "a.txt:3"
    assert block.weight == 9


def test_only_the_first_byte_order_mark_goes():
    kept, _ = read_bytes(BOM + BOM + b"a\n" + BOM + b"b")
    assert [text for text, _ in kept] == ["\ufeffa", "\ufeffb"]


@pytest.mark.parametrize("data", [b"", BOM, b"\n", b"\r\n\r", BOM + b"\n"])
def test_nothing_but_line_ends(data):
    for block_bytes in (1, 2, 100):
        kept, counts = read_bytes(data, block_bytes=block_bytes)
        assert kept == []
        assert counts.read == counts.dropped[BLANK] == len(data.removeprefix(BOM).splitlines())


# Pieces that a reader of blocks gets wrong when a block ends inside of one.
PIECES = [b"\r", b"\n", b"\r\n", b"a", b" ", b"long line", "é".encode(), "\u2028".encode()]
PIECES += ["😀".encode(), BOM, b"\x00", b"\x85", b"\xff", b"\xed\xa0\x80", b"\xe2\x82"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
    st.integers(1, 12),
    st.integers(1, 40),
    st.sampled_from(["replace", "skip"]),
)
@settings(deadline=None)
def test_any_bytes_against_a_plain_reading(data, max_line_bytes, block_bytes, errors):
    expected, counts = [], Counts()
    for number, raw in enumerate(data.removeprefix(BOM).splitlines(), start=1):
        counts.read += 1
        is_valid = raw.decode("utf-8", "replace").encode() == raw
        text = raw.decode("utf-8", "replace").strip()
        if len(raw) > max_line_bytes:
            counts.dropped[TOO_LONG] += 1
        elif not is_valid and errors == "skip":
            counts.dropped[NOT_UTF8] += 1
        elif not text:
            counts.dropped[BLANK] += 1
        else:
            counts.repaired += not is_valid
            expected.append((text, number))
    for size in (block_bytes, 1000):
        options = {"errors": errors, "max_line_bytes": max_line_bytes}
        assert read_bytes(data, block_bytes=size, **options) == (expected, counts)
    assert len(expected) == counts.kept


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(LINE, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 40))
@settings(deadline=None)
def test_any_text_and_any_line_end(lines, line_end, block_bytes):
    data = "".join(line + line_end for line in ["first", *lines]).encode("utf-8")
    kept, counts = read_bytes(data, block_bytes=block_bytes)
    real = [(text, n) for n, line in enumerate(lines, start=2) if (text := line.strip())]
    assert kept == [("first", 1), *real]
    assert counts.read == len(lines) + 1
    assert counts.kept == len(kept)


def test_a_line_of_exactly_the_cap_is_kept():
    kept, counts = read_bytes(b"abcd\nabcde\n\xc3\xa9\xc3\xa9", max_line_bytes=4)
    assert kept == [("abcd", 1), ("éé", 3)]
    assert counts == Counts(read=3, dropped=Counter({TOO_LONG: 1}))


@pytest.mark.parametrize("format", ["text", "jsonl", "csv"])
def test_a_huge_line_in_bounded_memory(tmp_path, format, monkeypatch):
    monkeypatch.setattr(reader, "check_content", lambda head, file, key: None)
    lines = {
        "text": (b"before\n", b"\nafter\n"),
        "jsonl": (b'{"text": "before"}\n', b'\n{"text": "after"}\n'),
        "csv": (b"text\nbefore\n", b"\nafter\n"),
    }
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.write(lines[format][0])
        file.truncate(1_000_000_000 if format == "text" else 100_000_000)  # a hole: NULs, no line
        file.seek(0, os.SEEK_END)
        file.write(lines[format][1])
    tracemalloc.start()
    try:
        kept, counts = gather(open_one(str(path), format=format).parts())
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    first = 1 + (format == "csv")
    assert kept == [("before", first), ("after", first + 2)]
    assert counts == Counts(read=3, dropped=Counter({TOO_LONG: 1}))


# --- what is not UTF-8 -------------------------------------------------------------------------


def test_strict_names_file_line_and_byte(write):
    message = refusal(ValueError, write(b"one\n\ncaf\xe9 noir\n"))
    assert "line 3 of 'a.txt' has the invalid byte 0xe9 at byte 4 instead" in message
    assert "iconv -f LATIN1" in message
    assert "`data.reading.errors` to replace or skip" in message


def test_utf_16_is_recognised(write):
    assert "iconv -f UTF-16" in refusal(ValueError, write("one\ntwo\n".encode("utf-16")))


def test_replace_and_skip(write):
    name = write(b"one\ncaf\xe9\n\xed\xa0\x80\n")
    assert texts(name, errors="replace") == ["one", "caf\ufffd", "\ufffd" * 3]
    assert texts(name, errors="skip") == ["one"]
    assert str(counts_of(name, errors="skip")) == "1 of 3 kept (2 not UTF-8)"
    assert counts_of(name, errors="replace").repaired == 2


# --- kinds of sources --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", zstd),
        (".GZ", gzip.compress),
    ],
)
def test_packed_files(write, suffix, pack):
    packed = pack(b"one\ntwo\n") + pack(b"three\n")  # two members, as `cat a.gz b.gz` makes them
    assert texts(write(packed, f"a.txt{suffix}")) == ["one", "two", "three"]
    for damaged in (packed[:-4], b"no such header" + packed):
        assert "is damaged or cut off" in refusal(ValueError, write(damaged, f"b.txt{suffix}"))


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", zstd),
    ],
)
def test_a_bomb_is_refused_and_the_limit_can_be_lifted(write, monkeypatch, suffix, pack):
    monkeypatch.setattr(opening, "BOMB_FLOOR", 100_000)
    name = write(pack(b"again and again\n" * 100_000), f"bomb{suffix}")  # 1.6 MB in 4 kB
    message = refusal(ValueError, name)
    assert "more than 200 times its size" in message
    assert "`max_expansion: 0`" in message
    assert len(texts(name, max_expansion=0)) == 100_000


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.TGZ", "a.tar.zst", "a.txt.lz4", "a.7z"])
def test_archives_of_another_kind_are_refused(write, name):
    message = refusal(ValueError, write(b"PK", name))
    assert f"'{name}' is an archive of another kind" in message


def test_a_folder_is_read_in_the_order_of_its_paths_and_names_the_rest(write):
    write(b"B", "text/b.txt")
    write(b"C", "text/deep/er/c.txt")
    write(b"A\nA2", "text/a.txt")
    write(gzip.compress(b"Z"), "text/z.txt.gz")
    write(b'{"text": "J"}', "text/j.jsonl")
    write(b"id,text\n1,T", "text/t.csv")
    write(b'["K", {"text": "K2"}]', "text/k.json")
    write(b'{"text": "L"}\n{"id": 1}', "text/l.json")
    write(b'{"text": "M"}', "text/m.json")
    for name in ("readme.md", "deep/notes.md", "d.md", "b.md", "LICENSE", "z.tar.gz"):
        write(b"no", f"text/{name}")
    write(b'{"size": 3}', "text/info.json")
    write(b'{\n  "tool": "no"\n}', "text/tool.json")
    write(b'{\n  "text": "N"\n}', "text/n.json")
    for hidden in (".hidden.txt", ".git/a.txt", ".notes.md"):
        write(b"no", f"text/{hidden}")
    os.symlink(".", "text/circle")
    assert places("text") == [
        ("A", "text/a.txt:1"),
        ("A2", "text/a.txt:2"),
        ("B", "text/b.txt:1"),
        ("C", "text/deep/er/c.txt:1"),
        ("J", "text/j.jsonl:1"),
        ("K", "text/k.json:1"),
        ("K2", "text/k.json:2"),
        ("L", "text/l.json:1"),
        ("M", "text/m.json:1"),
        ("N", "text/n.json:1"),
        ("T", "text/t.csv:2"),
        ("Z", "text/z.txt.gz:1"),
    ]
    assert open_one("text").record == {"files": 10}
    assert open_one("text").left_out == {
        ".md": {"files": 4, "first": ["b.md", "d.md", "deep/notes.md"]},
        ".tar.gz": {"files": 1, "first": ["z.tar.gz"]},
        ".json without records": {"files": 2, "first": ["info.json", "tool.json"]},
        "without an ending": {"files": 1, "first": ["LICENSE"]},
        "links to folders": {"files": 1, "first": ["circle"]},
    }
    assert texts("text", format="text") == ["A", "A2", "B", "C", "Z"]
    assert texts("text", format="jsonl", errors="skip")[-1] == "N"


def test_a_folder_without_text_is_named(write):
    write(b"no", "text/readme.md")
    message = refusal(FileNotFoundError, "text")
    assert "a folder with .txt, .jsonl, .ndjson, .json, .csv" in message
    assert "but there is none in or below 'text', only 1 .md ('readme.md'). Check it" in message
    assert "a pattern such as 'text/*', which reads other files as text." in message
    assert "with .parquet files" in refusal(FileNotFoundError, "text", format="parquet")


# --- what is no text ---------------------------------------------------------------------------


def zip_of(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (text)")
    data = connection.serialize()
    connection.close()
    return data


FOREIGN = {
    "a ZIP archive": zip_of("a.txt"),
    "a Word document (.docx)": zip_of("[Content_Types].xml", "word/document.xml"),
    "an Excel workbook (.xlsx)": zip_of("[Content_Types].xml", "xl/workbook.xml"),
    "a PDF": b"%PDF-1.7\n1 0 obj\n",
    "an SQLite database": database() if sys.version_info >= (3, 11) else b"SQLite format 3\0",
    "a Python pickle": pickle.dumps(["text"]),
    "compressed by gzip": gzip.compress(b"text\n"),
    "compressed by zstd": zstd(b"text\n"),
    "compressed by bzip2": bz2.compress(b"text\n"),
    "a tar archive": b"name".ljust(257, b"\0") + b"ustar\0" + b"00" + bytes(249),
    "a PNG picture": b"\x89PNG\r\n\x1a\n" + bytes(9),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_named_whatever_its_ending(write, kind):
    for name in ("a.txt", "a.csv", "a.jsonl"):
        for errors in ("strict", "skip", "replace"):
            message = refusal(ValueError, write(FOREIGN[kind], name), errors=errors)
            assert f"must be UTF-8 text, but '{name}' is {kind} instead. " in message


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.txt.gz", "a.txt.zst", "a.txt.xz"])
def test_a_file_of_another_kind_is_not_called_damaged(write, name):
    message = refusal(ValueError, write(FOREIGN["a Word document (.docx)"], name))
    assert f"but '{name}' is a Word document (.docx) instead. Save it as plain text" in message


def test_a_text_that_begins_like_a_signature_is_text(write):
    beginnings = ["BZh is no word", "ORC and man", "RIFF", "GIF8", "Obj", "%PD", "PK"]
    beginnings += ["PAR1 is a gene", "ARROW1 flew"]
    assert texts(write("\n".join(beginnings).encode())) == beginnings
    for beginning in beginnings:
        assert texts(write(beginning.encode())) == [beginning]


CODECS = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-16": "UTF-16", "utf-32": "UTF-32"}


@pytest.mark.parametrize(
    "text", ["one\ntwo\n", "Привет, мир.\nКак дела?\n", "你好。\n很高兴认识你。\n", "año\ntres\n"]
)
def test_utf_16_is_refused_with_a_mark_and_without(write, text):
    for codec, name in CODECS.items():
        for errors in ("strict", "skip", "replace"):
            message = refusal(ValueError, write(text.encode(codec)), errors=errors)
            how = f"but 'a.txt' is {name} instead. Convert it (`iconv -f {name} -t UTF-8 'a"
            assert how in message


def test_text_of_control_characters_is_refused(write):
    line = b"an ordinary sentence of some forty letters\n"
    assert texts(write((line * 9 + b"\x01" + line) * 3))  # three strayed
    with_many = (line + b"\x01\x02") * 300
    message = refusal(ValueError, write(with_many))
    assert "4.4 % of the first 13,500 characters of 'a.txt' are control characters" in message
    assert "take them out (`tr -d " in message
    command = message[message.index("`tr") + 1 : message.rindex("`")]
    subprocess.run(command, shell=True, check=True)
    assert texts("NEW.txt") == [line.decode().strip()] * 300
    assert refusal(ValueError, write("\x93mojibake\x94 \n".encode() * 10, "c1.txt"))


def test_an_address_that_is_not_read_is_downloaded_by_the_user():
    message = refusal(ValueError, "ftp://example.org/a/texts.txt")
    assert "must be a path on this machine, or an address that begins with s3://" in message
    assert "but it is 'ftp://example.org/a/texts.txt' instead" in message
    assert "Download it (`curl -LO 'ftp://example.org/a/texts.txt'`), and name the file." in message
    hub = "https://huggingface.co/datasets/stanfordnlp/imdb/tree/main"
    assert "Write hf:stanfordnlp/imdb" in refusal(ValueError, hub)
    message = refusal(ValueError, "sftp://bucket/a.txt")
    assert message.endswith(
        "but it is 'sftp://bucket/a.txt' instead. Download it, and name the file."
    )
    assert refusal(ValueError, "file:///tmp/a.txt").endswith("Write its path alone.")


@pytest.mark.parametrize("window_log", [27, 28, 31])
def test_a_zst_with_a_long_window(write, window_log):
    parameter = zstandard.CompressionParameter
    # A small table, or the packing would take gigabytes; the window is what the reader needs.
    options = {parameter.window_log: window_log, parameter.strategy: 1, parameter.hash_log: 10}
    packer = zstandard.ZstdCompressor(options=options)
    packed = packer.compress(b"one\ntwo\n") + packer.flush()
    assert texts(write(packed, "a.txt.zst")) == ["one", "two"]
    assert "is damaged or cut off" in refusal(ValueError, write(packed[:-1], "b.txt.zst"))
    longer = packed[:5] + bytes([(34 - 10) << 3]) + packed[6:]
    message = refusal(ValueError, write(longer, "c.txt.zst"))
    assert (
        "a window of at most 2 GiB (`zstd --long=31`), but that of 'c.txt.zst' is 16 GiB" in message
    )


def test_patterns(write):
    for name in ("a.txt", "b.txt", "c.md", "deep/d.txt", "deep/er/e.txt", ".f.txt", ".g/g.txt"):
        write(name.encode(), f"text/{name}")
    os.symlink(".", "text/deep/circle")
    assert texts("text/*.txt") == ["a.txt", "b.txt"]
    assert texts("text/[ac].*") == ["a.txt", "c.md"]
    assert texts("text/*") == ["a.txt", "b.txt", "c.md"]  # folders are not files
    assert texts("text/*/d.txt") == ["deep/d.txt"]
    assert texts("t*t/**/*.txt") == ["a.txt", "b.txt", "deep/d.txt", "deep/er/e.txt"]
    assert len(texts("**")) == 5
    assert texts(os.path.abspath("text") + "/?.txt") == ["a.txt", "b.txt"]
    assert texts("text/.*") == [".f.txt"]
    message = refusal(FileNotFoundError, "text/*.jsonl")
    assert "be a pattern that fits a file, but none fits 'text/*.jsonl'" in message
    write(b"mine", "text/[ac].txt")
    assert texts("text/[ac].txt") == ["mine"]


def test_a_builtin_name_means_the_corpus_and_a_path_means_the_file(write):
    write(b"mine", "hsk")
    assert texts("hsk") == load_builtin("hsk")
    assert texts("hsk", format="jsonl") == load_builtin("hsk")
    assert texts("./hsk") == ["mine"]


def test_standard_input(monkeypatch):
    use_standard_input(monkeypatch, b"one\ntwo")
    source = open_one("-")
    assert not source.can_reread
    assert source.fingerprint is None
    assert source.size is None
    assert places("-")[1] == ("two", "standard input:2")
    use_standard_input(monkeypatch, b'{"text": "one"}\n')
    assert texts("-", format="jsonl") == ["one"]


def test_standard_input_of_a_process():
    program = (
        "from seqae.data.sources.open import open_source;"
        "print(list(open_source('-', 'data.train').texts()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"one\r\ntwo", stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.strip() == b"['one', 'two']"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device):
    with pytest.raises(ValueError, match=f"`data.train` must be a file, but '{device}' is a devic"):
        open_source(device, "data.train")


def test_a_pipe_gives_what_it_has_without_waiting_for_more(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    may_go_on = threading.Event()

    def produce() -> None:
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(b"one\n")
            may_go_on.wait(10)
            pipe.write(b"two\n")

    producer = threading.Thread(target=produce)
    producer.start()
    source = open_one(str(path))
    assert not source.can_reread
    sentences = source.texts()
    assert next(sentences) == "one"  # the producer still waits for us
    may_go_on.set()
    assert list(sentences) == ["two"]
    producer.join()


# --- parts and positions -----------------------------------------------------------------------


def test_parts_of_a_large_file_are_byte_ranges(write):
    lines = [f"line {number}" for number in range(MIN_SPAN_BYTES // 2)]
    name = write("\r\n".join(lines).encode())
    parts = open_one(name).parts(3)
    assert [part.stride for part in parts] == [1, 1, 1]
    assert [text for text, _ in gather(parts)[0]] == lines
    second = next(parts[1].blocks())
    size = os.path.getsize(name)
    assert second.where(0) == f"a.txt after byte {size // 3:,}:1"
    assert sum(block.weight for part in parts for block in part.blocks()) == size


def test_parts_of_a_packed_file_take_turns(write):
    lines = [f"line {number}" for number in range(1000)]
    source = open_one(write(gzip.compress("\n".join(lines).encode()), "a.gz"))
    parts = with_block_bytes(source, 100).parts(3)
    assert [(part.stride, part.offset) for part in parts] == [(3, 0), (3, 1), (3, 2)]
    kept, counts = gather(parts)
    assert sorted(kept) == sorted((line, n) for n, line in enumerate(lines, start=1))
    assert counts.read == 1000


def test_parts_for_one_are_the_files(write):
    write(b"one", "text/a.txt")
    write(b"two", "text/b.txt")
    assert [gather([part])[0] for part in open_one("text").parts()] == [[("one", 1)], [("two", 1)]]
    assert len(open_one("text").parts(2)) == 2
    assert len(open_one("text").parts(3)) == 4


LINES = st.lists(st.sampled_from([b"one", b"two three", b"", b" ", b"\xff", b"x" * 30]))


@given(
    LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.integers(1, 40), st.sampled_from([1, 2, 3])
)
@settings(deadline=None)
def test_each_part_goes_on_behind_any_block(tmp_path_factory, lines, line_end, block_bytes, wanted):
    path = tmp_path_factory.getbasetemp() / "resumed.txt"
    path.write_bytes(line_end.join(lines))
    source = with_block_bytes(open_one(str(path), errors="skip", max_line_bytes=20), block_bytes)
    (reader,) = source.readers
    turns = [SourcePart(reader, wanted, turn) for turn in range(wanted)]
    assert sorted(gather(turns)[0]) == sorted(gather(source.parts())[0])
    for part in [*turns, *source.parts()]:
        part = pickle.loads(pickle.dumps(part))
        blocks = list(part.blocks())
        for index, block in enumerate(blocks):
            position = json.loads(json.dumps(block.end))
            assert list(part.blocks(position)) == blocks[index + 1 :]


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my.txt", "", "no/such/file", "a\0b", "wordnet"])
def test_what_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(FileNotFoundError, name) == (
        "`data.train` must be a file, a folder, a pattern such as 'data/*.txt', - for standard "
        "input, hf:OWNER/NAME, nltk:CORPUS or one of wordnet-examples, speeches, hsk, but there is "
        f"no {name!r}. Check the path."
    )


def test_a_name_too_long_is_refused_in_a_short_line():
    assert len(refusal(OSError, "x" * 100_000)) < 400


def test_no_permission(write, monkeypatch):
    name = write(b"one")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert "no permission to read 'a.txt'" in refusal(PermissionError, name)


@pytest.mark.parametrize("source", ["text", "text/**/*.txt", "text/*/*.txt"])
def test_no_permission_below_a_folder(write, monkeypatch, source):
    write(b"one", "text/deep/a.txt")
    scandir = os.scandir

    def refuse(path):
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "no permission to read 'text/deep'" in refusal(PermissionError, source)


def test_a_file_that_goes_or_changes_is_named(write):
    source = open_one(write(b"one\n"))
    assert list(source.texts()) == ["one"]
    write(b"one\ntwo\n")
    with pytest.raises(ValueError, match=r"must not change while it is in use, but 'a\.txt' did"):
        list(source.texts())
    os.remove("a.txt")
    with pytest.raises(FileNotFoundError, match=r"there is no 'a\.txt'"):
        list(source.texts())


def test_a_file_that_changes_while_it_is_read_is_named(write):
    source = with_block_bytes(open_one(write(b"one\ntwo\n")), 4)
    blocks = source.blocks()
    assert next(blocks).texts == ["one"]
    with open("a.txt", "ab") as file:
        file.write(b"three\n")
    with pytest.raises(ValueError, match=r"must not change while it is in use, but 'a\.txt' did"):
        list(blocks)


def test_no_usable_sentence(write):
    message = refusal(ValueError, write(b"\n \n" + b"x" * 20), max_line_bytes=10)
    assert "no usable sentences in 'a.txt': 0 of 3 kept (2 blank, 1 too long)." in message
    assert "'b.txt': 0 of 0 kept." in refusal(ValueError, write(b"", "b.txt"))


def test_messages_begin_with_the_key_of_the_caller(write):
    with pytest.raises(FileNotFoundError, match=r"^`data\.val` must be"):
        open_source("none.txt", "data.val")
    with pytest.raises(ValueError, match=r"^`errors` must be one of strict, replace, skip"):
        open_source(write(b"a"), "source", ReadOptions(errors="ignore"))
    assert "one of auto, text, jsonl" in refusal(ValueError, "a.txt", "`data.", format="xml")
    for name, value in (("max_line_bytes", 0), ("max_expansion", -1)):
        refusal(ValueError, "a.txt", f"`data.reading.{name}` must ", **{name: value})


def test_text_has_no_columns(write):
    write(b"one")
    assert "where its column is given, but 'a.txt' is read as text" in refusal(
        ValueError, "a.txt#body"
    )
    assert "where `data.reading.target_column` is given, but 'a.txt'" in refusal(
        ValueError, "a.txt", target_column="summary"
    )
    refusal(ValueError, "a.txt", "`data.reading.target_column`", target_column="x", format="text")
    refusal(ValueError, "hsk", target_column="summary", format="jsonl")
    write(b"two", "a.txt#body")
    assert texts("a.txt#body") == ["two"]


# --- fingerprints ------------------------------------------------------------------------------


def test_fingerprint_follows_the_files_and_the_options(write):
    def fingerprint(name: str = "text", **options) -> str | None:
        return open_one(name, **options).fingerprint

    write(b"one\n", "text/a.txt")
    first = fingerprint()
    assert first == fingerprint()
    assert first == fingerprint("./text/../text")
    assert first == with_block_bytes(open_one("text"), 1).fingerprint
    others = [
        fingerprint(errors="skip"),
        fingerprint(max_line_bytes=100),
        fingerprint("text/a.txt", format="jsonl"),
        fingerprint("text/a.txt#body", format="jsonl"),
    ]
    assert len({first, *others}) == 5
    os.utime("text/a.txt", ns=(0, 0))
    touched = fingerprint()
    assert touched != first
    write(b"two\n", "text/b.txt")
    assert fingerprint() not in (first, touched)


def test_fingerprint_of_a_builtin_needs_no_file():
    fingerprints = {open_one(name).fingerprint for name in ("hsk", "speeches")}
    assert len(fingerprints) == 2
    assert None not in fingerprints


def test_size_is_the_unit_of_the_weights(write):
    write(b"one\r\n\r\n", "text/a.txt")
    write(b"two", "text/b.txt")
    source = open_one("text")
    assert source.size == sum(block.weight for block in source.blocks()) == 10


def test_a_block_knows_its_targets():
    block = Block("a", [" one", "two", "three"], range(1, 4), Counts(3), {}, ["1 ", " ", "3"])
    stripped = block.stripped()
    assert (stripped.texts, stripped.targets) == (["one", "three"], ["1", "3"])
    assert stripped.numbers == [1, 3]
    assert stripped.counts.dropped == {BLANK: 1}


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_what_follows_a_packed_stream_is_read_or_refused(tmp_path, pack):
    """Python's own readers take what is no stream for the end of the file."""
    path = tmp_path / f"a.{'bz2' if pack is bz2.compress else 'xz'}"
    key = "data.train"
    path.write_bytes(pack(b"one\n") + pack(b"") + pack(b"two\n"))
    assert list(open_source(str(path), key).texts()) == ["one", "two"]
    for rest in (b"X" + pack(b"two\n" * 1000), pack(b"two\n" * 1000)[:-5]):
        path.write_bytes(pack(b"one\n") + rest)
        with pytest.raises(ValueError, match="is damaged or cut off"):
            list(open_source(str(path), key).texts())
