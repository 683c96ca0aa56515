"""Preparing data: once, whole or not at all, and never from a stale cache."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from small import SENTENCES, numbered, write_text

from seqae.data.config import CorpusConfig, default_cache_dir
from seqae.data.prepared import cache as cache_module
from seqae.data.prepared import corpus_writer as corpus_module
from seqae.data.prepared import prepare as preparation
from seqae.data.prepared import sealed_files
from seqae.data.prepared.cache import open_prepared, prepare
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.prepared.prepare import Encode, Preparation
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.sources.formats.reader import Reader
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import BPETokenizer, ByteTokenizer, WordTokenizer

TOKENIZER = ByteTokenizer()


def settings(*train: object, **changes: Any) -> CorpusConfig:
    values: dict[str, Any] = {"max_length": 64, "val_percent": 0, "test_percent": 0}
    return CorpusConfig(train=tuple(map(str, train)), **(values | changes))


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
    monkeypatch.setattr(Preparation, "run", None)  # a second time would fail
    assert prepare(settings(text), TOKENIZER, cache) == first


@pytest.mark.parametrize(
    "other",
    [
        {"max_length": 32},
        {"val_percent": 10},
        {"split_seed": 1},
        {"too_long": "drop"},
        {"reading": ReadOptions(errors="skip")},
        {"cleaning": CleanOptions(lowercase=True)},
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
    for text in ("one\ntwo\n", "one\ntwo\n", "one\nthree\n"):
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
    reading = ReadOptions(errors="skip")
    folder = prepare(settings(path, too_long="truncate", reading=reading), TOKENIZER, cache)
    report = open_prepared(folder, TOKENIZER.config()).report
    (told,) = report["sources"]
    assert (told["name"], told["split"]) == (str(path), "train")
    assert told["records"]["dropped"] == {"blank": 1, "not UTF-8": 1}
    assert told["sentences"] == {"read": 2, "kept": 2, "dropped": {}, "repaired": 0}
    assert told["altered"] == {"truncated": 1}
    assert report["splits"]["train"]["sentences"] == 2
    assert "truncated" in (folder / "report.txt").read_text()


def test_repetitions_are_left_out(cache: Path, tmp_path: Path) -> None:
    """The first one stays; in training none does that is measured on."""
    train = write_text(tmp_path / "train.txt", ["one", "two", "one", "three"])
    val = write_text(tmp_path / "val.txt", ["two", "four", "four", "five"])
    test = write_text(tmp_path / "test.txt", ["five", "six"])
    asked = settings(
        train, val=(str(val),), test=(str(test),), cleaning=CleanOptions(deduplicate=True)
    )
    folder = prepare(asked, TOKENIZER, cache)
    assert texts(folder) == ["one", "three"]
    assert texts(folder, "val") == ["two", "four"]
    assert texts(folder, "test") == ["five", "six"]
    report = open_prepared(folder, TOKENIZER.config()).report
    assert report["repetitions_left_out"] == {"train": 2, "val": 2, "test": 0}


def test_the_tokenizer_sees_only_so_many_sentences(cache: Path, tmp_path: Path) -> None:
    path = write_text(tmp_path / "text.txt", ["one two", "three", "four five"])
    folder = prepare(settings(path, tokenizer_sentences=2), WordTokenizer(), cache)
    tokenizer = open_prepared(folder, WordTokenizer().config()).tokenizer
    assert tokenizer.decode(tokenizer.encode(["one two three four"])) == ["one two three <unk>"]


def test_a_stream_prepares_what_is_held_out_of_its_head(cache: Path, tmp_path: Path) -> None:
    first = write_text(tmp_path / "first.txt", numbered(300))
    second = write_text(tmp_path / "second.txt", ["never read"])
    asked = settings(first, second, val_percent=30, streaming=True, tokenizer_sentences=200)
    folder = prepare(asked, TOKENIZER, cache)
    assert texts(folder) == []
    assert 0.2 < len(texts(folder, "val")) / 300 < 0.4


# Interrupted


def sentences_of(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared folder, but for reports and the times in the seals."""
    others = ("report.json", "report.txt", "files.json")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in others
    }


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CorpusConfig:
    """Three files, read in small blocks, each of which is committed."""
    monkeypatch.setattr(Reader, "__init__", partialmethod(Reader.__init__, block_bytes=1000))
    monkeypatch.setattr(preparation, "SECONDS_BETWEEN_COMMITS", 0.0)
    names = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, path in enumerate(names):
        write_text(path, [f"{number} {text}" for text in numbered(200)] + [""])
    return settings(*names, val_percent=10, test_percent=10)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        pytest.param(
            error,
            after,
            marks=() if error is KeyboardInterrupt or after == 7 else pytest.mark.slow,
        )
        for after in (0, 1, 7, 20)
        for error in (KeyboardInterrupt, MemoryError, OSError(28, "No space left"))
    ],
)
def test_an_interrupted_preparation_goes_on(
    many: CorpusConfig,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    after: int,
) -> None:
    whole = prepare(many, BPETokenizer(300), tmp_path / "other")
    encoded = 0
    encode = Encode.__call__

    def interrupted(self: Encode, item: Any) -> Any:
        nonlocal encoded
        if encoded == after:
            raise error
        encoded += 1
        return encode(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(Encode, "__call__", interrupted)
        with pytest.raises((KeyboardInterrupt, MemoryError, OSError)):
            prepare(many, BPETokenizer(300), cache, 1)
    total, encoded = encoded, 0

    def counted(self: Encode, item: Any) -> Any:
        nonlocal encoded
        encoded += 1
        return encode(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(Encode, "__call__", counted)
        patch.setattr(BPETokenizer, "train", None)  # it is trained already
        folder = prepare(many, BPETokenizer(300), cache, 1)
    assert sentences_of(folder) == sentences_of(whole)
    assert (folder / "report.json").read_text() == (whole / "report.json").read_text()
    assert left_in(cache) == {folder.name}
    assert total + encoded == 21  # nothing is done twice: 3 files of 7 blocks


KILLED = """
import os, sys, time
from pathlib import Path
from seqae.data.prepared import corpus_writer as corpus_module
from seqae.data.prepared import prepare as preparation
from seqae.data.prepared.cache import prepare
from seqae.data.config import CorpusConfig
from seqae.data.tokenizers import BPETokenizer
preparation.SECONDS_BETWEEN_COMMITS = 0.0
write = preparation.PreparationProgress.write
def told(self, path):
    write(self, path)
    print("committed", flush=True)
    time.sleep(0.2)
preparation.PreparationProgress.write = told
config = CorpusConfig(train=(sys.argv[1],), max_length=8192)
prepare(config, BPETokenizer(300), Path(sys.argv[2]), 2)
"""


def test_a_killed_preparation_goes_on(cache: Path, tmp_path: Path) -> None:
    path = write_text(
        tmp_path / "text.txt", [f"{i} {text}" for i in range(900) for text in SENTENCES]
    )
    asked = CorpusConfig(train=(str(path),), max_length=8192)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(cache)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["committed\n"] * 2
        process.kill()
    folder = prepare(asked, BPETokenizer(300), cache)
    whole = prepare(asked, BPETokenizer(300), tmp_path / "other")
    assert sentences_of(folder) == sentences_of(whole)


@pytest.mark.parametrize(
    "moment",
    [
        # The first and the last file of splits, a report, the seal, and when all is written.
        pytest.param(moment, marks=() if moment in (0, 4, 5, 14, 15, 17, 18) else pytest.mark.slow)
        for moment in range(19)
    ],
)
def test_an_interruption_at_the_end_goes_on(
    many: CorpusConfig, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Repetitions are left out then, of which no commit must know."""
    asked = replace(many, train=(*many.train, many.train[0]))
    asked = replace(asked, cleaning=CleanOptions(deduplicate=True))
    whole = prepare(asked, BPETokenizer(300), tmp_path / "other")
    write, count = corpus_module.write_synced, 0

    def interrupted(path: Path, data: bytes | str | Iterable[bytes]) -> None:
        nonlocal count
        if "state.json" not in path.name:  # which is written at every commit
            if count == moment:
                raise KeyboardInterrupt
            count += 1
        write(path, data)

    with monkeypatch.context() as patch:
        for module in (corpus_module, sealed_files, preparation):
            patch.setattr(module, "write_synced", interrupted)
        if moment < 18:  # 3 splits of 5 files, 2 reports, and their seal
            with pytest.raises(KeyboardInterrupt):
                prepare(asked, BPETokenizer(300), cache, 1)
        else:
            prepare(asked, BPETokenizer(300), cache, 1)
    folder = prepare(asked, BPETokenizer(300), cache, 1)
    assert sentences_of(folder) == sentences_of(whole)
    assert (folder / "report.json").read_text() == (whole / "report.json").read_text()


@pytest.mark.parametrize(
    "name", ["report.json", "tokenizer.json", "train/starts.bin", "val/corpus.json"]
)
def test_a_damaged_folder_is_prepared_anew(
    text: Path, cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = prepare(settings(text), TOKENIZER, cache)
    (folder / name).write_bytes(b"")
    with caplog.at_level("WARNING", "seqae"):
        assert texts(prepare(settings(text), TOKENIZER, cache)) == ["one", "two", "three"]
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("name", ["report.txt", "train/lengths.bin", "train/token_ids-00000.bin"])
def test_a_file_with_other_content_is_noticed(
    text: Path, cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = prepare(settings(text), TOKENIZER, cache)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    times = (folder / name).stat()
    (folder / name).write_bytes(data)
    os.utime(folder / name, ns=(times.st_atime_ns, times.st_mtime_ns))  # as bits that rot
    with caplog.at_level("WARNING", "seqae"):
        assert texts(prepare(settings(text), TOKENIZER, cache)) == ["one", "two", "three"]
    assert f"{name} has other content than when it was written) and is prepared" in caplog.text


def test_a_prepared_cache_is_read_without_a_lock(
    text: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only disk gives none, and no folder for copies; the tests may run as root."""
    folder = prepare(settings(text), TOKENIZER, cache)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(cache_module, "FileLock", read_only)
    monkeypatch.setattr(cache_module.tempfile, "TemporaryDirectory", read_only)
    monkeypatch.setattr(sealed_files, "atomic_write", read_only)
    assert prepare(settings(text), TOKENIZER, cache) == folder
    shutil.copytree(folder, cache / "copy", copy_function=shutil.copyfile)  # with other times
    assert cache_module.is_intact(cache / "copy")
    monkeypatch.setattr(sealed_files, "sha256_of", read_only)
    assert cache_module.is_intact(cache / "copy")  # the hashes are remembered
    with pytest.raises(OSError, match=r"`data.cache_dir` must be a folder that can be written"):
        prepare(settings(text, max_length=9), TOKENIZER, cache)


def test_closed_standard_input(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileNotFoundError, match="`data.train` must be a file"):
        prepare(settings("-"), TOKENIZER, cache)


def test_standard_input_is_named_once() -> None:
    with pytest.raises(ValueError, match="`data` must name standard input once"):
        settings("-", val=("-",)).check()


def test_one_process_or_several_give_the_same(many: CorpusConfig, tmp_path: Path) -> None:
    folders = [prepare(many, BPETokenizer(300), tmp_path / str(n), n) for n in (1, 3)]
    assert sentences_of(folders[0]) == sentences_of(folders[1])


def test_a_full_disk(many: CorpusConfig, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "x")

    monkeypatch.setattr(CorpusWriter, "append", full)
    message = r"`data.cache_dir` must be a folder with room.*: No space left.*MiB are free.*again"
    with pytest.raises(OSError, match=message):
        prepare(many, TOKENIZER, cache)


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
from seqae.data.prepared.prepare import Encode, Preparation
from seqae.data.prepared.cache import open_prepared, prepare
from seqae.data.config import CorpusConfig
from seqae.data.tokenizers import ByteTokenizer
text, cache, log = map(Path, sys.argv[1:])
run = Preparation.run
def slowly(*arguments):
    with log.open("a") as file:
        file.write("prepared\\n")
    time.sleep(0.5)
    run(*arguments)
Preparation.run = slowly
settings = CorpusConfig(train=(str(text),), max_length=64, val_percent=0, test_percent=0)
folder = prepare(settings, ByteTokenizer(), cache)
print(open_prepared(folder, ByteTokenizer().config()).corpora["train"].num_tokens)
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
