"""A model of SentencePiece (Kudo and Richardson 2018) in the terms of the `tokenizers` library.

The file is a protocol buffer (sentencepiece_model.proto). It is read here, without SentencePiece,
and every number in it is checked. The normalisation is SentencePiece's own table, which the library
applies; what the table does not say (blanks at the ends, the blank in front) are rules beside it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.imported.charsmap import charsmap_fault
from seqae.data.tokenizers.imported.imported_tokenizer import UNK, ImportedTokenizer
from seqae.data.tokenizers.imported.known_patterns import OUTER_BLANKS, RUNS_OF_BLANKS
from seqae.data.tokenizers.imported.protobuf import Value, fields, signed
from seqae.data.tokenizers.imported.special_tokens import name_special_tokens
from seqae.data.tokenizers.json_format import MAX_TOKEN_LENGTH, MAX_VOCAB_SIZE, MIN_SCORE

BLANK = "▁"  # stands in every piece for a blank
UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
MODEL_NAMES = {UNIGRAM: "Unigram", BPE: "BPE", WORD: "WORD", CHAR: "characters"}


@dataclass
class SentencePieceModel:
    """What a model says, as far as it decides what a text becomes.

    Attributes:
        pieces: the piece of each id.
        scores: of each: a log-probability, or for BPE its rank below zero.
        kinds: of each: NORMAL, UNKNOWN, CONTROL, ...
        model_type: UNIGRAM, BPE, WORD or CHAR.
        byte_fallback: whether a character that no piece has becomes its bytes.
        special: the pieces that the training called pad, unk, bos and eos.
        charsmap: how characters are normalised; empty for not at all.
        add_dummy_prefix: whether a blank is put in front.
        remove_extra_whitespaces: whether blanks are taken from the ends, and made one elsewhere.
    """

    pieces: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    special: dict[str, str] = field(
        default_factory=lambda: {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}
    )
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True

    @classmethod
    def parse(cls, data: bytes) -> SentencePieceModel:
        """Read a file.

        Args:
            data: all of it.

        Raises:
            ValueError: if it is damaged, or does what cannot be done here; the message completes
                "but it ...".
        """
        model = cls()
        for number, value in fields(data):
            if number == 1:
                model._add_piece(_bytes(value))
            elif number == 2:
                model._read_training(dict(fields(_bytes(value))))
            elif number == 3:
                model._read_normalization(dict(fields(_bytes(value))))
            elif number == 5 and dict(fields(_bytes(value))).get(2):
                raise ValueError("changes what it decodes by rules of its own")
        model._check()
        return model

    def _add_piece(self, message: bytes) -> None:
        content = dict(fields(message))
        index = len(self.pieces)
        if index >= MAX_VOCAB_SIZE:
            raise ValueError(f"has more than {MAX_VOCAB_SIZE:,} pieces")
        piece, score, kind = content.get(1, b""), content.get(2, 0.0), content.get(3, NORMAL)
        try:
            text = _bytes(piece).decode()
        except UnicodeDecodeError:
            raise ValueError(f"has piece {index:,} that is no UTF-8") from None
        if not 0 < len(text) <= MAX_TOKEN_LENGTH:
            raise ValueError(f"has piece {index:,} of {len(text):,} characters")
        if not isinstance(score, float) or not math.isfinite(score):
            raise ValueError(f"has piece {index:,} with the score {score!r}")
        if kind not in (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE):
            raise ValueError(f"has piece {index:,} of kind {kind!r}")
        self.pieces.append(text)
        self.scores.append(score)
        self.kinds.append(int(kind))

    def _read_training(self, spec: Mapping[int, Value]) -> None:
        self.model_type = _number(spec.get(3, UNIGRAM))
        self.byte_fallback = bool(spec.get(35, 0))
        if spec.get(24, 0):
            raise ValueError("has blanks behind its words (treat_whitespace_as_suffix)")
        for role, (number, id_number) in {
            "bos": (46, 41),
            "eos": (47, 42),
            "pad": (48, 43),
        }.items():
            if number in spec:
                self.special[role] = _bytes(spec[number]).decode("utf-8", "replace")
            if signed(_number(spec.get(id_number, 0))) < 0:
                self.special.pop(role)

    def _read_normalization(self, spec: Mapping[int, Value]) -> None:
        self.charsmap = _bytes(spec.get(2, b""))
        self.add_dummy_prefix = bool(spec.get(3, 1))
        self.remove_extra_whitespaces = bool(spec.get(4, 1))
        if not spec.get(5, 1):
            raise ValueError("keeps blanks as they are (escape_whitespaces is false)")

    def _check(self) -> None:
        if not self.pieces:
            raise ValueError("has no pieces")
        if self.kinds.count(UNKNOWN) != 1:
            raise ValueError(f"has {self.kinds.count(UNKNOWN)} pieces for what is unknown")
        if len(set(self.pieces)) != len(self.pieces):
            raise ValueError("has a piece twice")
        if self.model_type not in (UNIGRAM, BPE, CHAR):
            name = MODEL_NAMES.get(self.model_type, str(self.model_type))
            raise ValueError(f"is of the type {name}; Unigram, BPE and CHAR can be imported")
        if self.charsmap and (fault := charsmap_fault(self.charsmap)):
            raise ValueError(f"has a table of characters {fault}")
        normal = [s for s, kind in zip(self.scores, self.kinds, strict=True) if kind == NORMAL]
        if self.model_type == UNIGRAM and not min(normal, default=0.0) >= MIN_SCORE:
            raise ValueError(f"has a score below {MIN_SCORE:,.0f}")
        if self.model_type == UNIGRAM and max(normal, default=0.0) > 0:
            raise ValueError("has a score above 0, which is no log-probability")
        if self.byte_fallback and self.kinds.count(BYTE) != 256:
            raise ValueError(f"falls back to bytes, but has {self.kinds.count(BYTE)} of 256")

    def tokenizer(self) -> ImportedTokenizer:
        """Make the tokenizer, with our special tokens.

        Raises:
            ValueError: if the rules of the library cannot say what this model does; the message
                completes "but it ...", or is a whole one of json_format.
        """
        tokens = self._named()
        model = self._unigram(tokens) if self.model_type == UNIGRAM else self._bpe(tokens)
        cut = self.model_type == UNIGRAM and self.byte_fallback
        made = ImportedTokenizer.from_sections(
            {
                "added_tokens": [],
                "normalizer": _sequence("normalizers", self._normalizers()),
                # A byte is a piece `<0x41>`, which the library would find in a text that spells it.
                "pre_tokenizer": _split("<0x") if cut else None,
                "decoder": _sequence("decoders", self._decoders()),
                "model": model,
            }
        )
        self._check_user_defined(made)
        return made

    def _named(self) -> list[str]:
        control = [i for i, kind in enumerate(self.kinds) if kind == CONTROL]
        given = {self.pieces[i]: i for i in control}
        roles = {"unk": self.kinds.index(UNKNOWN)}
        roles |= {role: given[piece] for role, piece in self.special.items() if piece in given}
        hidden = [i for i, kind in enumerate(self.kinds) if kind == UNUSED]
        return name_special_tokens(self.pieces, roles, [*control, *hidden], control)

    def _unigram(self, tokens: list[str]) -> dict[str, Any]:
        numbered = [*zip(self.pieces, self.scores, self.kinds, strict=True)]
        largest = max((score for _, score, kind in numbered if kind == NORMAL), default=0.0)
        scores = [0.0] * len(tokens)
        for index, (piece, score, kind) in enumerate(numbered):
            if kind == NORMAL:
                scores[index] = score
            elif kind == USER_DEFINED:  # as unigram_model.cc has it
                scores[index] = max(len(piece.encode()) * largest - 0.1, MIN_SCORE)
        return {
            "type": "Unigram",
            "byte_fallback": self.byte_fallback,
            "unk_id": tokens.index(UNK),
            "vocab": [list(pair) for pair in zip(tokens, scores, strict=True)],
        }

    def _bpe(self, tokens: list[str]) -> dict[str, Any]:
        merges: list[list[str]] = []
        if self.model_type == BPE:
            numbered = zip(self.pieces, self.kinds, strict=True)
            ids = {piece: i for i, (piece, kind) in enumerate(numbered) if kind == NORMAL}
            for piece in sorted(ids, key=lambda piece: -self.scores[ids[piece]]):
                cuts = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
                pairs = [pair for pair in cuts if pair[0] in ids and pair[1] in ids]
                pairs.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
                merges += [list(pair) for pair in pairs]
        settings = json_format.bpe_model() | {
            "unk_token": UNK,
            "fuse_unk": True,
            "byte_fallback": self.byte_fallback,
        }
        return {**settings, "vocab": json_format.number(tokens), "merges": merges}

    def _normalizers(self) -> list[dict[str, Any]]:
        rules = []
        if self.charsmap:
            text = base64.b64encode(self.charsmap).decode()
            rules.append({"type": "Precompiled", "precompiled_charsmap": text})
        if self.remove_extra_whitespaces:
            rules.append(_replace({"Regex": RUNS_OF_BLANKS}, " "))
            rules.append(_replace({"Regex": OUTER_BLANKS}, ""))
        rules.append(_replace({"String": " "}, BLANK))
        return rules + [{"type": "Prepend", "prepend": BLANK}] * self.add_dummy_prefix

    def _decoders(self) -> list[dict[str, Any]]:
        rules = [_replace({"String": BLANK}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        return rules + [strip] * self.add_dummy_prefix

    def _check_user_defined(self, made: ImportedTokenizer) -> None:
        """Refuse symbols of the user that the library would change, or cut."""
        symbols = [
            p for p, kind in zip(self.pieces, self.kinds, strict=True) if kind == USER_DEFINED
        ]
        if symbols and self.model_type != UNIGRAM:
            raise ValueError(
                f"has symbols of its user, such as {symbols[0][:40]!r}, which are imported from "
                f"Unigram models only"
            )
        for symbol, ids in zip(symbols, made.encode_inside(symbols), strict=True):
            if ids != [self.pieces.index(symbol)]:
                raise ValueError(f"has the symbol {symbol[:40]!r}, which its normalisation changes")


def _sequence(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "Sequence", name: rules}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _split(text: str) -> dict[str, Any]:
    pattern = {"String": text}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"has {value!r} where text or a part of it must be")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError(f"has {value!r} where a number must be")
    return value
