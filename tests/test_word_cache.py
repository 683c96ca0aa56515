"""Piece by piece, the ids are those that the library gives for the whole text."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokenizers import REAL, SPECIAL_LOOKING, huggingface

from seqae.data.builtin import builtin_names, load_builtin
from seqae.data.tokenizers import BPETokenizer, Tokenizer, UnigramTokenizer, WordTokenizer
from seqae.data.tokenizers import base as tokenizer_base
from seqae.data.tokenizers import byte_level as tokenizer_bytes
from seqae.data.tokenizers import word_cache as tokenizer_pieces
from seqae.data.tokenizers.word_cache import PieceTable

NAMES = ["words", "basic_english", "bpe", "unigram"]


@functools.cache
def trained(name: str) -> Tokenizer:
    tokenizer: Tokenizer = {
        "words": lambda: WordTokenizer(),
        "basic_english": lambda: WordTokenizer(normalization="basic_english"),
        "bpe": lambda: BPETokenizer(vocab_size=1500),
        "unigram": lambda: UnigramTokenizer(vocab_size=1500),
    }[name]()
    # Blanks, new lines and /> are in many tokens, so that a wrong cut shows.
    odd = [
        "a\n\n\nb",
        "a\n\t\tb",
        "a  b",
        "  a \t\n b  ",
        "it's 's <br /> /> <br",
        ' "/> a" /b',
        "你好 世界",
    ]
    tokenizer.train([*load_builtin("wordnet-examples")[::20], *(odd + REAL) * 20])
    return tokenizer


@functools.cache
def library(name: str) -> hf.Tokenizer:
    return huggingface(trained(name))


def expected(name: str, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in library(name).encode_batch(texts)]


WHITE_SPACE = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u200a\u200b\u2028\u2029\u3000"
PARTS = st.one_of(
    st.text(max_size=12),
    st.text(WHITE_SPACE, min_size=1, max_size=4),
    st.text("   '\"/<>br.,abAB1é\u0130\u03a3\u0301你好😀\u200d\ufe0f\u0663", max_size=16),
    st.sampled_from([" ", " ", " ", "'s", "'ll", " '", "<br />", '<"br" "/">', "\0", "\ufeff"]),
    st.sampled_from([*REAL, *SPECIAL_LOOKING, "the", "of", "and", "👩‍👩‍👧‍👦", "x" * 600]),
)
TEXTS = st.lists(st.lists(PARTS, max_size=8).map("".join), max_size=6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(texts=TEXTS)
def test_any_text_has_the_ids_of_the_library(name: str, texts: list[str]) -> None:
    tokenizer = trained(name)
    known = tokenizer.encode(texts)
    tokenizer._tables.clear()
    assert known == tokenizer.encode(texts) == expected(name, texts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corpus", builtin_names())
def test_the_built_in_corpora_have_the_ids_of_the_library(name: str, corpus: str) -> None:
    texts = load_builtin(corpus)[::9]
    assert trained(name).encode(texts) == expected(name, texts)


@pytest.mark.parametrize("name", NAMES)
def test_long_and_odd_texts_have_the_ids_of_the_library(name: str) -> None:
    rng = random.Random(3)
    texts = [
        "x" * 20_000,
        " " * 20_000,
        "\n" * 20_000,
        "ab " * 10_000,
        "".join(rng.choices(WHITE_SPACE + "ab<br/>\"'", k=20_000)),
        "".join(map(chr, rng.choices([*range(0xD800), *range(0xE000, 0x110000)], k=20_000))),
        *("".join(rng.choices('  <br/>"Bba.', k=12)) for _ in range(3000)),
    ]
    rng.shuffle(texts)
    assert trained(name).encode(texts) == expected(name, texts)


@pytest.mark.parametrize("name", ["words", "bpe"])
def test_no_white_space_of_the_library_is_missing_in_pythons(name: str) -> None:
    cutter = library(name).pre_tokenizer
    assert cutter is not None
    others = [chr(i) for i in (*range(0xD800), *range(0xE000, 0x110000)) if not chr(i).isspace()]
    # Bit by bit, because Python makes all of the words at once.
    for start in range(0, len(others), 2**16):
        some = others[start : start + 2**16]
        words = cutter.pre_tokenize_str("".join(f" {character}" for character in some))
        assert len(words) == len(some)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = load_builtin("speeches")[:500]
    for limit in ("MAX_PIECES", "MAX_CHARACTERS"):
        monkeypatch.setattr(tokenizer_base, "CHUNK", 8)
        monkeypatch.setattr(tokenizer_pieces, limit, 400)
        tokenizer = copy.deepcopy(trained(name))
        assert tokenizer.encode(texts) == expected(name, texts)
        (table,) = tokenizer._tables
        assert len(table) <= 400
        monkeypatch.undo()
    tokenizer.encode(texts)
    assert len(tokenizer._tables[0]) > 400


def test_pieces_are_encoded_once() -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        asked.append(texts)
        return np.array([len(text) for text in texts]), np.ones(len(texts), np.int64)

    table = PieceTable(encode, np.uint16)
    ids, lengths = table.encode(["a bcd a", "", " a", "a  bcd"])
    assert asked == [["a", " bcd", " a", "", "a "]]
    assert ids.tolist() == [1, 4, 2, 0, 0, 2, 2, 4]
    assert lengths.tolist() == [3, 1, 2, 2]
    assert table.encode(["bcd a"])[0].tolist() == [3, 2]
    assert asked[1:] == [["bcd"]]


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_words_are_joined_for_the_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_bytes, "JOINED", 3)
    texts = ["the cat", " a", "é", "1990", " 's", "'s", "\u0301", " ...", "a\n\nb c", " \u3042"]
    odd = ["", " ", "\n", "a ", " a\t", "a\n\n", "\ta", "  a", "\t\tb", "\n\n\nb"]
    cases = [texts, texts[1:2], *([text] for text in odd)]
    cases += [[*texts[:2], *pair, *texts[2:]] for pair in itertools.product(odd, odd)]
    tokenizer = trained(name)
    for case in cases:
        ids, lengths = tokenizer._encode_pieces(case)
        encodings = library(name).encode_batch(case, add_special_tokens=False)
        assert lengths.tolist() == [len(encoding.ids) for encoding in encodings]
        assert ids.tolist() == [token_id for encoding in encodings for token_id in encoding.ids]


def test_what_was_known_is_forgotten_when_trained_anew() -> None:
    tokenizer = BPETokenizer(vocab_size=300)
    tokenizer.train(["abab abab"])
    assert len(tokenizer.encode(["abab"])[0]) == 3
    tokenizer.train(["cdcd cdcd"])
    assert len(tokenizer.encode(["abab"])[0]) == 6


def test_an_exception_leaves_nothing_half_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(trained("bpe"))
    tokenizer.encode(["known words"])

    def interrupt(texts: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer._tables[0], "_encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(["unknown words"])
    assert tokenizer.encode(["unknown words"]) == expected("bpe", ["unknown words"])


def test_threads_give_the_same_ids() -> None:
    tokenizer = copy.deepcopy(trained("bpe"))
    corpus = load_builtin("speeches")
    parts = [corpus[start : start + 200] for start in range(0, 4000, 200)]
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(tokenizer.encode, parts * 3))
    assert rows == [expected("bpe", part) for part in parts] * 3
    assert len(tokenizer._tables) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # torch's threads
def test_a_forked_process_goes_on_with_what_is_known() -> None:
    tokenizer = copy.deepcopy(trained("bpe"))
    texts = load_builtin("speeches")[:50]
    tokenizer.encode(texts[:25])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, tokenizer.encode_to_arrays(texts)[0].tobytes())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == tokenizer.encode_to_arrays(texts)[0].tobytes()


def test_a_pickle_does_not_carry_what_is_known() -> None:
    tokenizer = copy.deepcopy(trained("bpe"))
    before = pickle.dumps(tokenizer)
    tokenizer.encode(load_builtin("hsk"))
    assert pickle.dumps(tokenizer) == before
