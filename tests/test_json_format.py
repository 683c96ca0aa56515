"""A stranger's tokenizer.json: taken as ours, or refused in one line."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_tokenizers import KINDS, REAL, trained

from seqae.data.tokenizers import BPETokenizer, Tokenizer, WordTokenizer
from seqae.data.tokenizers import json_format as tokenizer_file

HOUSE = r"^`[^\n]*` [^\n]*must [^\n]*, but [^\n]*\. [^\n]*\.$"


def document(kind: type[Tokenizer]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(trained(kind).to_json())
    return loaded


def refused(content: object, message: str = "") -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(ValueError, match=HOUSE) as error:
        Tokenizer.from_json(text)
    assert message in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_json_in_another_dress_is_the_same_tokenizer(kind: type[Tokenizer]) -> None:
    text = json.dumps(document(kind), indent=2, sort_keys=True)
    assert Tokenizer.from_json(text).fingerprint == trained(kind).fingerprint


def put(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(target: Any) -> None:
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


PADDING = {
    "strategy": {"Fixed": 200_000_000},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "x",
}
SLOW_REGEX = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
EXPLODING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10_000}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("padding", value=PADDING), "`padding`"),
        (put("truncation", value={"max_length": 1}), "`truncation`"),
        (put("added_tokens", value=[{"id": 4, "content": "a"}]), "`added_tokens`"),
        (put("normalizer", value=EXPLODING), "`normalizer`"),
        (put("normalizer", value={"type": "Precompiled"}), "`normalizer`"),
        (put("pre_tokenizer", value=SLOW_REGEX), "`pre_tokenizer."),
        (put("pre_tokenizer", "add_prefix_space", value=True), "`pre_tokenizer.add_prefix_space`"),
        (put("pre_tokenizer", "add_prefix_space", value=0), "`pre_tokenizer.add_prefix_space`"),
        (put("decoder", value={"type": "Fuse"}), "`decoder."),
        (put("decoder", value=EXPLODING), "`decoder."),
        (put("post_processor", "single", 0, "SpecialToken", "id", value="a"), "`post_processor"),
        (put("post_processor", "special_tokens", "< bos >", "ids", value=[2] * 9), "ids`"),
        (put("post_processor", "extra", value=1), "`post_processor.extra`"),
        (put("extra", value=1), "`extra`"),
        (put("version", value="2.0"), "`version`"),
        (put("model", "dropout", value=0.5), "`model.dropout`"),
        (put("model", "type", value="WordPiece"), "`model.type`"),
        (put("model", "ignore_merges", value=True), "`model.ignore_merges`"),
        (put("model", "unk_token", value="a"), "`model.unk_token`"),
        (put("model", "extra", value=1), "`model.extra`"),
        (put("model", "vocab", value=[]), "`model.vocab`"),
        (put("model", "vocab", value={}), "`model.vocab`"),
        (put("model", "vocab", "new", value=0), "given twice"),
        (put("model", "vocab", "new", value=10**6), "without gaps"),
        (put("model", "vocab", "new", value=-1), "without gaps"),
        (put("model", "vocab", "!", value=4.0), "without gaps"),
        (put("model", "vocab", "!", value=True), "without gaps"),
        (put("model", "vocab", "< eos >", value=4), "given twice"),
        (put("model", "merges", 0, value="a b"), "`model.merges.0`"),
        (put("model", "merges", 0, value=["a"]), "`model.merges.0`"),
        (put("model", "merges", 0, value=["a", 1]), "`model.merges.0`"),
        (put("model", "merges", 0, value=["< bos >", "a"]), "`model.merges.0`"),
        (put("model", "merges", 0, value=["zzzz", "zzzz"]), "`model.merges.0`"),
        (put("model", "merges", value=[["a", "b"]] * 10**4), "`model.merges`"),
        (put("post_processor", "seqae", "class_path", value="os.system"), "`class_path`"),
        (put("post_processor", "seqae", "class_path", value="WordTokenizer"), ""),
        (put("post_processor", "seqae", "init_args", "vocab_size", value=10**9), "`vocab_size`"),
        (put("post_processor", "seqae", "init_args", "vocab_size", value="9"), "`vocab_size`"),
        (put("post_processor", "seqae", "init_args", "x", value=1), "`init_args`"),
        (put("post_processor", "seqae", value=[]), "class_path"),
        (put("post_processor", value=None), "`post_processor"),
        (put("model", value=None), "`model"),
    ],
)
def test_what_we_do_not_write_is_refused(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = document(BPETokenizer)
    change(content)
    refused(content, message)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_takes_a_foreign_section(kind: type[Tokenizer]) -> None:
    for section in ("normalizer", "pre_tokenizer", "decoder", "padding"):
        for foreign in (EXPLODING, SLOW_REGEX, PADDING, {"type": "Sequence", section + "s": []}):
            refused(document(kind) | {section: foreign}, f"`{section}")


def test_replacements_are_compared_literally() -> None:
    tokenizer = WordTokenizer(normalization="basic_english")
    tokenizer.train(REAL)
    content = json.loads(tokenizer.to_json())
    content["normalizer"]["normalizers"][3]["content"] = " .  "
    refused(content, "`normalizer.normalizers.3.content`")
    content["normalizer"]["normalizers"].pop()
    refused(content, "`normalizer.normalizers`")


def rename(kind: type[Tokenizer], old: str, new: str) -> dict[str, Any]:
    content = document(kind)
    vocab = content["model"]["vocab"]
    if isinstance(vocab, dict):
        content["model"]["vocab"] = {new if t == old else t: i for t, i in vocab.items()}
    else:
        content["model"]["vocab"] = [[new if t == old else t, s] for t, s in vocab]
    if "merges" in content["model"]:
        content["model"]["merges"] = []
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_checked(kind: type[Tokenizer]) -> None:
    refused(rename(kind, "< eos >", "other"))
    refused(rename(kind, "a", "a" * 513))
    refused(rename(kind, "a", "\ud800"))
    if kind is not WordTokenizer:
        refused(rename(kind, "a", "two words"))
        refused(rename(kind, "a", ""))


def test_scores_are_checked() -> None:
    kind = next(kind for kind in KINDS if kind.__name__ == "UnigramTokenizer")
    for score in ("NaN", "-Infinity", "1e300", "0.5", "-1e5", "null", '"0"', "true", "[]"):
        content = document(kind)
        content["model"]["vocab"][9][1] = "HERE"
        refused(json.dumps(content).replace('"HERE"', score), "`model.vocab.9`")
    for entry in (["a"], ["a", 0.0, 0.0], "ab", None):
        content = document(kind)
        content["model"]["vocab"][9] = entry
        refused(content, "`model.vocab.9`")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON"),
        ("null", "a JSON object"),
        ("[]", "a JSON object"),
        ("[" * 200_000, "nesting"),
        ('{"a":' * 100_000, "nesting"),
        ('{"model": ' + "9" * 10_000 + "}", "numbers"),
        ("[" + "[]," * 3_000_000, "values"),
        ('"' + "é" * (tokenizer_file.MAX_FILE_BYTES // 2), "bytes"),
        ('{"a": "\x00"}', "JSON"),
        ("{}", "`post_processor`"),
        ('{"post_processor": {"seqae": 3}}', "class_path"),
    ],
)
def test_hostile_json_is_refused(text: str, message: str) -> None:
    refused(text, message)


def test_sizes_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_file, "MAX_VOCAB_SIZE", 300)
    refused(document(BPETokenizer), "at most 300 tokens")


def test_what_is_too_large_to_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained(BPETokenizer)
    monkeypatch.setattr(tokenizer_file, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1,000 bytes"):
        tokenizer.to_json()


def test_another_configuration_is_refused() -> None:
    tokenizer = trained(BPETokenizer)
    for config in ({}, [], 3, {"class_path": "BPETokenizer", "init_args": {"vocab_size": 401}}):
        with pytest.raises(ValueError, match=r"`tokenizer` must be the one that tokenizer.json"):
            Tokenizer.from_json(tokenizer.to_json(), config)
    with pytest.raises(ValueError, match="must be one of WordTokenizer"):
        WordTokenizer.from_json(tokenizer.to_json())


def test_bad_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ValueError, match="must be a file"):
        Tokenizer.load(path)
    with pytest.raises(ValueError, match="must be a file"):
        Tokenizer.load(tmp_path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=r"invalid byte at offset 7 "):
        Tokenizer.load(path)
    monkeypatch.setattr(tokenizer_file, "MAX_FILE_BYTES", 5)
    with pytest.raises(ValueError, match="at most 5 bytes"):
        Tokenizer.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="must be a file"):
        Tokenizer.load(tmp_path / "tokenizer.json")


# Fuzzing: whatever is done to a file, it is refused in one line or it is a whole tokenizer.

VALUES: list[Any] = [None, True, -1, 2, 0.5, 1e308, "", "a", "< eos >", "\ud800", [], {}, [[]]]


def mutate(content: Any, rng: random.Random) -> None:
    """Change, remove, double or move one value somewhere inside."""
    while True:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(content[key], (dict, list)) and rng.random() < 0.8:
            content = content[key]
            continue
        action = rng.randrange(4)
        if action == 0:
            del content[key]
        elif action == 1:
            content[key] = copy.deepcopy(rng.choice(VALUES))
        elif isinstance(content, list):
            content.insert(rng.randrange(len(content)), copy.deepcopy(content[key]))
        else:
            content[rng.choice(["type", "a", "vocab"])] = content[key]
        return


def survives(text: str) -> bool:
    """Whether it loads; if not, the refusal is one line; if so, the tokenizer works."""
    refusals: list[str] = []
    try:
        tokenizer = Tokenizer.from_json(text)
    except ValueError as error:
        refusals.append(str(error))
    if refusals:
        assert "\n" not in refusals[0]
        assert refusals[0].startswith("`")
        return False
    rows = tokenizer.encode(REAL)
    assert all(0 <= token_id < tokenizer.vocab_size for row in rows for token_id in row)
    assert len(tokenizer.decode(rows)) == len(REAL)
    assert Tokenizer.from_json(tokenizer.to_json()).fingerprint == tokenizer.fingerprint
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files(kind: type[Tokenizer]) -> None:
    rng = random.Random(11)
    original = trained(kind).to_json()
    accepted = 0
    for _ in range(120):
        content = json.loads(original)
        for _ in range(rng.choice([1, 1, 2])):
            mutate(content, rng)
        accepted += survives(json.dumps(content))
    assert accepted < 60


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_text(kind: type[Tokenizer]) -> None:
    rng = random.Random(12)
    original = trained(kind).to_json()
    for _ in range(40):
        assert not survives(original[: rng.randrange(len(original))])
        at = rng.randrange(len(original))
        survives(original[:at] + rng.choice('"{}[],:\\\x00e9-é') + original[at + 1 :])
