"""The contract of every tokenizer, and what each kind promises of its own."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers as hf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqae.batch import Vocabulary
from seqae.component import Component, concrete_subclasses
from seqae.data.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    ImportedTokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordTokenizer,
)
from seqae.data.tokenizers.byte_level import BYTE_CHARACTERS, ByteLevelTokenizer

KINDS = [kind for kind in concrete_subclasses(Tokenizer) if kind is not ImportedTokenizer]
LOSSLESS = concrete_subclasses(ByteLevelTokenizer)
TRAINED = [kind for kind in KINDS if kind is not ByteTokenizer]

REAL = [
    "She was able to program her computer, wasn't she?",
    'He said: "I can\'t get a grant for the project!"',
    "Unable to get to town without a car; we waited (for hours).",
    "A good film.<br />The plot,though thin,holds... until the end!<br /><br />8/10",
    "The U.S. economy grew 3.5% in 1998--more than expected.",
    "  Two   blanks,\ta tab\nand a new line ",
    "We were at last able to buy a car; it's the children's now.",
    "'Tis the season' -- isn't it?!",
    "Crème brûlée in a café: 4,50 €",
    "",
]
SPECIAL_LOOKING = [
    "<eos>",
    "<pad> a",
    "a <bos> b",
    "<unk>",
    "< eos >",
    "< pad >x< unk >",
    "[PAD]</s>",
]


def sentences(number: int = 400) -> list[str]:
    """Sentences out of 300 invented words, the frequent ones much more frequent."""
    rng = random.Random(7)
    words = ["".join(rng.choices("aeioustrnlmd", k=rng.randint(1, 8))) for _ in range(300)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return REAL + [
        " ".join(rng.choices(words, weights, k=rng.randint(1, 9))) for _ in range(number)
    ]


def new(kind: type[Tokenizer]) -> Tokenizer:
    return kind(vocab_size=400) if kind in (BPETokenizer, UnigramTokenizer) else kind()


@functools.cache
def trained(kind: type[Tokenizer]) -> Tokenizer:
    tokenizer = new(kind)
    tokenizer.train(iter(sentences()))
    return tokenizer


def huggingface(tokenizer: Tokenizer) -> hf.Tokenizer:
    return hf.Tokenizer.from_str(tokenizer.to_json())


def basic_english(text: str) -> list[str]:
    """torchtext/data/utils.py, `_basic_english_normalize`, written out anew."""
    text = text.lower()
    for pattern, replacement in [
        (r"'", " '  "),
        (r'"', ""),
        (r"\.", " . "),
        (r"<br />", " "),
        (r",", " , "),
        (r"\(", " ( "),
        (r"\)", " ) "),
        (r"!", " ! "),
        (r"\?", " ? "),
        (r";", " "),
        (r":", " "),
        (r"\s+", " "),
    ]:
        text = re.sub(pattern, replacement, text)
    return text.split()


# Every kind


def test_the_five_kinds_are_found() -> None:
    assert [kind.__name__ for kind in KINDS] == [
        "BPETokenizer",
        "ByteTokenizer",
        "CharacterTokenizer",
        "UnigramTokenizer",
        "WordTokenizer",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_config_rebuilds_an_untrained_tokenizer(kind: type[Tokenizer]) -> None:
    config = trained(kind).config()
    rebuilt = Component.from_config(config)
    assert type(rebuilt) is kind
    assert rebuilt.config() == config == new(kind).config()
    if kind is not ByteTokenizer:
        assert not rebuilt.is_trained
        rebuilt.train(sentences())
    assert rebuilt.to_json() == trained(kind).to_json()


@pytest.mark.parametrize("kind", TRAINED)
def test_untrained_is_refused(kind: type[Tokenizer]) -> None:
    tokenizer = kind()
    assert not tokenizer.is_trained
    for use in (
        lambda: tokenizer.encode(["a"]),
        lambda: tokenizer.decode([[1]]),
        lambda: tokenizer.vocab_size,
        lambda: tokenizer.vocabulary,
        tokenizer.to_json,
        lambda: tokenizer.fingerprint,
    ):
        with pytest.raises(ValueError, match=f"`tokenizer` must be trained .* {kind.__name__}"):
            use()


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    assert tokenizer.is_trained
    assert tokenizer.vocabulary == Vocabulary(tokenizer.vocab_size, 0, 1, 2, 3)
    assert [tokenizer.token_text(i) for i in range(4)] == ["<pad>", "<unk>", "<bos>", "<eos>"]
    ids, _ = tokenizer.encode_to_arrays(sentences())
    assert ids.dtype == np.uint16
    assert int(ids.max()) < tokenizer.vocab_size


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=6))
def test_many_equals_one_by_one(kind: type[Tokenizer], texts: list[str]) -> None:
    tokenizer = trained(kind)
    rows = tokenizer.encode(texts)
    assert rows == [tokenizer.encode([text])[0] for text in texts]
    assert all(row[0] == tokenizer.bos_id and row[-1] == tokenizer.eos_id for row in rows)
    ids, lengths = tokenizer.encode_to_arrays(texts)
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [len(row) for row in rows]
    assert ids.tolist() == [token_id for row in rows for token_id in row]
    assert tokenizer.decode(rows) == [tokenizer.decode([row])[0] for row in rows]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30) | st.sampled_from(REAL + SPECIAL_LOOKING), max_size=6))
def test_the_library_gives_the_same_ids_from_the_file(
    kind: type[Tokenizer], texts: list[str]
) -> None:
    tokenizer = trained(kind)
    assert tokenizer.encode(texts) == [e.ids for e in huggingface(tokenizer).encode_batch(texts)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_library_decodes_the_same_text(kind: type[Tokenizer], data: st.DataObject) -> None:
    tokenizer = trained(kind)
    row = data.draw(st.lists(st.integers(4, tokenizer.vocab_size - 1), max_size=12))
    assert tokenizer.decode([row]) == [huggingface(tokenizer).decode(row)]


@pytest.mark.parametrize("kind", KINDS)
def test_special_looking_text_is_text(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    for text in SPECIAL_LOOKING:
        inside = tokenizer.encode([text])[0][1:-1]
        assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(inside), text


@pytest.mark.parametrize("kind", TRAINED)
def test_special_looking_text_is_text_also_when_trained_on(kind: type[Tokenizer]) -> None:
    tokenizer = new(kind)
    tokenizer.train(SPECIAL_LOOKING * 20)
    rows = tokenizer.encode(SPECIAL_LOOKING)
    for row in rows:
        assert not set(row[1:-1]) & {0, 1, 2, 3}
    assert tokenizer.decode(rows) == SPECIAL_LOOKING


@pytest.mark.parametrize("kind", KINDS)
def test_decode_stops_at_eos_and_drops_pad_and_bos(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    row = tokenizer.encode(["able to"])[0]
    padded = [2, *row, 0, row[1], 3]
    assert tokenizer.decode([padded, row[1:-1], [], [3]]) == ["able to", "able to", "", ""]
    tensor = torch.tensor([padded, [0] * len(padded)])
    assert tokenizer.decode(tensor) == ["able to", ""]
    assert tokenizer.decode(tensor.numpy()) == tokenizer.decode([*tensor]) == ["able to", ""]
    assert tokenizer.decode(torch.zeros(0, 4, dtype=torch.long)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_bad_batches_are_refused(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    for bad in (
        [[-1]],
        [[tokenizer.vocab_size]],
        [[0.5]],
        [["a"]],
        [1, 2],
        [[[1]]],
        [[[1], [1, 2]]],
    ):
        with pytest.raises(ValueError, match=r"^`batch` must .*row 0 .* instead\. [^\n]*$"):
            tokenizer.decode(bad)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_texts_are_refused(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    with pytest.raises(ValueError, match="index 1 has the lone surrogate '.ud800' at character 2"):
        tokenizer.encode(["é", "ab\ud800"])
    with pytest.raises(ValueError, match="index 2 is an int instead"):
        tokenizer.encode(["a", "b", 3])
    with pytest.raises(ValueError, match="index 0 is a tuple instead"):
        tokenizer.encode([("a", "pair")])
    with pytest.raises(ValueError, match="it is one text instead"):
        tokenizer.encode("a sentence")


@pytest.mark.parametrize("kind", TRAINED)
def test_bad_training_texts_are_refused(kind: type[Tokenizer]) -> None:
    tokenizer = kind()
    for bad, message in (
        (["a", "\udfff"], "`sentences` must be Unicode .* index 1 "),
        (["a", None], "`sentences` must be texts, .* index 1 "),
        ([], "`sentences` must hold some text"),
        (["", ""], "`sentences` must hold some text"),
        ("abc", "`sentences` must be a list"),
    ):
        with pytest.raises(ValueError, match=message):
            tokenizer.train(bad)
        assert not tokenizer.is_trained


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts_and_empty_texts(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    assert tokenizer.encode([]) == []
    assert tokenizer.encode(["", ""]) == [[2, 3], [2, 3]]
    assert tokenizer.decode([[2, 3]]) == [""]


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind: type[Tokenizer], tmp_path: Path) -> None:
    tokenizer = trained(kind)
    tokenizer.save(tmp_path / "tokenizer.json")
    for cls in (Tokenizer, kind):
        loaded = cls.load(tmp_path / "tokenizer.json", tokenizer.config())
        assert type(loaded) is kind
        assert loaded.config() == tokenizer.config()
        assert loaded.vocabulary == tokenizer.vocabulary
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.encode(sentences()) == tokenizer.encode(sentences())
    library = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode_batch(REAL)[0].ids == tokenizer.encode(REAL)[0]
    assert library.get_vocab_size() == tokenizer.vocab_size


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles(kind: type[Tokenizer]) -> None:
    for tokenizer in (trained(kind), new(kind)):
        for twin in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
            assert twin.config() == tokenizer.config()
            assert twin.is_trained == tokenizer.is_trained
            if twin.is_trained:
                assert twin.to_json() == tokenizer.to_json()
                assert twin.encode(REAL) == tokenizer.encode(REAL)


@pytest.mark.parametrize("kind", TRAINED)
def test_training_again_forgets_and_repeats(kind: type[Tokenizer]) -> None:
    tokenizer = new(kind)
    tokenizer.train(["zzz yyy"])
    assert tokenizer.to_json() != trained(kind).to_json()
    tokenizer.train(tuple(sentences()))
    assert tokenizer.to_json() == trained(kind).to_json()


def test_another_process_trains_the_same_and_forks_in_silence() -> None:
    program = """
import os, sys
from test_tokenizers import TRAINED, sentences, new
for kind in TRAINED:
    tokenizer = new(kind)
    tokenizer.train(sentences())
    print(tokenizer.fingerprint)
before = dict(os.environ)
tokenizer.encode(sentences())
child = os.fork()
if child == 0:
    tokenizer.encode(sentences())
    os._exit(0 if os.environ["TOKENIZERS_PARALLELISM"] == "false" else 1)
assert dict(os.environ) == before
sys.exit(os.waitpid(child, 0)[1])
"""
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder.parent}", "RAYON_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.split() == [trained(kind).fingerprint for kind in TRAINED]


# Bytes, BPE, Unigram


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text() | st.text("<>/ epoadbsunk", max_size=20), max_size=8))
def test_byte_level_kinds_are_lossless(kind: type[Tokenizer], texts: list[str]) -> None:
    tokenizer = trained(kind)
    rows = tokenizer.encode(texts)
    assert tokenizer.decode(rows) == texts
    assert not any(set(row[1:-1]) & {0, 1, 2, 3} for row in rows)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_hard_texts_come_back(kind: type[Tokenizer]) -> None:
    texts = [
        *REAL,
        *SPECIAL_LOOKING,
        " leading and trailing ",
        "\r\n\t\x00\x1c\x85\u2028\ufeff",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 שלום עולם 你好 \U0010ffff\ue000",
        "x" * 20_000,
        " " * 20_000,
    ]
    assert trained(kind).decode(trained(kind).encode(texts)) == texts


@pytest.mark.parametrize("kind", [BPETokenizer, UnigramTokenizer])
@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=20) | st.text(" \na", max_size=9), max_size=6))
def test_a_blank_in_front_gives_a_word_the_same_tokens_everywhere(
    kind: type[BPETokenizer | UnigramTokenizer], texts: list[str]
) -> None:
    tokenizer = with_blank(kind)
    for text in texts:
        if text and not text[0].isspace():
            ((_, *first, _),) = tokenizer.encode([text])
            assert first == tokenizer.encode_inside([f" {text}"])[0]
    rows = tokenizer.encode(texts)
    assert tokenizer.decode(rows) == texts
    library = huggingface(tokenizer)
    assert rows == [encoding.ids for encoding in library.encode_batch(texts)]
    assert [library.decode(row[1:-1]) for row in rows] == texts
    assert Tokenizer.from_json(tokenizer.to_json()).encode(texts) == rows


@functools.cache
def with_blank(kind: type[BPETokenizer | UnigramTokenizer]) -> Tokenizer:
    tokenizer = kind(400, add_prefix_space=True)
    tokenizer.train(sentences())
    stored = [
        json.loads(t.to_json())["post_processor"]["seqae"] for t in (tokenizer, trained(kind))
    ]
    # One that is off is not in the file, so that older files keep their hash.
    assert ["add_prefix_space" in one["init_args"] for one in stored] == [True, False]
    return tokenizer


def test_byte_ids_are_the_bytes() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(["aé"]) == [[2, 0x61 + 4, 0xC3 + 4, 0xA9 + 4, 3]]
    assert tokenizer.vocab_size == 260
    assert tokenizer.is_trained
    assert [tokenizer.token_text(i + 4) for i in b"aZ \n"] == ["a", "Z", " ", "\n"]


def test_bytes_that_are_no_utf8_and_unk_decode_to_the_replacement_character() -> None:
    assert ByteTokenizer().decode([[0xC3 + 4, 0x61 + 4, 1]]) == ["\ufffda\ufffd"]


def test_bpe_merges_by_hand() -> None:
    # "ab" is in 5 words, "abc" in 3, "Ġabc" in 2; nothing else twice but parts of these.
    tokenizer = BPETokenizer(vocab_size=263)
    tokenizer.train(["abc abc abc", "ab xab"])
    assert [tokenizer.token_text(i) for i in range(260, 263)] == ["ab", "abc", " abc"]
    assert tokenizer.encode(["abc abc"]) == [[2, 261, 262, 3]]


def test_unigram_takes_the_likeliest_cut_by_hand() -> None:
    # "abc" as ab + c has log-probability -5 - 10, as a + bc -10 - 3, in bytes -30.
    content = json.loads(trained(UnigramTokenizer).to_json())
    scored = [[token, -10.0] for token in BYTE_CHARACTERS] + [["ab", -5.0], ["bc", -3.0]]
    content["model"]["vocab"] = [*content["model"]["vocab"][:4], *scored]
    tokenizer = Tokenizer.from_json(json.dumps(content))
    assert [tokenizer.token_text(i) for i in tokenizer.encode(["abc"])[0][1:-1]] == ["a", "bc"]


@settings(max_examples=40, deadline=None)
@given(text=st.text("ab \x00é", min_size=1, max_size=12))
def test_any_little_text_trains(text: str) -> None:
    for kind in TRAINED:
        tokenizer = kind()
        tokenizer.train([text])
        twin = kind()
        twin.train([text])
        assert Tokenizer.from_json(tokenizer.to_json()).fingerprint == twin.fingerprint


@pytest.mark.parametrize("kind", [BPETokenizer, UnigramTokenizer])
def test_subwords_shorten_text_and_keep_to_the_size(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind)
    assert 300 < tokenizer.vocab_size <= 400
    _, lengths = tokenizer.encode_to_arrays(sentences())
    _, in_bytes = ByteTokenizer().encode_to_arrays(sentences())
    assert lengths.sum() < 0.75 * in_bytes.sum()  # measured: 0.39 and 0.70


@pytest.mark.parametrize("kind", [BPETokenizer, UnigramTokenizer])
def test_a_vocabulary_smaller_than_the_bytes_is_refused(kind: type[Tokenizer]) -> None:
    with pytest.raises(ValueError, match="`vocab_size` must be between 260 and 500,000"):
        kind(vocab_size=259)


# Characters


def test_characters_by_frequency_then_code_point() -> None:
    tokenizer = CharacterTokenizer(min_frequency=2)
    tokenizer.train(["cabb", "bca", "x"])  # b 3, a 2, c 2, x 1
    assert [tokenizer.token_text(i) for i in range(4, tokenizer.vocab_size)] == ["b", "a", "c"]
    assert tokenizer.encode(["abxé\U0001f600c"]) == [[2, 5, 4, 1, 1, 1, 6, 3]]
    assert tokenizer.decode([[2, 5, 4, 1, 6, 3]]) == ["ab\ufffdc"]
    small = CharacterTokenizer(vocab_size=6)
    small.train(["cabb", "bca", "x"])
    assert small.vocab_size == 6
    assert small.encode(["bac"]) == [[2, 4, 5, 1, 3]]


def test_known_characters_are_lossless() -> None:
    tokenizer = trained(CharacterTokenizer)
    assert tokenizer.decode(tokenizer.encode(REAL)) == REAL
    ids, _ = tokenizer.encode_to_arrays(REAL)
    assert not (ids == tokenizer.unk_id).any()


def test_more_than_65536_ids_are_int32() -> None:
    tokenizer = CharacterTokenizer(vocab_size=100_000)
    text = "".join(map(chr, [*range(0x20, 0xD800), *range(0xE000, 0x16000)]))
    tokenizer.train([text])
    ids, lengths = tokenizer.encode_to_arrays([text])
    assert ids.dtype == np.int32
    assert ids.max() == tokenizer.vocab_size - 1 > 2**16
    assert tokenizer.decode([ids]) == [text]
    assert lengths.tolist() == [len(text) + 2]


# Words


def torchtext_vocabulary(
    words: Sequence[Sequence[str]], min_freq: int, max_tokens: int
) -> list[str]:
    """torchtext/vocab/vocab_factory.py, `build_vocab_from_iterator`, special_first, anew."""
    counts = Counter(word for row in words for word in row)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max_tokens - 4]
    return ["<pad>", "<unk>", "<bos>", "<eos>"] + [w for w, n in ordered if n >= min_freq]


def test_word_order_by_hand() -> None:
    tokenizer = WordTokenizer(min_frequency=2, vocab_size=7)
    tokenizer.train(["b b a", "c a Z Z", "b once", "c c é é"])  # b 3, c 3, Z 2, a 2, é 2, once 1
    assert [tokenizer.token_text(i) for i in range(4, tokenizer.vocab_size)] == ["b", "c", "Z"]
    assert tokenizer.encode(["Z  b\tunheard a"]) == [[2, 6, 4, 1, 1, 3]]
    assert tokenizer.decode([[2, 6, 4, 1, 3]]) == ["Z b <unk>"]


@pytest.mark.parametrize(("min_frequency", "vocab_size"), [(1, 10_000), (3, 10_000), (2, 60)])
def test_word_vocabulary_is_torchtexts(min_frequency: int, vocab_size: int) -> None:
    tokenizer = WordTokenizer(vocab_size, min_frequency, "basic_english")
    tokenizer.train(sentences())
    words = [basic_english(sentence) for sentence in sentences()]
    expected = torchtext_vocabulary(words, min_frequency, vocab_size)
    assert [tokenizer.token_text(i) for i in range(tokenizer.vocab_size)] == expected
    id_of = {word: i for i, word in enumerate(expected)}
    assert tokenizer.encode(sentences()) == [
        [2, *(id_of.get(w, 1) for w in row), 3] for row in words
    ]


def test_basic_english_by_hand() -> None:
    tokenizer = WordTokenizer(normalization="basic_english")
    tokenizer.train(REAL)
    (text,) = tokenizer.decode(tokenizer.encode([REAL[0]]))
    assert text == "she was able to program her computer , wasn ' t she ?"


@functools.cache
def every_ascii_word() -> WordTokenizer:
    return WordTokenizer.from_token_list([*".,()!?'", *"abc", "<br", "/>", "é"], "basic_english")


@settings(max_examples=300, deadline=None)
@given(text=st.text("""'".,()!?;: \t\nABcé<br />""", max_size=40))
def test_basic_english_is_torchtexts(text: str) -> None:
    tokenizer = every_ascii_word()
    known = {tokenizer.token_text(i) for i in range(tokenizer.vocab_size)}
    expected = [word if word in known else "<unk>" for word in basic_english(text)]
    assert tokenizer.decode(tokenizer.encode([text])) == [" ".join(expected)]


def test_share_of_unknown_words() -> None:
    tokenizer = WordTokenizer()
    tokenizer.train(["the cat sat"])
    ids, lengths = tokenizer.encode_to_arrays(["the dog sat", "dogs bark"])
    assert (ids == tokenizer.unk_id).sum() / (lengths - 2).sum() == 3 / 5


def test_import_keeps_the_ids_of_a_torchtext_vocabulary() -> None:
    tokens = ["<unk>", "the", "<s>", "cat", "</s>", "<eos>", "two words", ""]
    tokenizer = WordTokenizer.from_token_list(tokens)
    assert tokenizer.vocabulary == Vocabulary(size=9, pad_id=8, unk_id=0, bos_id=2, eos_id=5)
    assert tokenizer.encode(["the cat saw <s> </s> <unk>"]) == [[2, 1, 3, 0, 0, 4, 0, 5]]
    assert tokenizer.decode([[2, 1, 0, 3, 5, 1]]) == ["the <unk> cat"]
    assert tokens[0] == "<unk>"  # the list that was given is left alone
    loaded = Tokenizer.from_json(tokenizer.to_json())
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.encode(["the cat"]) == tokenizer.encode(["the cat"]) == [[2, 1, 3, 5]]
    assert huggingface(tokenizer).encode("the dog").ids == [2, 1, 0, 5]


def test_import_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_bytes("\ufeff<pad>\r\n<unk>\r\ncafé\r\na\u2028b\r\n".encode())
    tokenizer = WordTokenizer.from_token_file(path, "basic_english")
    assert tokenizer.vocabulary == Vocabulary(size=6, pad_id=0, unk_id=1, bos_id=4, eos_id=5)
    assert tokenizer.encode(["CAFÉ!"]) == [[4, 2, 1, 5]]
    assert tokenizer.config()["init_args"]["normalization"] == "basic_english"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a", "b", "a"], "index 2 is 'a' instead, first given at index 0"),
        (["a", "b" * 513], "at most 512 characters"),
        (["a", "\ud800"], "lone surrogate"),
        (["a", 3], "index 1 is an int"),
    ],
)
def test_bad_token_lists_are_refused(tokens: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordTokenizer.from_token_list(tokens)


def test_words_too_long_for_the_file_are_unknown() -> None:
    tokenizer = WordTokenizer()
    tokenizer.train(["a " + "b" * 513 + " c"])
    assert tokenizer.vocab_size == 6
    assert Tokenizer.from_json(tokenizer.to_json()).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(
    "make",
    [
        lambda: WordTokenizer(vocab_size=3),
        lambda: WordTokenizer(min_frequency=0),
        lambda: WordTokenizer(normalization="nfc"),
        lambda: CharacterTokenizer(min_frequency=0),
        lambda: CharacterTokenizer(vocab_size=10**7),
        lambda: BPETokenizer(min_frequency=0),
    ],
)
def test_bad_arguments_are_refused(make) -> None:
    with pytest.raises(ValueError, match="^`(vocab_size|min_frequency|normalization)` must be"):
        make()
