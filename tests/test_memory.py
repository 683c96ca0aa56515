"""Sentences that are handed over in Python train as those of a file do, and have a name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contracts
import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from small import SENTENCES, numbered, write_text

from seqae import TextDataModule
from seqae.data.report.render import to_text
from seqae.data.sources.memory import hold, looks_like_name
from seqae.data.sources.open import open_source
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import ByteTokenizer

TEXTS = ["a cat", "the dog sat", "one", "two of them", "naïve café", "你好,世界。"]
PAIRS = [(text, text.upper()) for text in TEXTS]


def prepared(tmp_path: Path, **options: Any) -> TextDataModule:
    """A prepared data module that holds nothing out."""
    settings: dict[str, Any] = {"val_percent": 0, "test_percent": 0, "prepare_workers": 1}
    data = TextDataModule(ByteTokenizer(), cache_dir=str(tmp_path), **{**settings, **options})
    data.prepare_data()
    data.setup("fit")
    return data


def sentences_of(data: TextDataModule, split: str = "train", side: str = "text") -> list[str]:
    corpus = data.corpora[split]  # type: ignore[index]
    chosen = corpus if side == "text" else corpus.target
    return data.tokenizer.decode([chosen[index].tolist() for index in range(len(chosen))])


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        iter,
        lambda texts: (text for text in texts),
        lambda texts: pd.Series(texts, index=texts),
        np.array,
        lambda texts: pa.array(texts),
        lambda texts: datasets.Dataset.from_dict({"text": texts})["text"],
        lambda texts: datasets.Dataset.from_dict({"text": texts}),
        lambda texts: datasets.Dataset.from_dict({"text": texts}).to_iterable_dataset(),
        lambda texts: pd.DataFrame({"n": range(len(texts)), "text": texts}),
        lambda texts: pa.table({"text": texts}),
        lambda texts: {"text": texts},
    ],
)
def test_any_container(tmp_path: Path, make: Callable[[list[str]], Any]) -> None:
    data = prepared(tmp_path, train=make(TEXTS))
    assert sentences_of(data) == TEXTS
    assert data.train == hold("train", TEXTS, ReadOptions()).name  # one cache for all


def test_a_tokenizer_need_not_be_given() -> None:
    data = TextDataModule(train=TEXTS)
    assert type(data.tokenizer).__name__ == "BPETokenizer"
    message = contracts.refusal(TextDataModule, "BPETokenizer")
    assert message.startswith("`tokenizer` must be a seqae.data.tokenizers")


def test_the_same_as_a_file(tmp_path: Path) -> None:
    memory = prepared(tmp_path, train=SENTENCES, val_percent=20)
    file = prepared(tmp_path, train=str(write_text(tmp_path / "a.txt")), val_percent=20)
    for split in ("train", "val"):
        assert sentences_of(memory, split) == sentences_of(file, split)


def test_pairs(tmp_path: Path) -> None:
    table = pd.DataFrame(PAIRS, columns=["text", "target"])
    for given in (PAIRS, table):
        reading = ReadOptions(target_column="target" if given is table else None)
        data = prepared(tmp_path, train=given, reading=reading)
        assert data.is_paired
        assert data.reading.target_column == "target"
        assert sentences_of(data, side="target") == [text.upper() for text in TEXTS]
    message = contracts.refusal(prepared, tmp_path, train=PAIRS, val=TEXTS)
    assert message.startswith("`data.val` must be pairs (sentence, target)")
    message = contracts.refusal(TextDataModule, train=[*PAIRS, "alone"])
    assert "the item at index 6 is 'alone' among pairs" in message


def test_other_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"body": TEXTS, "title": TEXTS[::-1]})
    reading = ReadOptions(column="body", target_column="title")
    data = prepared(tmp_path, train=table, reading=reading)
    assert sentences_of(data, side="target") == TEXTS[::-1]
    message = contracts.refusal(TextDataModule, train=table)
    assert message.startswith("`train` must have the column 'text', but it has 'body', 'title'")


def test_what_is_blank_or_too_long_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = pd.Series([*TEXTS, " ", "x" * 50])
    data = prepared(tmp_path, train=texts, reading=ReadOptions(max_line_bytes=40))
    (source,) = data.report["sources"]
    dropped = {"blank": 1, "too long": 1}
    assert source["records"] == {"read": 8, "kept": 6, "dropped": dropped, "repaired": 0}
    assert source["name"].startswith("memory:")
    assert source["record"] == {"sentences": 8}
    report = to_text(data.report)
    assert "12.5 % of the records of the sentences given were dropped: 1 too long." in report
    assert "memory:" not in report


def test_a_sentence_that_is_too_long_is_named_by_its_index(tmp_path: Path) -> None:
    texts = ["a", " ", "b", "c" * 40]
    message = contracts.refusal(prepared, tmp_path, train=texts, max_length=20)
    assert "the sentence at index 3 (data.train) has 42 tokens" in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "`train` must hold sentences, but it is empty"),
        ([1, 2], "`train` must be texts, but the item at index 0 is an int"),
        (None, "`train` must be a sentence or a list of sentences, but it is None instead."),
        (["a", None], "`train` must be texts, but the item at index 1 is missing (None). Drop it"),
        (["a", math.nan], "`train` must be texts, but the item at index 1 is missing (nan)."),
        (pd.Series(["a", math.nan]), "`train` must be texts, but the item at index 1 is missing"),
        ([("a", "b"), ("c", None)], "`train` must be texts, but the item at index 1 is missing"),
        (pd.DataFrame({"text": [None]}), "`train` must be texts, but the item at index 0 is"),
        ({"a", "b"}, "`train` must be a list of sentences, but it is a set instead. Sort it."),
        (b"text", "`train` must be a list of sentences, but it is a bytes"),
        (["a", "\ud800"], "`train` must be Unicode text, but the one at index 1"),
        ({"train": TEXTS}, "`train` must have the column 'text', but it has 'train' instead."),
    ],
)
def test_what_is_no_text_is_refused(given: object, words: str) -> None:
    assert contracts.refusal(TextDataModule, train=given).startswith(words)


# Names or sentences


def test_a_text_is_a_name(tmp_path: Path) -> None:
    for name in ("no such file.txt", "the cat sat on the mat", tmp_path / "missing"):
        data = TextDataModule(train=name)
        with pytest.raises(FileNotFoundError, match="there is no '") as caught:
            data.prepare_data()
        assert str(name) in str(caught.value)


def test_a_list_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "a.txt", TEXTS[:2])
    write_text(tmp_path / "odd name", TEXTS[2:])
    data = prepared(tmp_path, train=["a.txt", "odd name"])
    assert sentences_of(data) == TEXTS
    assert data.train == ["a.txt", "odd name"]
    assert prepared(tmp_path, train=[Path("a.txt")]).train == ["a.txt"]
    with pytest.raises(FileNotFoundError, match="there is no 'b.txt'"):
        prepared(tmp_path, train=["a.txt", "b.txt"])
    message = contracts.refusal(TextDataModule, train=["a.txt", "c"])
    assert message.startswith("`train` must be names of sources or sentences, but 'a.txt' is a")
    assert TextDataModule(train=iter(["a.txt", "c"])).train.startswith("memory:")


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        *((name, True) for name in ("-", "hsk", "hf:a/b", "nltk:brown", "a/b", "A.TXT", "*.json")),
        *((name, True) for name in ("a.csv#body", "x.txt.gz")),
        *((text, False) for text in ("cat", "", "the cat sat.", "see a/b", "open notes.txt", "é")),
        *((text, False) for text in ("x" * 5000, "a\0b", "你好,世界。")),
    ],
)
def test_what_looks_like_a_name(text: str, is_name: bool) -> None:
    assert looks_like_name(text) == is_name


# The name


def test_the_name_is_that_of_the_content() -> None:
    names = {
        hold("train", values, ReadOptions()).name
        for values in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "c", ""], [("ab", "c")])
    }
    assert len(names) == 5
    assert hold("train", ["ab", "c"], ReadOptions()).name in names


def test_the_cache_is_enough(tmp_path: Path) -> None:
    data = prepared(tmp_path, train=TEXTS)
    name = data.train
    del data
    again = prepared(tmp_path, train=name)  # as a resumed run names it
    assert sentences_of(again) == TEXTS
    message = contracts.refusal(prepared, tmp_path / "other", train=name)
    assert message.startswith(f"`data.train` must be sentences that this process has, but {name}")
    assert "seqae.fit(sentences, resume=RUN)" in message


def test_parts_give_each_sentence_once() -> None:
    held = hold("train", numbered(10_000), ReadOptions())
    source = open_source(held.name, "data.train")
    for wanted in (1, 3):
        parts = source.parts(wanted)
        blocks = [block for part in parts for block in part.blocks()]
        assert sorted(text for block in blocks for text in block.texts) == sorted(held.texts)
    first, *rest = source.parts()[0].blocks()
    resumed = list(source.parts()[0].blocks(first.end))
    assert [block.texts for block in resumed] == [block.texts for block in rest]


def test_a_stream_of_sentences(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    data = prepared(
        tmp_path,
        train=numbered(300),
        streaming=True,
        tokenizer_sentences=50,
        stream_shards=2,
        val_percent=5,
    )
    batches = iter(data.train_dataloader())
    assert next(batches).batch.token_ids.shape[0] > 1
