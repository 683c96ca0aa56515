"""Stretches: as few as words allow, of about one size, and joined they are the text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqae.data.sentences.split import hash_texts
from seqae.data.sentences.stretches import Stretches, running_texts, stretch_ends
from seqae.data.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    UnigramTokenizer,
    WordTokenizer,
)

TEXT = "the cat sat on the mat, while a naïve dog (who was old) looked at the café"
KINDS = [
    ByteTokenizer(),
    BPETokenizer(vocab_size=280),
    UnigramTokenizer(vocab_size=270),
    CharacterTokenizer(),
    WordTokenizer(),
]


@pytest.mark.parametrize(
    ("words", "room", "ends"),
    [
        ([33], 32, [16, 33]),  # one long word: even halves
        ([3, 30], 32, [3, 33]),  # a cut between words wins over even halves
        ([1] * 33, 32, [16, 33]),
        ([1] * 65, 32, [22, 43, 65]),  # not 32, 32, 1
        ([5, 5, 5], 8, [5, 10, 15]),  # three where 15 tokens would fit two
        ([40, 2], 32, [21, 42]),  # a word longer than a stretch is cut
        ([7], 8, [7]),
    ],
)
def test_ends_worked_by_hand(words: list[int], room: int, ends: list[int]) -> None:
    assert stretch_ends(begins(words), room) == ends


def begins(words: list[int]) -> np.ndarray:
    """Return for each token whether it begins a word, given the tokens of each word."""
    return np.concatenate([np.arange(length) == 0 for length in words])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.integers(6, 12))
def test_words_stay_whole_in_the_fewest_stretches_that_hold_them(words, room):
    ends = stretch_ends(begins(words), room)
    sizes = np.diff([0, *ends])
    word_ends = np.cumsum(words).tolist()
    assert ends[-1] == word_ends[-1]
    assert sizes.min() >= 1
    assert sizes.max() <= room
    assert set(ends) <= set(word_ends)
    assert len(ends) == fewest(word_ends, room)


def fewest(word_ends: list[int], room: int) -> int:
    """Find the fewest stretches by trying all sets of cuts between words."""
    for count in range(len(word_ends)):
        for cuts in itertools.combinations(word_ends[:-1], count):
            if np.diff([0, *cuts, word_ends[-1]]).max() <= room:
                return count + 1
    raise AssertionError


@given(st.integers(1, 200), st.integers(1, 40))
def test_without_words_sizes_differ_by_one_at_most(count, room):
    sizes = np.diff([0, *stretch_ends(np.zeros(count, bool), room)])
    assert len(sizes) == -(-count // room)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("tokenizer", KINDS, ids=lambda kind: type(kind).__name__)
def test_every_kind_knows_where_words_begin(tokenizer):
    tokenizer.train([TEXT] * 3)
    room = 3 if isinstance(tokenizer, WordTokenizer) else 12
    (row,) = tokenizer.encode([TEXT])
    stretches = Stretches(tokenizer, room + 2)
    rows = stretches.cut(row)
    assert len(rows) > 3
    words = [tokenizer.decode([own])[0].split() for own in rows]
    assert list(itertools.chain.from_iterable(words)) == TEXT.split()  # no word is cut
    assert all(len(own) <= room + 2 for own in rows)
    assert tokenizer.decode([stretches.join(rows)]) == tokenizer.decode([row])


def test_a_text_that_fits_is_one_stretch():
    stretches = Stretches(ByteTokenizer(), 8)
    for text in ("", "sixsix"):
        (row,) = stretches.tokenizer.encode([text])
        assert stretches.cut(row) == [row]


def test_running_text_ends_where_hashes_and_documents_do():
    hashes = np.array([100, 107, 300, 250, 399, 199, 0], dtype=np.uint64)  # 3 ends a text, and 0
    documents = [1, 1, 1, 2, 2, 3, 3]
    assert running_texts("abcdefg", hashes, documents, 3) == ["a b c", "d e", "f g"]
    assert running_texts("abcdefg", hashes, [0] * 7, 3) == ["a b c", "d e", "f g"]
    assert running_texts("abcdefg", hashes, [0] * 7, 1) == []


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=30), st.integers(2, 9))
def test_running_text_has_neighbours_once_in_their_order(texts, sentences):
    joined = running_texts(texts, hash_texts(texts), [0] * len(texts), sentences)
    words = iter(texts)
    assert all(word in words for text in joined for word in text.split())  # a subsequence
    assert all(" " in text for text in joined)


def test_running_text_has_as_many_sentences_as_is_asked_for():
    texts = [str(number) for number in range(4000)]
    joined = running_texts(texts, hash_texts(texts), [0] * len(texts), 8)
    assert 7 < np.mean([len(text.split()) for text in joined]) < 10.5  # those of one are left out
