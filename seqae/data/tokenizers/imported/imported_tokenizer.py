"""ImportedTokenizer: the rules of another program's tokenizer, run by the `tokenizers` library.

The other kinds write all of a tokenizer.json but their vocabulary anew, so nobody's rules are run.
This kind runs rules that a file names, after library_parts.py has checked each of them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar, NoReturn, TypeVar, final

import numpy as np
import numpy.typing as npt
import tokenizers as hf

from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.base import CHUNK, Tokenizer
from seqae.data.tokenizers.byte_level import BYTE_OF
from seqae.data.tokenizers.imported import library_parts as parts
from seqae.data.tokenizers.imported.special_tokens import CONTROL
from seqae.data.tokenizers.json_format import SPECIAL_TOKENS
from seqae.data.tokenizers.word_cache import Lengths

UNK = SPECIAL_TOKENS[1]
MAX_MERGES = 1_000_000
MAX_WORD = 1000  # characters of a word that WordPiece cuts, in time that grows with their square
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")

_BPE: dict[str, parts.Check] = {
    "dropout": parts.one_of(None),
    "unk_token": parts.one_of(None, UNK),
    "continuing_subword_prefix": parts.is_optional_affix,
    "end_of_word_suffix": parts.is_optional_affix,
    "fuse_unk": parts.is_bool,
    "byte_fallback": parts.is_bool,
    "ignore_merges": parts.is_bool,
}
MODELS: dict[str, dict[str, parts.Check]] = {
    "BPE": _BPE,
    "Unigram": {"byte_fallback": parts.is_bool},
    "WordLevel": {"unk_token": parts.one_of(UNK)},
    "WordPiece": {
        "unk_token": parts.one_of(UNK),
        "continuing_subword_prefix": parts.is_affix,
        "max_input_chars_per_word": lambda value: type(value) is int and 0 < value <= MAX_WORD,
    },
}
# What else a model has, beside its vocabulary and these settings.
BESIDE = {"BPE": {"merges"}, "Unigram": {"unk_id"}}
ADDED_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")

T = TypeVar("T")


@final
class ImportedTokenizer(Tokenizer):
    """Cuts text as another program's tokenizer does: SentencePiece, `tokenizers`, transformers.

    It is never trained: `--data.tokenizer FILE` makes it of a file (TokenizerFile).
    """

    learned_keys: ClassVar[tuple[str, ...]] = (
        *("added_tokens", "normalizer", "pre_tokenizer", "decoder"),
        "model",
    )

    def __init__(self) -> None:
        super().__init__({})

    @classmethod
    def from_sections(cls, sections: dict[str, Any]) -> ImportedTokenizer:
        """Make one of what a file has, after all of it has been checked.

        Args:
            sections: of tokenizer.json, by `learned_keys`. The special tokens of the model's
                vocabulary are spelt as ours.

        Raises:
            ValueError: if a rule is not let through, or a part does not fit the others.
        """
        tokenizer = cls()
        tokenizer._adopt(sections)
        return tokenizer

    def _learn(self, sentences: Iterator[str]) -> NoReturn:
        raise ValueError(
            "`data.tokenizer` must be a file where it is an ImportedTokenizer, which is never "
            "trained, but it names none instead. Give it: --data.tokenizer tokenizer.json."
        )

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        tokens, model = _check_model(learned["model"])
        rules = {name: parts.check_rules(name, learned[name]) for name in parts.SECTIONS}
        added = _check_added(learned["added_tokens"], tokens)
        return tokens, {"added_tokens": added, **rules, "model": model}

    def _layout(self) -> dict[str, Any]:
        assert self._learned is not None
        return self._learned

    def _document(self, component: dict[str, Any] | None) -> dict[str, Any]:
        document = json_format.write_document(
            self._layout(), {}, self._require_trained(), component
        )
        return document | {"added_tokens": self._layout()["added_tokens"]}

    def _prepare(self) -> None:
        guarded(super()._prepare)
        self._inside: hf.Tokenizer | None = None
        self._is_byte_level = "ByteLevel" in self._types("decoder")
        self._has_byte_tokens = "ByteFallback" in self._types("decoder")
        self._texts = [
            self.unk_text if token == UNK else None if CONTROL.fullmatch(token) else token
            for token in self._tokens
        ]
        self._check_control_tokens()

    def _check_control_tokens(self) -> None:
        """Refuse rules by which a text can spell a control token: few know a blank in a token."""
        control = {i for i, token in enumerate(self._tokens) if CONTROL.fullmatch(token)}
        spelt = [self._tokens[i] for i in sorted(control)[:CHUNK]]
        ids, _ = self._encode_bodies([*spelt, *(f"a{token}b" for token in spelt)])
        if read := control.intersection(ids.tolist()) - {self.unk_id}:
            parts.refuse_part(
                "pre_tokenizer",
                "one that cuts or replaces blanks",
                f"one that reads {self._tokens[min(read)]!r} as a control token",
            )

    def _types(self, section: str) -> list[str]:
        return [part["type"] for part in parts.flat(section, self._layout()[section])]

    def encode_inside(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode n texts as they stand after others: no bos, no eos, no blank put in front."""
        if self._inside is None:
            document = copy.deepcopy(self._document(None))
            for section in ("normalizer", "pre_tokenizer"):
                document[section] = _without_blank(section, document[section])
            self._inside = hf.Tokenizer.from_str(json_format.to_canonical_json(document))
        encode = partial(self._inside.encode_batch_fast, [*texts], add_special_tokens=False)
        return [encoding.ids for encoding in guarded(encode)]

    def _encode_bodies(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        # Whole texts: what such rules do with a word may depend on the words around it.
        assert self._hf is not None
        bodies: list[npt.NDArray[Any]] = [np.empty(0, self._id_type())]
        lengths = np.empty(len(texts), np.int64)
        for start in range(0, len(texts), CHUNK):
            chunk = [*texts[start : start + CHUNK]]
            encode = partial(self._hf.encode_batch_fast, chunk, add_special_tokens=False)
            rows = [encoding.ids for encoding in guarded(encode)]
            lengths[start : start + len(rows)] = [len(row) for row in rows]
            bodies.append(np.fromiter(chain.from_iterable(rows), self._id_type()))
        return np.concatenate(bodies), lengths

    def _join(self, ids: list[int]) -> str:
        assert self._hf is not None
        tokens = [text for i in ids if (text := self._texts[i]) is not None]
        if self._hf.decoder is None:
            return " ".join(tokens)
        return str(guarded(partial(self._hf.decoder.decode, tokens)))

    def _added(self, token_id: int) -> bytes:
        token = self._tokens[token_id]
        if CONTROL.fullmatch(token):
            return b""
        if self._has_byte_tokens and (byte := BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(byte[1])
        if self._is_byte_level and set(token) <= BYTE_OF.keys():
            return bytes(BYTE_OF[character] for character in token)
        # What comes after another token, which takes away what only begins a text.
        assert self._hf is not None
        join = self._hf.decoder.decode if self._hf.decoder is not None else " ".join
        return str(join(["a", token])).removeprefix("a").encode()


def guarded(call: Callable[[], T]) -> T:
    """Call the library; where it aborts, which it does by a BaseException, raise a ValueError."""
    try:
        return call()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"`tokenizer` must be one that the tokenizers library can run, but it says "
            f"{str(error)[:200]!r} instead. Take another tokenizer, or train one."
        ) from error


def _check_model(model: Any) -> tuple[list[str], dict[str, Any]]:
    """Check `model` of tokenizer.json; return the token of each id, and the same model."""
    kind = model.get("type") if isinstance(model, dict) else None
    if not isinstance(kind, str) or kind not in MODELS:
        parts.refuse_part("model", f"one of {', '.join(MODELS)}", model)
    own = {"vocab"} | BESIDE.get(kind, set())
    settings = {key: value for key, value in model.items() if key not in own}
    checked = {"type": kind, **parts.check_settings("model", settings, MODELS[kind])}
    if "unk_token" in MODELS[kind] and kind != "BPE":
        checked["unk_token"] = UNK
    if kind == "Unigram":
        tokens, scores = json_format.check_scored_vocab(model.get("vocab"))
        vocab: Any = [list(pair) for pair in zip(tokens, scores, strict=True)]
        checked["unk_id"] = tokens.index(UNK)
        if type(model.get("unk_id")) is not int or model["unk_id"] != checked["unk_id"]:
            parts.refuse_part("model.unk_id", f"that of {UNK}", model.get("unk_id"))
    else:
        tokens = json_format.check_vocab(model.get("vocab"))
        vocab = json_format.number(tokens)
    if "" in tokens:
        parts.refuse_part("model.vocab", "without an empty token", f"{len(tokens):,} tokens")
    merges = {"merges": _check_merges(model, tokens)} if kind == "BPE" else {}
    return tokens, {**checked, "vocab": vocab, **merges}


def _check_merges(model: dict[str, Any], tokens: list[str]) -> list[list[str]]:
    """Check the merges of BPE: pairs of known tokens. The library finds what they join to."""
    merges, known = model.get("merges"), set(tokens)
    prefix = model.get("continuing_subword_prefix") or ""
    if not isinstance(merges, list) or len(merges) > MAX_MERGES:
        parts.refuse_part("model.merges", f"a list of at most {MAX_MERGES:,} pairs", merges)
    for index, pair in enumerate(merges):
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(part, str) and part in known for part in pair)
            or not pair[1].startswith(prefix)
        ):
            parts.refuse_part(f"model.merges.{index}", "two tokens of the vocabulary", pair)
    return merges


def _check_added(added: Any, tokens: list[str]) -> list[dict[str, Any]]:
    """Check the tokens that are cut out of a text before it is encoded; none is a control token."""
    if not isinstance(added, list):
        parts.refuse_part("added_tokens", "a list", added)
    checked = []
    for index, token in enumerate(added):
        key = f"added_tokens.{index}"
        if not isinstance(token, dict) or set(token) != {"id", "content", "special", *ADDED_FLAGS}:
            parts.refuse_part(key, "a token with its settings", token)
        content, token_id = token["content"], token["id"]
        if type(token_id) is not int or not 0 <= token_id < len(tokens):
            parts.refuse_part(f"{key}.id", f"from 0 to {len(tokens) - 1:,}", token_id)
        if content != tokens[token_id] or CONTROL.fullmatch(content):
            parts.refuse_part(
                f"{key}.content", "the token of its id, and no control token", content
            )
        if token["special"] is not False or not all(parts.is_bool(token[f]) for f in ADDED_FLAGS):
            parts.refuse_part(key, "no special one", token)
        checked.append({key: token[key] for key in ("id", "content", *ADDED_FLAGS, "special")})
    return checked


def _without_blank(section: str, rules: dict[str, Any] | None) -> dict[str, Any] | None:
    """Drop what a section does at the ends of a text only."""
    kept = []
    for rule in parts.flat(section, rules):
        if rule["type"] in ("Prepend", "Strip") or "\\A" in str(rule.get("pattern")):
            continue
        if rule["type"] == "Metaspace":
            rule = {**rule, "prepend_scheme": "never"}
            rule.pop("add_prefix_space", None)
        kept.append({**rule, "add_prefix_space": False} if rule["type"] == "ByteLevel" else rule)
    if section == "normalizer":
        kept = [{"type": "ByteLevel"} if r["type"] == "ByteLevel" else r for r in kept]
    return {"type": "Sequence", parts.SECTIONS[section][1]: kept} if kept else None
