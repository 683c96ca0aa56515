"""The data module: from named sources to batches."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from small import numbered, write_text

from seqae.batch import Batch
from seqae.component import from_plain
from seqae.data.config import CorpusConfig, DataConfig
from seqae.data.datamodule import TextDataModule
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.tokenizers import ByteTokenizer, WordTokenizer


def prepared(path: Path, **changes: Any) -> TextDataModule:
    settings: dict[str, Any] = {"batch_tokens": 128, "max_length": 64, "val_percent": 10}
    data = TextDataModule(ByteTokenizer(), train=str(path), **(settings | changes))
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt", numbered(200))


def sentences(data: TextDataModule, batches: Any) -> list[str]:
    rows = [
        row[1 : length - 1]
        for batch in batches
        for row, length in zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
    ]
    return data.tokenizer.decode(rows)


def test_every_sentence_once(text: Path) -> None:
    data = prepared(text)
    loaders: list[Any] = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    split = [sentences(data, loader) for loader in loaders]
    assert all(split)
    assert sorted(s for side in split for s in side) == sorted(numbered(200))


def test_batches_keep_the_budget(text: Path) -> None:
    for batch in prepared(text).train_dataloader():
        assert isinstance(batch, Batch)
        assert batch.token_ids.numel() <= 128
        assert batch.token_ids.shape[1] == batch.lengths.max()


def shapes(loader: Any) -> set[tuple[int, ...]]:
    return {tuple(batch.token_ids.shape) for batch in loader}


def test_rounded_batches_have_few_shapes(text: Path) -> None:
    plain, rounded = prepared(text), prepared(text, round_length=8, round_rows=4, max_length=60)
    few = shapes(rounded.train_dataloader())
    assert len(few) <= 0.5 * len(shapes(plain.train_dataloader()))
    assert all(rows * length <= 128 for rows, length in few)
    assert all(length % 8 == 0 or length == 60 for _, length in few)
    assert all(rows % 4 == 0 or rows < 4 for rows, _ in few)
    loaders: list[Any] = [rounded.val_dataloader(), rounded.predict_dataloader()]
    for loader in loaders:
        assert all(length % 8 == 0 for _, length in shapes(loader))


def test_rounding_changes_the_padding_only(text: Path) -> None:
    plain, rounded = prepared(text), prepared(text, round_length=8, round_rows=4)
    for batch in rounded.train_dataloader():
        beyond = torch.arange(batch.token_ids.shape[1]) >= batch.lengths[:, None]
        assert (batch.token_ids[beyond] == rounded.vocabulary.pad_id).all()
    both = [sorted(sentences(data, data.train_dataloader())) for data in (plain, rounded)]
    assert both[0] == both[1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_workers_give_the_same_batches(text: Path) -> None:
    alone, helped = (list(prepared(text, num_workers=n).train_dataloader()) for n in (0, 2))
    assert len(alone) == len(helped)
    assert all(torch.equal(a.token_ids, h.token_ids) for a, h in zip(alone, helped, strict=True))


def test_loading_draws_nothing_from_the_global_generator(text: Path) -> None:
    data = prepared(text)
    before = torch.get_rng_state()
    list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_another_order(text: Path) -> None:
    orders = [sentences(d, d.train_dataloader()) for d in (prepared(text), prepared(text, seed=1))]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_predictions_know_their_place(text: Path) -> None:
    data = prepared(text)
    corpus = data.corpora["test"]
    rows = data.predict_rows()
    assert sorted(int(i) for row in rows for i in row) == list(range(len(corpus)))
    for row, batch in zip(rows, data.predict_dataloader(), strict=True):
        assert [corpus[int(i)].tolist() for i in row] == [
            ids[:n] for ids, n in zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
        ]


def test_setup_alone_is_enough(text: Path) -> None:
    data = TextDataModule(ByteTokenizer(), train=str(text), max_length=64)
    data.setup("fit")
    assert len(data.corpora["train"])


def test_used_before_it_is_ready(text: Path) -> None:
    with pytest.raises(ValueError, match="Call `prepare_data` and `setup`"):
        TextDataModule(ByteTokenizer(), train=str(text)).train_dataloader()


def test_nothing_held_out(text: Path) -> None:
    data = prepared(text, val_percent=0, test_percent=0)
    assert data.val_dataloader() == data.test_dataloader() == []
    with pytest.raises(ValueError, match="`data.test` must have sentences to predict"):
        data.predict_dataloader()


def test_several_sources(tmp_path: Path) -> None:
    paths = [write_text(tmp_path / f"{n}.txt", [f"only {n}"]) for n in range(2)]
    data = TextDataModule(
        ByteTokenizer(), train=list(map(str, paths)), val_percent=0, test_percent=0
    )
    data.setup("fit")
    assert sorted(sentences(data, data.train_dataloader())) == ["only 0", "only 1"]


def test_tells_what_there_is(text: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "seqae"):
        prepared(text, max_length=12, too_long="truncate")
    assert "training tokens; vocabulary of" in caplog.messages[0]
    assert "of the sentences" in caplog.text
    assert "truncated to 12 tokens" in caplog.text


def test_warns_of_unknown_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = write_text(tmp_path / "text.txt", ["known " * 5, *[f"rare{i}" for i in range(50)]])
    with caplog.at_level(logging.WARNING, "seqae"):
        TextDataModule(
            WordTokenizer(min_frequency=2), train=str(text), val_percent=0, test_percent=0
        ).setup("fit")
    assert "tokens of train are unknown to the tokenizer" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_tokens", 0),
        ("eval_batch_tokens", 0),
        ("round_length", 0),
        ("round_rows", 9000),
        ("max_length", 2),
        ("val_percent", 100),
        ("test_percent", 95),
        ("num_workers", -1),
        ("prepare_workers", 0),
        ("stream_shards", 0),
        ("shuffle_buffer", 0),
        ("tokenizer_sentences", 0),
        ("too_long", "cut"),
    ],
)
def test_refuses(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^`data.{key}` must be "):
        TextDataModule(ByteTokenizer(), **{key: value})


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="batch_token"):
        TextDataModule(ByteTokenizer(), batch_token=100)


def test_other_processes_get_the_options_alone(text: Path) -> None:
    data = prepared(text, cleaning=CleanOptions(lowercase=True), max_length=60)
    config = pickle.loads(pickle.dumps(data.corpus_config))
    assert type(config) is CorpusConfig
    assert config.to_dict() == data.to_dict()
    assert data.to_dict()["train"] == [str(text)]
    assert "batch_tokens" not in data.to_dict()


def test_a_saved_section_is_read_back() -> None:
    section = {"train": "hsk", "val": None, "reading": {"column": "body"}, "num_workers": 2}
    config: DataConfig = from_plain(section, DataConfig, "data")
    config.check()
    assert config.source_names == {"train": ("hsk",), "val": (), "test": ()}
    assert (config.reading.column, config.num_workers, config.max_length) == ("body", 2, 128)
    for wrong in ({"reading": {"colum": "a"}}, {"batch_token": 1}, {"max_length": "long"}):
        with pytest.raises(ValueError, match="`data"):
            from_plain(wrong, DataConfig, "data")
