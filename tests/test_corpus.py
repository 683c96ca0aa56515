"""A tokenised corpus gives back what was written, also after an interruption, and over shards."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import contracts
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import block_of, encode_block, write_corpus

from seqae.batch import Batch
from seqae.data.batches.padding import collate
from seqae.data.batches.sampler import TokenBudgetBatchSampler, make_loader
from seqae.data.prepared import corpus_writer as corpus_module
from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.tokenizers import ByteTokenizer, Tokenizer, WordTokenizer

SENTENCES = ["abc", "", "a much longer sentence", "é", "ab"]
LENGTHS = [5, 2, 24, 4, 4]  # bytes, bos and eos
UINT16 = np.dtype(np.uint16)


@pytest.fixture
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def corpus(tmp_path: Path, tokenizer: Tokenizer) -> TokenizedCorpus:
    return write_corpus(tmp_path / "corpus", SENTENCES, tokenizer)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "SHARD_TOKENS", 6)


def texts(corpus: TokenizedCorpus, tokenizer: Tokenizer) -> list[str]:
    return tokenizer.decode([corpus[index] for index in range(len(corpus))])


def rows_of(tokenizer: Tokenizer, *sentences: str):
    return encode_block(block_of(sentences), tokenizer).rows["train"]


def test_round_trip(corpus, tokenizer):
    assert len(corpus) == 5
    assert corpus.lengths.tolist() == corpus.batch_lengths.tolist() == LENGTHS
    assert corpus.lengths.dtype == np.int32
    assert corpus.num_tokens == sum(LENGTHS)
    assert [corpus[index].tolist() for index in range(5)] == tokenizer.encode(SENTENCES)
    assert texts(corpus, tokenizer) == SENTENCES
    assert list(corpus)[4].tolist() == corpus[4].tolist()  # iteration ends by IndexError
    for index in (5, -1):
        with pytest.raises(IndexError):
            corpus[index]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_rows_are_padded_as_by_hand(corpus, indices):
    check_padding(corpus, indices)


def check_padding(corpus: TokenizedCorpus, indices: list[int]) -> None:
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
        assert (folder / "token_ids-00000.bin").stat().st_size == 7 * width
        # The special tokens are appended, so eos is the highest id.
        eos = vocab_size - 1
        assert tokenizer.eos_id == eos
        assert corpus[0].tolist() == [eos - 1, 0, vocab_size - 5, eos]
        assert corpus.__getitems__([0, 1]).token_ids.max() == eos
        assert corpus.pad_id == tokenizer.pad_id == vocab_size - 4
        assert corpus.__getitems__([0, 1]).token_ids[1, 3] == corpus.pad_id


# Shards


@pytest.mark.usefixtures("small_shards")
def test_sentences_never_cross_shards(tmp_path, tokenizer):
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id)
    for sentence in SENTENCES:
        writer.append(rows_of(tokenizer, sentence))
    corpus = writer.finish()
    assert [len(shard) for shard in corpus.shards] == [7, 24, 8]
    assert texts(corpus, tokenizer) == SENTENCES
    check_padding(corpus, [4, 0, 2, 2, 1, 3])


# Going on


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("committed", range(6))
def test_what_was_not_committed_is_forgotten(tmp_path, tokenizer, committed):
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id)
    state = writer.commit()
    for number, sentence in enumerate(SENTENCES, start=1):
        writer.append(rows_of(tokenizer, sentence))
        if number == committed:
            state = writer.commit()
    writer.close()
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id, state=state)
    for sentence in SENTENCES[committed:]:
        writer.append(rows_of(tokenizer, sentence))
    corpus = writer.finish()
    assert texts(corpus, tokenizer) == SENTENCES
    assert [len(shard) for shard in corpus.shards] == [7, 24, 8]


def test_a_writer_without_state_begins_anew(tmp_path, tokenizer):
    write_corpus(tmp_path / "c", SENTENCES, tokenizer)
    assert texts(write_corpus(tmp_path / "c", ["x"], tokenizer), tokenizer) == ["x"]


# Leaving out, and pairs


@pytest.mark.usefixtures("small_shards")
def test_sentences_left_out_of_the_index(tmp_path, tokenizer):
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id)
    for sentence in SENTENCES:
        writer.append(rows_of(tokenizer, sentence))
    corpus = writer.finish(np.asarray([True, False, False, True, True]))
    assert texts(corpus, tokenizer) == ["abc", "é", "ab"]
    assert corpus.num_tokens == 5 + 4 + 4
    check_padding(corpus, [2, 1, 0])


def test_pairs(tmp_path, tokenizer):
    block = block_of(["a document", "b"], ["sum", "longer than b"])
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id, is_paired=True)
    writer.append(encode_block(block, tokenizer).rows["train"])
    corpus = writer.finish()
    assert corpus.target is not None
    assert texts(corpus, tokenizer) == ["a document", "b"]
    assert texts(corpus.target, tokenizer) == ["sum", "longer than b"]
    assert corpus.batch_lengths.tolist() == [12, 15]
    batch = corpus.__getitems__([1, 0])
    assert tokenizer.decode(batch.token_ids) == ["b", "a document"]
    assert tokenizer.decode(batch.target_batch.token_ids) == ["longer than b", "sum"]
    left = CorpusWriter(tmp_path / "d", UINT16, tokenizer.pad_id, is_paired=True)
    left.append(encode_block(block, tokenizer).rows["train"])
    corpus = left.finish(np.asarray([False, True]))
    assert corpus.target is not None
    assert texts(corpus.target, tokenizer) == ["longer than b"]


def test_the_hash_of_a_pair_has_both_sides(tmp_path, tokenizer):
    writer = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id, is_paired=True)
    block = block_of(["a", "a", "b", "a"], ["x", "y", "x", "x"])
    writer.append(encode_block(block, tokenizer).rows["train"])
    hashes = writer.read_hashes().tolist()
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]
    writer.close()


# Files


@pytest.mark.parametrize("name", ["starts", "lengths", "hashes", "token_ids-00000"])
@pytest.mark.parametrize("keep", [-8, 0])
def test_a_damaged_corpus_is_refused(corpus, name, keep):
    path = corpus.folder / f"{name}.bin"
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
    assert isinstance(again.shards[0], np.memmap)


def test_a_batch_does_not_share_memory_with_the_file(corpus):
    before = corpus[0].copy()
    batch = corpus.__getitems__([0, 1])
    batch.token_ids.zero_()
    assert corpus[0].tolist() == before.tolist()


def test_an_empty_corpus(tmp_path, tokenizer):
    corpus = CorpusWriter(tmp_path / "c", UINT16, tokenizer.pad_id).finish()
    assert (len(corpus), corpus.num_tokens, corpus.lengths.tolist()) == (0, 0, [])


def test_a_folder_can_be_moved(corpus, tokenizer, tmp_path):
    shutil.move(corpus.folder, tmp_path / "elsewhere")
    assert texts(TokenizedCorpus(tmp_path / "elsewhere"), tokenizer) == SENTENCES
    assert os.listdir(tmp_path) == ["elsewhere"]


# Files that change under a reader


def change(path: Path, data: bytes) -> None:
    """Write into the very file that is mapped, as `cp` does."""
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.parametrize("name", ["starts", "lengths", "token_ids-00000"])
def test_a_file_that_is_shortened_in_use_is_no_sigbus(corpus, name):
    path = corpus.folder / f"{name}.bin"
    os.truncate(path, 0)
    with pytest.raises(ValueError, match=r"`data.cache_dir` must not be changed while .*shortened"):
        corpus.__getitems__([0, 1])
    with pytest.raises(ValueError, match=rf"but .*{name}.bin has 0 bytes and not "):
        corpus.check_unchanged()


def test_a_file_that_is_overwritten_in_use_is_named(corpus):
    corpus.check_unchanged()
    path = corpus.folder / "token_ids-00000.bin"
    change(path, b"\xff\xff")
    with pytest.raises(ValueError, match=r"`data.cache_dir` must not be changed .*overwritten"):
        corpus.__getitems__([0, 1])
    with pytest.raises(ValueError, match=r"but .*ids-00000.bin has other content than when it was"):
        corpus.check_unchanged()


def test_what_does_no_harm_to_a_reader(corpus):
    os.utime(corpus.folder / "starts.bin", ns=(0, 0))  # clusters remove what nobody touches
    corpus.check_unchanged()
    before = corpus.__getitems__([0, 1]).token_ids
    path = corpus.folder / "token_ids-00000.bin"
    path.unlink()
    corpus.check_unchanged()
    shutil.rmtree(corpus.folder)
    corpus.check_unchanged()
    assert corpus.__getitems__([0, 1]).token_ids.equal(before)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_names_the_change(tmp_path, tokenizer, num_workers):
    corpus = write_corpus(tmp_path / "corpus", SENTENCES * 9, tokenizer)
    sampler = TokenBudgetBatchSampler(corpus.lengths, 16)
    loader = make_loader(corpus, sampler, num_workers, False)
    assert sum(len(batch.lengths) for batch in loader) == len(corpus)
    batches = iter(loader)
    next(batches)
    os.truncate(corpus.folder / "token_ids-00000.bin", 2)
    with pytest.raises(ValueError, match=r"^`data.cache_dir` must not be changed [^\n]*$"):
        list(batches)
    with pytest.raises(ValueError, match=r"^`data.cache_dir` must not be changed"):
        next(iter(loader))
