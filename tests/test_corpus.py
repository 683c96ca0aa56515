"""A tokenised corpus gives back what was written, and is there whole or not at all."""

from __future__ import annotations

import os
import pickle

import contracts
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqae.batch import Batch
from seqae.data.corpus import CorpusWriter, TokenizedCorpus, collate, write_corpus
from seqae.data.tokenizers import ByteTokenizer, WordTokenizer

SENTENCES = ["abc", "", "a much longer sentence", "é", "ab"]
LENGTHS = [5, 2, 24, 4, 4]  # bytes, bos and eos


@pytest.fixture
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def corpus(tmp_path, tokenizer) -> TokenizedCorpus:
    return write_corpus(tmp_path / "corpus", SENTENCES, tokenizer)


def test_round_trip(corpus, tokenizer):
    assert len(corpus) == 5
    assert corpus.lengths.tolist() == LENGTHS
    assert corpus.lengths.dtype == np.int32
    assert corpus.num_tokens == sum(LENGTHS)
    assert [corpus[index].tolist() for index in range(5)] == tokenizer.encode(SENTENCES)
    assert tokenizer.decode([corpus[index] for index in range(5)]) == SENTENCES
    assert corpus.counts == {
        "sentences": 5,
        "tokens": sum(LENGTHS),
        "truncated": 0,
        "too_long": 0,
        "unk": 0,
    }
    assert list(corpus)[4].tolist() == corpus[4].tolist()  # iteration ends by IndexError
    for index in (5, -1):
        with pytest.raises(IndexError):
            corpus[index]


def test_batches_written_one_after_the_other(tmp_path, tokenizer):
    with CorpusWriter(tmp_path / "c", tokenizer, 128, "error", "data.train") as writer:
        for part in (SENTENCES[:2], [], SENTENCES[2:]):
            writer.append(part, ["x"] * len(part))
    corpus = TokenizedCorpus(tmp_path / "c")
    assert [corpus[index].tolist() for index in range(5)] == tokenizer.encode(SENTENCES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_rows_are_padded_as_by_hand(corpus, indices):
    batch = corpus.__getitems__(indices)
    rows = [corpus[index].tolist() for index in indices]
    width = max(len(row) for row in rows)
    expected = [row + [corpus.pad_id] * (width - len(row)) for row in rows]
    assert isinstance(batch, Batch)
    assert batch.token_ids.dtype == batch.lengths.dtype == torch.int64
    assert batch.token_ids.tolist() == expected
    assert batch.lengths.tolist() == [len(row) for row in rows]


def test_collate_pads_as_by_hand(tokenizer):
    rows = tokenizer.encode(["ab", "", "é"])
    batch = collate(rows, tokenizer.vocabulary)
    assert batch.token_ids.tolist() == [row + [tokenizer.pad_id] * (4 - len(row)) for row in rows]
    assert batch.lengths.tolist() == [4, 2, 4]


def test_ids_take_two_bytes_up_to_65536_tokens_and_four_above(tmp_path):
    for vocab_size, width in ((2**16, 2), (2**16 + 1, 4)):
        words = [f"w{number}" for number in range(vocab_size - 4)]
        tokenizer = WordTokenizer.from_token_list(words)
        assert tokenizer.vocab_size == vocab_size
        folder = tmp_path / str(width)
        corpus = write_corpus(folder, [f"{words[0]} {words[-1]}", words[-1]], tokenizer)
        assert (folder / "token_ids.bin").stat().st_size == 7 * width
        # The special tokens are appended, so eos is the highest id.
        eos = vocab_size - 1
        assert tokenizer.eos_id == eos
        assert corpus[0].tolist() == [eos - 1, 0, vocab_size - 5, eos]
        assert corpus.__getitems__([0, 1]).token_ids.max() == eos
        assert corpus.pad_id == tokenizer.pad_id == vocab_size - 4
        assert corpus.__getitems__([0, 1]).token_ids[1, 3] == corpus.pad_id


# Long sentences


def test_truncation_keeps_the_first_tokens_and_eos(tmp_path, tokenizer):
    corpus = write_corpus(tmp_path / "c", SENTENCES, tokenizer, 5, "truncate")
    assert corpus.lengths.tolist() == [5, 2, 5, 4, 4]
    assert corpus[2].tolist() == [*tokenizer.encode(["a m"])[0]]
    assert corpus.counts["truncated"] == 1
    assert corpus.counts["tokens"] == corpus.num_tokens == 20


def test_dropping(tmp_path, tokenizer):
    corpus = write_corpus(tmp_path / "c", SENTENCES, tokenizer, 4, "drop")
    assert tokenizer.decode([corpus[index] for index in range(3)]) == ["", "é", "ab"]
    assert len(corpus) == 3
    assert corpus.counts == {
        "sentences": 3,
        "tokens": 10,
        "truncated": 0,
        "too_long": 2,
        "unk": 0,
    }


def test_everything_dropped(tmp_path, tokenizer):
    corpus = write_corpus(tmp_path / "c", ["too long"], tokenizer, 4, "drop")
    assert (len(corpus), corpus.num_tokens, corpus.lengths.tolist()) == (0, 0, [])


def test_a_long_sentence_is_an_error_that_names_its_place(tmp_path, tokenizer):
    def write() -> None:
        with CorpusWriter(tmp_path / "c", tokenizer, 4, "error", "data.val") as writer:
            writer.append(["ab"], ["a.txt:1"])
            writer.append(["ab", "abc", "abcdefgh"], ["a.txt:2", "a.txt:3", "a.txt:4"])

    message = contracts.refusal(write)
    assert "a.txt:3 (data.val) has 5 tokens" in message
    assert "Set `data.max_length: 10` or more" in message
    assert os.listdir(tmp_path) == []


def test_unknown_tokens_are_counted_after_the_cut(tmp_path):
    tokenizer = WordTokenizer.from_token_list(["a", "b"])
    corpus = write_corpus(tmp_path / "c", ["a x b y", "x x"], tokenizer, 4, "truncate")
    assert corpus.counts["unk"] == 3


# Files


def test_nothing_is_left_after_an_error(tmp_path, tokenizer, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        write_interrupted(tmp_path / "c", tokenizer)
    assert os.listdir(tmp_path) == []
    # Nor when the last step fails: a folder of that name has meanwhile been made.
    write_corpus(tmp_path / "c", SENTENCES, tokenizer)
    with pytest.raises(OSError, match="not empty"):
        write_corpus(tmp_path / "c", ["other"], tokenizer)
    assert os.listdir(tmp_path) == ["c"]
    assert len(TokenizedCorpus(tmp_path / "c")) == 5


def write_interrupted(folder, tokenizer) -> None:
    with CorpusWriter(folder, tokenizer, 128, "error", "data.train") as writer:
        writer.append(SENTENCES, SENTENCES)
        raise KeyboardInterrupt


def test_the_folder_appears_whole(tmp_path, tokenizer):
    with CorpusWriter(tmp_path / "c", tokenizer, 128, "error", "data.train") as writer:
        writer.append(SENTENCES, SENTENCES)
        assert not (tmp_path / "c").exists()
    assert sorted(os.listdir(tmp_path / "c")) == ["corpus.json", "offsets.bin", "token_ids.bin"]


@pytest.mark.parametrize("name", ["offsets.bin", "token_ids.bin"])
@pytest.mark.parametrize("keep", [-8, 0])
def test_a_damaged_corpus_is_refused(corpus, name, keep):
    path = corpus.folder / name
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    message = contracts.refusal(TokenizedCorpus, corpus.folder)
    assert "is damaged" in message


def test_it_is_pickled_by_its_path(corpus):
    data = pickle.dumps(corpus)
    assert len(data) < 500
    again = pickle.loads(data)
    assert [again[index].tolist() for index in range(5)] == [
        corpus[index].tolist() for index in range(5)
    ]
    assert isinstance(again._token_ids, np.memmap)


def test_a_batch_does_not_share_memory_with_the_file(corpus):
    before = corpus[0].copy()
    batch = corpus.__getitems__([0, 1])
    batch.token_ids.zero_()
    assert corpus[0].tolist() == before.tolist()
