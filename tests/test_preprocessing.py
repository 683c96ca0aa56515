"""From a block of records to rows of ids: what is kept, cut, dropped, and where it goes."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import block_of, encode_block, numbered

from seqae.data.config import CorpusConfig
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.sentences.preprocessing import LINE_ENDS, QUOTED, Pipeline, Remark, remark
from seqae.data.sentences.split import hash_texts, split_of
from seqae.data.sources.records import Block, Counts
from seqae.data.tokenizers import ByteTokenizer

TOKENIZER = ByteTokenizer()
SENTENCES = ["abc", "", "a much longer sentence", "é", "ab"]


def decode(rows) -> list[str]:
    parts = np.split(rows.ids, rows.lengths.cumsum()[:-1])
    return TOKENIZER.decode([part.tolist() for part in parts]) if len(rows.lengths) else []


def test_everything_fits():
    encoded = encode_block(block_of(SENTENCES), TOKENIZER, max_length=24)
    assert decode(encoded.rows["train"]) == SENTENCES
    assert encoded.sentences.to_dict() == {"read": 5, "kept": 5, "dropped": {}, "repaired": 0}
    assert encoded.altered == {}


def test_a_long_sentence_is_an_error_that_names_its_place():
    block = block_of(["ab", "abc", "abcdefgh"])
    message = contracts.refusal(encode_block, block, TOKENIZER, max_length=4)
    assert "a.txt:2 (data.train) has 5 tokens" in message
    assert "Set `data.max_length: 10` or more" in message


def test_the_place_is_right_where_some_are_held_out():
    block = block_of([*numbered(50), "x" * 100])
    settings = CorpusConfig(train=("a.txt",), max_length=64, val_percent=30, test_percent=30)
    message = contracts.refusal(Pipeline(settings, TOKENIZER), block, "train")
    assert "a.txt:51 " in message


def test_truncation_keeps_the_first_tokens_and_eos():
    encoded = encode_block(block_of(SENTENCES), TOKENIZER, max_length=5, too_long="truncate")
    assert decode(encoded.rows["train"]) == ["abc", "", "a m", "é", "ab"]
    assert encoded.rows["train"].lengths.tolist() == [5, 2, 5, 4, 4]
    assert encoded.altered == {"truncated": 1}
    assert encoded.sentences.kept == 5


def test_dropping():
    encoded = encode_block(block_of(SENTENCES), TOKENIZER, max_length=4, too_long="drop")
    assert decode(encoded.rows["train"]) == ["", "é", "ab"]
    assert encoded.sentences.dropped == {"too long": 2}


def test_splitting_gives_every_token_once():
    encoded = encode_block(block_of(SENTENCES), TOKENIZER, max_length=12, too_long="split")
    rows = encoded.rows["train"]
    assert decode(rows) == [
        "abc",
        "",
        "a much",
        " longer",
        " sentence",
        "é",
        "ab",
    ]
    assert len(set(rows.hashes.tolist())) == 7  # the pieces are no repetitions
    assert encoded.altered == {"cut into pieces": 1}


def test_running_text_is_for_training_alone():
    settings = CorpusConfig(
        train=("a.txt",),
        max_length=12,
        too_long="split",
        running_text=4,
        val_percent=30,
        test_percent=0,
    )
    sentences = [f"sentence {number}" for number in range(10, 60)]
    encoded = Pipeline(settings, TOKENIZER)(block_of(sentences), "train")
    assert encoded.rows["val"].lengths.sum() < encoded.rows["train"].lengths.sum() / 3
    held_out = "".join(decode(encoded.rows["val"]))
    rows = encoded.rows["train"]
    own = [text for text in sentences if split_of(text, val_percent=30, test_percent=0) == "train"]
    alone = decode(rows)[: 2 * len(own)]
    running = "".join(decode(rows)[2 * len(own) :])
    assert "".join(alone) == "".join(own)
    numbers = running.replace("sentence", " ").split()
    assert numbers == sorted(numbers, key=int)
    assert 0.5 * len(own) < len(numbers) <= len(own)
    assert not {f"sentence {number}" for number in numbers} & set(held_out.split("sentence"))
    assert len(set(rows.hashes.tolist())) == len(rows.hashes)
    assert encoded.altered["texts of several sentences beside them"] > 4


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "unless `data.too_long` is split"), ({"cleaning": CleanOptions(deduplicate=True)}, "4")],
)
def test_running_text_is_refused_where_it_would_do_harm(options, said):
    policy = "split" if options else "error"
    config = CorpusConfig(running_text=4, too_long=policy, **options)
    assert said in contracts.refusal(config.check)


@pytest.mark.parametrize("too_long", ["truncate", "drop"])
def test_pairs_stay_pairs(too_long):
    block = block_of(["abcdef", "b", "c"], ["x", "y", "uvwxyz"])
    encoded = encode_block(block, TOKENIZER, max_length=5, too_long=too_long)
    rows = encoded.rows["train"]
    assert rows.target is not None
    both = list(zip(decode(rows), decode(rows.target), strict=True))
    cut = [("abc", "x"), ("b", "y"), ("c", "uvw")]
    assert both == (cut if too_long == "truncate" else [("b", "y")])


@given(st.lists(st.text(max_size=8), max_size=20), st.integers(0, 3))
def test_the_split_is_that_of_each_sentence(texts, seed):
    settings = CorpusConfig(train=("a",), val_percent=20, test_percent=30, split_seed=seed)
    rows = Pipeline(settings, TOKENIZER)(block_of(texts), "train").rows
    for side in ("train", "val", "test"):
        expected = [
            text
            for text in texts
            if split_of(text, val_percent=20, test_percent=30, seed=seed) == side
        ]
        assert (decode(rows[side]) if side in rows else []) == expected


def test_a_split_with_sources_of_its_own_takes_nothing():
    settings = CorpusConfig(train=("a",), val=("b",), val_percent=50, test_percent=0)
    rows = Pipeline(settings, TOKENIZER)(block_of(numbered(20)), "train").rows
    assert decode(rows["train"]) == numbered(20)
    assert list(rows) == ["train"]
    assert list(Pipeline(settings, TOKENIZER)(block_of(["x"]), "val").rows) == ["val"]


def test_hashes_by_hand():
    # printf abc | sha256sum: ba7816bf8f01cfea...
    assert hash_texts(["abc"]).tolist() == [0xBA7816BF8F01CFEA]
    assert hash_texts([]).tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_length": 2},
        {"too_long": "cut"},
        {"val_percent": 100},
        {"val_percent": 50, "test_percent": 50},
        {"tokenizer_sentences": 0},
    ],
)
def test_settings_are_checked(wrong):
    contracts.refusal(CorpusConfig(train=("a",), **wrong).check)


def test_sentences_that_seem_to_be_read_wrongly():
    texts = ["plain", "a\tb", '"said ""so"" and"', 'say ""', "x" * 100 + "\n" + "y" * 100, "a\rb"]
    block = Block("a.tsv", texts, range(2, 8), Counts(6), {})
    ends = ["a.tsv:3  a\tb", "a.tsv:6  …" + "x" * 20 + "\n" + "y" * 59, "a.tsv:7  a\rb"]
    quotes = ['a.tsv:4  "said ""so"" and"']
    assert remark(block) == {LINE_ENDS: Remark(3, ends), QUOTED: Remark(1, quotes)}
    assert remark(block.select([0, 3])) == {}
    pairs = Block("a.csv", ["a", "b\n"], range(1, 3), Counts(2), {}, ["c\nc", "d"])
    assert remark(pairs)[LINE_ENDS].count == 2
