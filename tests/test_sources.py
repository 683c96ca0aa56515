"""Every line of a source is either kept, with its place, or counted under the reason why not."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqae.data import source_files
from seqae.data.builtin import load_builtin
from seqae.data.sources import Counts, Sentence, TextSource

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


def use_standard_input(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def read_bytes(data: bytes, **options) -> tuple[list[Sentence], Counts]:
    """Read bytes as if they came from standard input (no file, so hypothesis stays fast)."""
    with pytest.MonkeyPatch.context() as patch:
        use_standard_input(patch, data)
        source = TextSource("-", **options)
        sentences = []
        with contextlib.suppress(ValueError):  # no usable sentences; test_no_usable_sentence
            sentences.extend(source)
        return sentences, source.counts


def texts(source: TextSource) -> list[str]:
    return [sentence.text for sentence in source]


def refusal(kind: type[Exception], source: str, **options) -> str:
    """Give the one line with which a source is refused, when it is made or when it is read."""
    with pytest.raises(kind) as caught:
        list(TextSource(source, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("`data.train` must ")
    return message


# --- lines -------------------------------------------------------------------------------------


def test_lines_by_hand(write):
    data = (
        BOM + b"one\r\n\r\n  two\t\nthree\rfour\x00\x0b4\xc2\x85\xe2\x80\xa8four\n\xe3\x80\x80\nend"
    )
    source = TextSource(write(data))
    assert list(source) == [
        Sentence("one", "a.txt", 1),
        Sentence("two", "a.txt", 3),
        Sentence("three", "a.txt", 4),
        Sentence("four\x00\x0b4\x85\u2028four", "a.txt", 5),
        Sentence("end", "a.txt", 7),
    ]
    assert source.counts == Counts(read=7, kept=5, blank=2)
    assert str(source.counts) == "5 of 7 lines kept (2 blank)"


def test_blocks_say_where_a_sentence_stands(write):
    source = TextSource(write(b"one\n\ntwo\n"))
    (block,) = source.blocks()
    assert block.texts == ["one", "two"]
    assert block.where(1) == "a.txt:3"


def test_only_the_first_byte_order_mark_goes():
    assert [s.text for s in read_bytes(BOM + BOM + b"a\n" + BOM + b"b")[0]] == [
        "\ufeffa",
        "\ufeffb",
    ]


@pytest.mark.parametrize("data", [b"", BOM, b"\n", b"\r\n\r", BOM + b"\n"])
@pytest.mark.parametrize("block_bytes", [1, 2, 100])
def test_nothing_but_line_ends(data, block_bytes):
    sentences, counts = read_bytes(data, block_bytes=block_bytes)
    assert sentences == []
    assert counts.read == counts.blank == len(data.removeprefix(BOM).splitlines())


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
            counts.too_long += 1
        elif not is_valid and errors == "skip":
            counts.invalid += 1
        elif not text:
            counts.blank += 1
        else:
            counts.kept += 1
            counts.repaired += not is_valid
            expected.append(Sentence(text, "standard input", number))
    for size in (block_bytes, 1000):
        read = read_bytes(data, errors=errors, max_line_bytes=max_line_bytes, block_bytes=size)
        assert read == (expected, counts)
    assert counts.kept + counts.dropped == counts.read


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(LINE, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 40))
@settings(deadline=None)
def test_any_text_and_any_line_end(lines, line_end, block_bytes):
    data = "".join(line + line_end for line in ["first", *lines]).encode("utf-8")
    sentences, counts = read_bytes(data, block_bytes=block_bytes)
    kept = [(text, n) for n, line in enumerate(lines, start=2) if (text := line.strip())]
    assert [(text, line) for text, _, line in sentences] == [("first", 1), *kept]
    assert counts.kept + counts.dropped == counts.read == len(lines) + 1


def test_a_line_of_exactly_the_cap_is_kept():
    sentences, counts = read_bytes(b"abcd\nabcde\n\xc3\xa9\xc3\xa9", max_line_bytes=4)
    assert [(s.text, s.line) for s in sentences] == [("abcd", 1), ("éé", 3)]
    assert counts == Counts(read=3, kept=2, too_long=1)


def test_a_huge_line_in_bounded_memory(tmp_path):
    path = tmp_path / "huge.txt"
    with open(path, "wb") as file:
        file.write(b"before\n")
        file.truncate(100_000_000)  # a hole: 100 MB of NUL without a line end
        file.seek(0, os.SEEK_END)
        file.write(b"\nafter\n")
    tracemalloc.start()
    try:
        source = TextSource(str(path))
        assert [(s.text, s.line) for s in source] == [("before", 1), ("after", 3)]
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert source.counts == Counts(read=3, kept=2, too_long=1)


# --- what is not UTF-8 -------------------------------------------------------------------------


def test_strict_names_file_line_and_byte(write):
    message = refusal(ValueError, write(b"one\n\ncaf\xe9 noir\n"))
    assert "line 3 of 'a.txt' has the invalid byte 0xe9 at byte 4 instead" in message
    assert "iconv -f LATIN1" in message
    assert "`data.errors` to replace or skip" in message


def test_utf_16_is_recognised(write):
    assert "iconv -f UTF-16" in refusal(ValueError, write("one\ntwo\n".encode("utf-16")))


def test_replace_and_skip(write):
    name = write(b"one\ncaf\xe9\n\xed\xa0\x80\n")
    assert texts(TextSource(name, errors="replace")) == ["one", "caf\ufffd", "\ufffd" * 3]
    source = TextSource(name, errors="skip")
    assert texts(source) == ["one"]
    assert str(source.counts) == "1 of 3 lines kept (2 not UTF-8)"


# --- kinds of sources --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".GZ", gzip.compress),
    ],
)
def test_packed_files(write, suffix, pack):
    packed = pack(b"one\ntwo\n") + pack(b"three\n")  # two members, as `cat a.gz b.gz` makes them
    assert texts(TextSource(write(packed, f"a.txt{suffix}"))) == ["one", "two", "three"]
    for damaged in (packed[:-4], b"no such header" + packed):
        assert "is damaged or cut off" in refusal(ValueError, write(damaged, f"b.txt{suffix}"))


def test_a_bomb_is_refused_and_the_limit_can_be_lifted(write, monkeypatch):
    monkeypatch.setattr(source_files, "BOMB_FLOOR", 100_000)
    name = write(gzip.compress(b"again and again\n" * 100_000), "bomb.gz")  # 1.6 MB in 4 kB
    message = refusal(ValueError, name)
    assert "more than 200 times its size" in message
    assert len(texts(TextSource(name, max_expansion=0))) == 100_000


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.txt.zst"])
def test_archives_of_another_kind_are_refused(write, name):
    assert f"'{name}' is an archive of another kind" in refusal(ValueError, write(b"PK", name))


def test_a_folder_is_read_in_the_order_of_its_paths(write):
    write(b"B", "text/b.txt")
    write(b"C", "text/deep/er/c.txt")
    write(b"A\nA2", "text/a.txt")
    write(b"no", "text/readme.md")
    write(b"no", "text/.hidden.txt")
    write(b"no", "text/.git/a.txt")
    source = TextSource("text")
    assert list(source) == [
        Sentence("A", "text/a.txt", 1),
        Sentence("A2", "text/a.txt", 2),
        Sentence("B", "text/b.txt", 1),
        Sentence("C", "text/deep/er/c.txt", 1),
    ]
    assert source.counts == Counts(read=4, kept=4)


def test_a_folder_without_text_is_named(write):
    write(b"no", "text/readme.md")
    message = refusal(FileNotFoundError, "text")
    assert "a folder of .txt files, but there is none in or below 'text'" in message


def test_a_builtin_name_means_the_corpus_and_a_path_means_the_file(write):
    write(b"mine", "hsk")
    assert texts(TextSource("hsk")) == load_builtin("hsk")
    assert texts(TextSource("./hsk")) == ["mine"]


def test_standard_input_is_read_once(monkeypatch):
    use_standard_input(monkeypatch, b"one\ntwo")
    source = TextSource("-")
    assert not source.can_reread
    assert source.fingerprint is None
    assert list(source)[1] == Sentence("two", "standard input", 2)
    with pytest.raises(ValueError, match="must be a file where it is read more than once"):
        next(source.blocks())


def test_standard_input_of_a_process():
    program = "from seqae.data.sources import TextSource; print([s.text for s in TextSource('-')])"
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"one\r\ntwo", stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.strip() == b"['one', 'two']"


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
    sentences = iter(TextSource(str(path)))
    assert next(sentences).text == "one"  # the producer still waits for us
    may_go_on.set()
    assert [sentence.text for sentence in sentences] == ["two"]
    producer.join()


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my.txt", "", "no/such/file", "a\0b", "wordnet"])
def test_what_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(FileNotFoundError, name) == (
        "`data.train` must be a text file, a folder of .txt files, - or one of wordnet-examples, "
        f"speeches, hsk, but there is no {name!r}. Check the path."
    )


def test_a_name_too_long_is_refused_in_a_short_line():
    assert len(refusal(OSError, "x" * 100_000)) < 400


def test_no_permission(write, monkeypatch):
    name = write(b"one")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert "no permission to read 'a.txt'" in refusal(PermissionError, name)


def test_no_permission_below_a_folder(write, monkeypatch):
    write(b"one", "text/deep/a.txt")
    scandir = os.scandir

    def refuse(path):
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "no permission to read 'text/deep'" in refusal(PermissionError, "text")


def test_a_file_that_goes_or_changes_is_named(write):
    source = TextSource(write(b"one\n"))
    assert texts(source) == ["one"]
    write(b"one\ntwo\n")
    with pytest.raises(ValueError, match=r"must not change while it is in use, but 'a\.txt' did"):
        list(source)
    os.remove("a.txt")
    with pytest.raises(FileNotFoundError, match=r"there is no 'a\.txt'"):
        list(source)


def test_no_usable_sentence(write):
    message = refusal(ValueError, write(b"\n \n" + b"x" * 20), max_line_bytes=10)
    assert "no usable sentences in 'a.txt': 0 of 3 lines kept (2 blank, 1 too long)." in message
    assert "'b.txt': 0 of 0 lines kept." in refusal(ValueError, write(b"", "b.txt"))


def test_messages_begin_with_the_key_of_the_caller(write):
    with pytest.raises(FileNotFoundError, match=r"^`data\.val` must be"):
        TextSource("none.txt", key="data.val")
    with pytest.raises(ValueError, match=r"^`data\.errors` must be one of strict, replace, skip"):
        TextSource(write(b"a"), errors="ignore")


# --- fingerprints ------------------------------------------------------------------------------


def test_fingerprint_follows_the_files_and_the_options(write):
    write(b"one\n", "text/a.txt")
    first = TextSource("text").fingerprint
    assert first == TextSource("text").fingerprint
    assert first == TextSource("./text/../text").fingerprint
    assert first != TextSource("text", errors="skip").fingerprint
    assert first != TextSource("text", max_line_bytes=100).fingerprint
    assert first == TextSource("text", block_bytes=1).fingerprint
    os.utime("text/a.txt", ns=(0, 0))
    touched = TextSource("text").fingerprint
    assert touched != first
    write(b"two\n", "text/b.txt")
    assert TextSource("text").fingerprint not in (first, touched)


def test_fingerprint_of_a_builtin_needs_no_file():
    fingerprints = {TextSource(name).fingerprint for name in ("hsk", "speeches")}
    assert len(fingerprints) == 2
    assert None not in fingerprints
