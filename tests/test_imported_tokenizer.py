"""Tokenizers of other programs: the same ids as there, or a refusal in one line."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
from functools import cache
from pathlib import Path
from typing import Any

import contracts
import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokenizers import REAL, SPECIAL_LOOKING, sentences
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from seqae.data.tokenizers import ImportedTokenizer, Tokenizer
from seqae.data.tokenizers.imported.charsmap import charsmap_fault
from seqae.data.tokenizers.imported.sentencepiece_model import SentencePieceModel
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile

ODD = [
    *("", " ", "  a  b ", "ﬁne ½ ｆｕｌｌ", "日本語 テスト", "é e\u0301 \u0301x", "\tTab\nnew\r\n"),
    *(
        "<0x41> x",
        "😀 👩‍👩‍👧",
        "a\u00a0b\u3000c",
        "▁a ▁",
        "x\u200by",
        "Ǆ ﷺ",
        "שלום",
        "नमस्ते",
        "a\x00b",
    ),
]
TEXTS = [*REAL, *SPECIAL_LOOKING, *ODD, *sentences(60)]
SENTENCEPIECE: dict[str, dict[str, Any]] = {
    "unigram": {},
    "bpe": {"model_type": "bpe"},
    "characters": {"model_type": "char", "vocab_size": 60},
    "bytes": {"byte_fallback": True, "vocab_size": 420},
    "bytes of BPE": {
        **{"model_type": "bpe", "byte_fallback": True, "vocab_size": 420},
        **{"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    },
    "symbols": {"user_defined_symbols": ["<sep>", "foo"], "control_symbols": ["<m>"], "pad_id": 3},
    "folded": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
}


@cache
def sentencepiece_model(name: str) -> bytes:
    spm = pytest.importorskip("sentencepiece")
    written = io.BytesIO()
    options = {"vocab_size": 200, "minloglevel": 2, "num_threads": 1, "hard_vocab_limit": False}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_writer=written,
        **options | SENTENCEPIECE[name],
    )
    return written.getvalue()


def read(path: Path, content: bytes | str) -> tuple[Tokenizer, str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = TokenizerFile(str(path))
    return file.read(), file.note or ""


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_sentencepiece_gives_the_same_ids_and_texts(name: str, tmp_path: Path) -> None:
    import sentencepiece

    tokenizer, note = read(tmp_path / "x.model", sentencepiece_model(name))
    library = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(name))
    rows = tokenizer.encode(TEXTS)
    assert [row[1:-1] for row in rows] == [library.encode(text) for text in TEXTS]
    known = [row for row in rows if tokenizer.unk_id not in row]
    assert tokenizer.decode(known) == [library.decode(row[1:-1]) for row in known]
    assert {row[0] for row in rows} == {library.bos_id()}
    assert {row[-1] for row in rows} == {library.eos_id()}
    if name == "symbols":
        assert library.pad_id() == tokenizer.pad_id == 3
        assert "added" not in note
    else:
        size = library.get_piece_size()
        assert note.endswith(f"eos is </s>; added pad ({size}), with new ids at the end")


@settings(max_examples=80, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", max_codepoint=0x250), max_size=30))
def test_sentencepiece_gives_the_same_ids_of_anything(text: str) -> None:
    import sentencepiece

    data = sentencepiece_model("bytes")
    library = sentencepiece.SentencePieceProcessor(model_proto=data)
    assert imported("bytes").encode([text])[0][1:-1] == library.encode(text)


@cache
def imported(name: str) -> ImportedTokenizer:
    return SentencePieceModel.parse(sentencepiece_model(name)).tokenizer()


@pytest.mark.parametrize("name", ["symbols", "bytes"])
def test_it_is_a_tokenizer_like_others(name: str) -> None:
    tokenizer = imported(name)
    rows = tokenizer.encode(TEXTS)
    again = Tokenizer.from_json(tokenizer.to_json(), tokenizer.config())
    for twin in (again, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert isinstance(twin, ImportedTokenizer)
        assert twin.fingerprint == tokenizer.fingerprint
        assert twin.encode(TEXTS) == rows
    library = hf.Tokenizer.from_str(tokenizer.to_json())
    assert [encoding.ids for encoding in library.encode_batch(TEXTS)] == rows
    first = tokenizer.encode(["able to"])[0][1:-1]
    assert tokenizer.encode_inside([" able to"]) == [first]
    assert tokenizer.decode([first]) == ["able to"]
    assert b"".join(tokenizer.token_bytes()[i] for i in first) == b" able to"
    control = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    assert not any(control & set(row[1:-1]) for row in rows)


def test_untrained_it_says_that_it_needs_a_file() -> None:
    assert "--data.tokenizer" in contracts.refusal(ImportedTokenizer().train, ["a text"])


def test_damaged_models_are_refused_in_one_line(tmp_path: Path) -> None:
    data, chance = sentencepiece_model("folded"), random.Random(0)
    messages = []
    for number in range(90):
        spoilt = bytearray(data[: chance.randrange(len(data))] if number % 3 == 0 else data)
        for _ in range(number % 5):
            area = chance.choice([len(spoilt), min(len(spoilt), 6000)])
            spoilt[chance.randrange(max(area, 1)) :][:1] = b""
            if spoilt:
                spoilt[chance.randrange(min(len(spoilt), max(area, 1)))] = chance.randrange(256)
        try:
            tokenizer, _ = read(tmp_path / "x.model", bytes(spoilt))
            tokenizer.decode(tokenizer.encode(TEXTS[:30]))
        except ValueError as error:
            messages.append(str(error))
    assert not [message for message in messages if "\n" in message or len(message) > 600]
    assert len(messages) > 30


def test_a_charsmap_that_leads_out_of_itself_is_refused() -> None:
    good = SentencePieceModel.parse(sentencepiece_model("folded")).charsmap
    assert charsmap_fault(good) is None
    size = int.from_bytes(good[:4], "little")
    root = (2**21 << 10).to_bytes(4, "little")
    assert "leads out" in str(charsmap_fault(good[:4] + root + good[8:]))
    assert "does not have" in str(charsmap_fault(good[: 4 + size] + b"a\0"))
    assert "no end" in str(charsmap_fault(good + b"a"))
    assert "wrong size" in str(charsmap_fault(b"\xff" * 8 + good))


def wordpiece() -> hf.Tokenizer:
    made = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    made.train_from_iterator(sentences(), trainer)
    around = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, around)
    made.enable_truncation(512)
    return made


def gpt2() -> hf.Tokenizer:
    made = hf.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        **{"vocab_size": 400, "special_tokens": ["<|endoftext|>"], "show_progress": False},
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(sentences(), trainer)
    made.add_tokens(["<tool>", "   "])
    return made


def llama() -> hf.Tokenizer:
    made = hf.Tokenizer.from_str(imported("bytes of BPE").to_json())
    made.add_special_tokens(["<|im_start|>"])
    return made


def t5() -> hf.Tokenizer:
    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    letters = [(letter, -4.0 - i / 9) for i, letter in enumerate("etaoinshrdlucmfwypvbgkqjxz")]
    made = hf.Tokenizer(models.Unigram([*scored, *letters, ("▁the", -5.0)], 2, False))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.add_special_tokens(["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    made.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    return made


NOTES = {
    wordpiece: "pad is [PAD], unk is [UNK], bos is [CLS], eos is [SEP]",
    gpt2: "eos is <|endoftext|>; added pad (402), unk (403), bos (404), with new ids at the end",
    llama: "pad is < pad >, unk is < unk >, bos is < bos >, eos is < eos >",
    t5: "pad is <pad>, unk is <unk>, eos is </s>; added bos (32), with new ids at the end",
}


@pytest.mark.parametrize("make", NOTES, ids=lambda make: make.__name__)
def test_a_tokenizer_json_gives_the_same_ids(make: Any, tmp_path: Path) -> None:
    original = make()
    tokenizer, note = read(tmp_path / "tokenizer.json", original.to_str())
    assert note.endswith(f"tokens; {NOTES[make]}")
    texts = [text for text in TEXTS if text not in SPECIAL_LOOKING]
    original.no_truncation()
    rows = [encoding.ids for encoding in original.encode_batch(texts, add_special_tokens=False)]
    assert [row[1:-1] for row in tokenizer.encode(texts)] == rows
    if make is wordpiece:
        assert tokenizer.encode(texts) == [e.ids for e in original.encode_batch(texts)]
    known = [row for row in rows if tokenizer.unk_id not in row]
    assert tokenizer.decode(known) == original.decode_batch(known, skip_special_tokens=False)
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.encode(texts) == tokenizer.encode(texts)
    control = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    for text in [*SPECIAL_LOOKING, "[MASK]", "<|endoftext|>", "<extra_id_0>", "<|im_start|>"]:
        inside = tokenizer.encode([text])[0][1:-1]
        assert not control & set(inside), text
        assert not any(
            tokenizer._tokens[i].startswith("< ") for i in inside if i != tokenizer.unk_id
        )


def put(*path: str | int, value: object) -> Any:
    def change(target: Any) -> None:
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


SLOW = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("pre_tokenizer", value=SLOW), "`pre_tokenizer.0.pattern`"),
        (put("normalizer", value={"type": "Sequence", "normalizers": [GROWING] * 9}), "64 times"),
        (put("normalizer", value={"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "safe"),
        (put("normalizer", value={"type": "Python"}), "`normalizer.0`"),
        (put("normalizer", value={"type": "Sequence", "normalizers": []}), "one to 32 rules"),
        (put("decoder", value={"type": "Strip", "content": " ", "start": 0, "stop": 9}), "stop`"),
        (put("model", "max_input_chars_per_word", value=10**9), "`model.max_input_chars_per_word`"),
        (put("model", "type", value="WordLevel"), "`model.continuing_subword_prefix`"),
        (put("model", "vocab", "x" * 513, value=200), "at most 512 characters"),
        (put("model", "vocab", "zz", value=10**6), "without gaps"),
        (put("added_tokens", 0, "id", value=7), "`added_tokens`"),
        (put("added_tokens", 0, value=3), "`added_tokens.0`"),
        (put("code", value="os.system"), "`code`"),
    ],
)
def test_a_tokenizer_json_that_costs_more_than_it_holds(
    change: Any, message: str, tmp_path: Path
) -> None:
    content = json.loads(wordpiece().to_str())
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    refusal = contracts.refusal(TokenizerFile(str(tmp_path / "tokenizer.json")).read)
    assert message in refusal
    assert "\n" not in refusal
    assert len(refusal) < 600


def test_rules_by_which_a_text_spells_a_control_token_are_refused(tmp_path: Path) -> None:
    vocab = {"<unk>": 0, "<s>": 1, "a": 2}
    made = hf.Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    (tmp_path / "tokenizer.json").write_text(made.to_str())
    refusal = contracts.refusal(TokenizerFile(str(tmp_path / "tokenizer.json")).read)
    assert "cuts or replaces blanks" in refusal


def test_a_vocabulary_says_what_was_added(tmp_path: Path) -> None:
    _, note = read(tmp_path / "v.txt", "the\n<unk>\ncat\n<pad>\n")
    assert note.endswith(
        "4 tokens; pad is <pad>, unk is <unk>; added bos (4), eos (5), with new ids at the end"
    )
