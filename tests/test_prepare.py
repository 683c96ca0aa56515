"""Preparing data: once, whole or not at all, and never from a stale cache."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import numbered, write_text

from seqae.data import prepare as prepare_module
from seqae.data.corpus import CorpusWriter
from seqae.data.prepare import DataSettings, default_cache_dir, open_prepared, prepare
from seqae.data.tokenizers import BPETokenizer, ByteTokenizer, WordTokenizer

TOKENIZER = ByteTokenizer()


def settings(*train: object, **changes: Any) -> DataSettings:
    values: dict[str, Any] = {
        "train": tuple(map(str, train)),
        "val": (),
        "test": (),
        "errors": "strict",
        "max_length": 64,
        "too_long": "error",
        "val_percent": 0,
        "test_percent": 0,
        "split_seed": 0,
    }
    return DataSettings(**(values | changes))


def texts(folder: Path, split: str = "train") -> list[str]:
    prepared = open_prepared(folder, TOKENIZER.config())
    corpus = prepared.corpora[split]  # type: ignore[index]
    return prepared.tokenizer.decode([corpus[i].tolist()[1:-1] for i in range(len(corpus))])


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt", ["one", "two", "three"])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_sentences_in_order(text: Path, cache: Path) -> None:
    assert texts(prepare(settings(text), TOKENIZER, cache)) == ["one", "two", "three"]


def test_prepared_once(text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(settings(text), TOKENIZER, cache)
    monkeypatch.setattr(prepare_module, "_write", None)  # a second time would fail
    assert prepare(settings(text), TOKENIZER, cache) == first


@pytest.mark.parametrize(
    "other",
    [
        {"max_length": 32},
        {"val_percent": 10},
        {"split_seed": 1},
        {"too_long": "drop"},
        {"errors": "skip"},
    ],
)
def test_other_settings_other_data(text: Path, cache: Path, other: dict[str, Any]) -> None:
    first = prepare(settings(text), TOKENIZER, cache)
    assert prepare(settings(text, **other), TOKENIZER, cache) != first


def test_another_tokenizer_other_data(text: Path, cache: Path) -> None:
    folders = {
        prepare(settings(text), tokenizer, cache)
        for tokenizer in (TOKENIZER, WordTokenizer(), BPETokenizer(300), BPETokenizer(301))
    }
    assert len(folders) == 4


def test_a_changed_file_is_noticed(text: Path, cache: Path) -> None:
    prepare(settings(text), TOKENIZER, cache)
    write_text(text, ["uno", "dos", "three"])  # of the same size
    assert texts(prepare(settings(text), TOKENIZER, cache)) == ["uno", "dos", "three"]


def test_another_file_under_the_same_name(text: Path, cache: Path, tmp_path: Path) -> None:
    """As when a file moves: what the cache says of the old one must not be taken for the new."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for folder, words in (("here", ["a", "b"]), ("there", ["c", "d"])):
        path = write_text(tmp_path / folder / "text.txt", words)
        os.utime(path, (1, 1))
        assert texts(prepare(settings(path), TOKENIZER, cache)) == words


def test_the_same_text_by_another_path(text: Path, cache: Path, tmp_path: Path) -> None:
    prepare(settings(text), TOKENIZER, cache)
    copy = tmp_path / "copy.txt"
    copy.write_bytes(text.read_bytes())
    assert texts(prepare(settings(copy), TOKENIZER, cache)) == ["one", "two", "three"]
    write_text(copy, ["four"])
    assert texts(prepare(settings(copy), TOKENIZER, cache)) == ["four"]
    assert texts(prepare(settings(text), TOKENIZER, cache)) == ["one", "two", "three"]


# Standard input


def give_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))


def test_standard_input(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read twice, for the tokenizer and for the ids; and the same text is prepared once."""
    folders = []
    for text in ("one\ntwo\n", "one\n\ntwo", "one\nthree\n"):
        give_input(monkeypatch, text)
        folders.append(prepare(settings("-"), TOKENIZER, cache))
    assert texts(folders[0]) == ["one", "two"]
    assert folders[0] == folders[1]
    assert texts(folders[2]) == ["one", "three"]
    assert left_in(cache) == {folder.name for folder in folders}


def test_a_named_pipe(cache: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["bash", "-c", f"printf 'one\\ntwo\\n' > {pipe}"]):
        assert texts(prepare(settings(pipe), TOKENIZER, cache)) == ["one", "two"]


# Splits


def test_held_out_sentences_stand_on_one_side(cache: Path, tmp_path: Path) -> None:
    all_texts = numbered(400)
    path = write_text(tmp_path / "text.txt", [*all_texts, *all_texts])
    folder = prepare(settings(path, val_percent=20, test_percent=10), TOKENIZER, cache)
    sides = [texts(folder, split) for split in ("train", "val", "test")]
    assert sorted(text for side in sides for text in side) == sorted([*all_texts, *all_texts])
    assert not set(sides[0]) & set(sides[1]) | set(sides[0]) & set(sides[2])
    assert 0.15 < len(sides[1]) / 800 < 0.25


def test_files_for_each_split(text: Path, cache: Path, tmp_path: Path) -> None:
    val = write_text(tmp_path / "val.txt", ["four", "five"])
    folder = prepare(
        settings(text, val=(str(val),), val_percent=50, test_percent=0), TOKENIZER, cache
    )
    assert texts(folder) == ["one", "two", "three"]
    assert texts(folder, "val") == ["four", "five"]
    assert texts(folder, "test") == []


def test_report(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\n\n" + b"x" * 100 + b"\ntwo\xff\n")
    folder = prepare(settings(path, too_long="truncate", errors="skip"), TOKENIZER, cache)
    report = open_prepared(folder, TOKENIZER.config()).report
    told = report["sources"][str(path)]
    assert (told["read"], told["kept"], told["blank"], told["invalid"]) == (4, 2, 1, 1)
    assert report["splits"]["train"]["sentences"] == 2
    assert report["splits"]["train"]["truncated"] == 1


# What goes wrong leaves nothing


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left")])
@pytest.mark.parametrize("moment", ["train", "append", "write"])
def test_an_interruption_leaves_nothing(
    text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, moment: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        if moment == "train":
            patch.setattr(BPETokenizer, "train", interrupt)
        elif moment == "append":
            patch.setattr(CorpusWriter, "append", interrupt)
        else:
            patch.setattr(prepare_module, "asdict", interrupt, raising=True)
            patch.setattr(prepare_module, "_cache_key", lambda *_: "key")
        with pytest.raises((KeyboardInterrupt, MemoryError, OSError)):
            prepare(settings(text), BPETokenizer(300), cache)
    assert left_in(cache) == set()
    prepare(settings(text), BPETokenizer(300), cache)
    assert len(left_in(cache)) == 1


def test_a_killed_process_leaves_what_the_next_one_clears(text: Path, cache: Path) -> None:
    folder = prepare(settings(text), TOKENIZER, cache)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    folder.rename(unfinished)
    (unfinished / "report.json").unlink()
    (unfinished / "train" / "token_ids.bin").write_bytes(b"half")
    assert texts(prepare(settings(text), TOKENIZER, cache)) == ["one", "two", "three"]
    assert left_in(cache) == {folder.name}


def test_a_sentence_too_long_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    path = write_text(tmp_path / "text.txt", ["fine", "x" * 100])
    with pytest.raises(ValueError, match=r"`data.max_length` .*text.txt:2 .*102 tokens"):
        prepare(settings(path), TOKENIZER, cache)
    assert left_in(cache) == set()


def test_nothing_left_for_training(text: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"`data.train` must have sentences for training"):
        prepare(settings(text, max_length=4, too_long="drop"), TOKENIZER, cache)
    assert left_in(cache) == set()


def test_a_cache_that_cannot_be_made(text: Path) -> None:
    with pytest.raises(OSError, match=r"`data.cache_dir` must be a folder .* Set another one."):
        prepare(settings(text), TOKENIZER, text / "cache")


# Two at once

PREPARE = """
import sys, time
from pathlib import Path
from seqae.data import prepare
from seqae.data.tokenizers import ByteTokenizer
text, cache, log = map(Path, sys.argv[1:])
write = prepare._write
def slowly(*arguments):
    with log.open("a") as file:
        file.write("prepared\\n")
    time.sleep(0.5)
    write(*arguments)
prepare._write = slowly
settings = prepare.DataSettings((str(text),), (), (), "strict", 64, "error", 0, 0, 0)
folder = prepare.prepare(settings, ByteTokenizer(), cache)
print(prepare.open_prepared(folder, ByteTokenizer().config()).corpora["train"].num_tokens)
"""


def test_two_processes_prepare_once(text: Path, cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREPARE, text, cache, tmp_path / "log"]
    both = [
        subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    tokens = len("onetwothree") + 3 * 2
    assert [process.communicate(timeout=100)[0] for process in both] == [f"{tokens}\n"] * 2
    assert (tmp_path / "log").read_text() == "prepared\n"


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQAE_CACHE", "/a")
    assert default_cache_dir() == Path("/a")
    monkeypatch.delenv("SEQAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert default_cache_dir() == Path("/b/seqae")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert default_cache_dir() == Path("/c/.cache/seqae")
