"""The two kinds of tokenizer with unknown text: characters and words."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import numpy.typing as npt
from tokenizers import models, trainers

from seqae.component import check_choice, check_range
from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.input_checks import check_text
from seqae.data.tokenizers.json_format import MAX_TOKEN_LENGTH, MAX_VOCAB_SIZE, SPECIAL_TOKENS
from seqae.data.tokenizers.library_training import train_model
from seqae.data.tokenizers.word_cache import Lengths


@final
class CharacterTokenizer(Tokenizer):
    """Takes a Unicode character (code point) for a token; one not seen in training is unk.

    Args:
        min_frequency: characters seen less often than this in training are left out.
        vocab_size: ids at most, the four special ones counted; the most frequent characters are
            kept, of equally frequent ones those with the lower code point.
    """

    def __init__(self, min_frequency: int = 1, vocab_size: int = 10_000) -> None:
        check_range("min_frequency", min_frequency, 1, 10**9)
        check_range("vocab_size", vocab_size, 5, MAX_VOCAB_SIZE)
        super().__init__({"min_frequency": min_frequency, "vocab_size": vocab_size})

    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(sentence)
        by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        frequent = [c for c, n in by_frequency if n >= self._arguments["min_frequency"]]
        return {
            "vocab": json_format.number(
                [*SPECIAL_TOKENS, *frequent][: self._arguments["vocab_size"]]
            )
        }

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        tokens = json_format.check_vocab(learned["vocab"])
        json_format.check_special_first(tokens)
        for token in tokens[4:]:
            if len(token) != 1:
                json_format.refuse("model.vocab", "made of single characters", token)
        return tokens, {"vocab": json_format.number(tokens)}

    def _layout(self) -> dict[str, Any]:
        return {
            "normalizer": None,
            "pre_tokenizer": None,
            "decoder": {"type": "Fuse"},
            "model": {**json_format.bpe_model(), "unk_token": SPECIAL_TOKENS[1]},
        }

    def _prepare(self) -> None:
        self._pieces = [self.unk_text if t in SPECIAL_TOKENS else t for t in self._tokens]
        self._id_of = np.full(sys.maxunicode + 1, self.unk_id, self._id_type())
        self._id_of[[ord(c) for c in self._tokens[4:]]] = range(4, len(self._tokens))

    def _join(self, ids: list[int]) -> str:
        return "".join([self._pieces[i] for i in ids])

    def _encode_bodies(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        code_points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        return self._id_of[code_points], np.array([len(text) for text in texts], np.int64)


@final
class WordTokenizer(Tokenizer):
    """Takes a word between blanks for a token; one not seen in training is unk.

    The vocabulary is that of torchtext's `build_vocab_from_iterator`: specials first, then by
    falling frequency, equally frequent words in the order of their code points. `basic_english` is
    torchtext's `get_tokenizer("basic_english")` (torchtext/data/utils.py,
    `_basic_english_normalize`): it lowers the case, drops ", makes ' . , ( ) ! ? words of their
    own, and takes ; : and <br /> for blanks. Two things differ outside English: a final Greek sigma
    is lowered to the ordinary one, and the separators U+001C to U+001F are no blanks.

    Args:
        vocab_size: ids at most, the four special ones counted (torchtext's `max_tokens`).
        min_frequency: words seen less often than this in training are left out.
        normalization: how to change text before it is cut at blanks.
    """

    unk_text: ClassVar[str] = "<unk>"
    # Except for blanks that basic_english can see inside `<br />`, after it has dropped every ".
    _cut_at: ClassVar[re.Pattern[str]] = re.compile(r' (?=\S)(?!"*/)')

    def __init__(
        self,
        vocab_size: int = 10_000,
        min_frequency: int = 1,
        normalization: Literal["none", "basic_english"] = "none",
    ) -> None:
        check_range("vocab_size", vocab_size, 4, MAX_VOCAB_SIZE)
        check_range("min_frequency", min_frequency, 1, 10**9)
        check_choice("normalization", normalization, ("none", "basic_english"))
        super().__init__(
            {
                "vocab_size": vocab_size,
                "min_frequency": min_frequency,
                "normalization": normalization,
            }
        )

    @classmethod
    def from_token_list(
        cls, tokens: Sequence[str], normalization: Literal["none", "basic_english"] = "none"
    ) -> WordTokenizer:
        """Import a vocabulary, such as torchtext's `vocab.get_itos()`; each token keeps its id.

        Args:
            tokens: the token of each id. The special tokens are recognised by their usual spellings
                (IMPORTED_SPELLINGS) at any index, and appended if they are missing.
            normalization: with which the vocabulary was made.

        Raises:
            ValueError: if a token is given twice, too long or not Unicode text.
        """
        tokens = [check_text("tokens", index, token) for index, token in enumerate(tokens)]
        first_index: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if first_index.setdefault(token, index) != index or len(token) > MAX_TOKEN_LENGTH:
                raise ValueError(
                    f"`tokens` must be different and at most {MAX_TOKEN_LENGTH} characters long, "
                    f"but the one at index {index} is {token[:40]!r} instead, first given at index "
                    f"{first_index[token]}. Correct the list."
                )
        for special, spellings in zip(SPECIAL_TOKENS, IMPORTED_SPELLINGS, strict=True):
            indices = [first_index[s] for s in (special, *spellings) if s in first_index]
            if indices:
                tokens[indices[0]] = special
            else:
                tokens.append(special)
        tokenizer = cls(vocab_size=len(tokens), normalization=normalization)
        tokenizer._adopt({"vocab": json_format.number(tokens)})
        return tokenizer

    @classmethod
    def from_token_file(
        cls, path: str | Path, normalization: Literal["none", "basic_english"] = "none"
    ) -> WordTokenizer:
        """Import a vocabulary from a UTF-8 text file with one token a line; the first has id 0.

        Raises:
            ValueError: as `from_token_list`, or if the file cannot be read as such.
        """
        lines = re.split("\r\n|\n", json_format.read_text(path).removeprefix("\ufeff"))
        return cls.from_token_list(lines[:-1] if lines[-1] == "" else lines, normalization)

    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        trainer = trainers.WordLevelTrainer(
            vocab_size=self._arguments["vocab_size"],
            min_frequency=self._arguments["min_frequency"],
            special_tokens=list(SPECIAL_TOKENS),
            show_progress=False,
        )
        vocab = train_model(self._layout(), models.WordLevel(), trainer, sentences)["vocab"]
        by_id = sorted(vocab, key=vocab.__getitem__)
        return {"vocab": json_format.number([w for w in by_id if len(w) <= MAX_TOKEN_LENGTH])}

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        tokens = json_format.check_vocab(learned["vocab"])
        return tokens, {"vocab": json_format.number(tokens)}

    def _layout(self) -> dict[str, Any]:
        return {
            "normalizer": _basic_english()
            if self._arguments["normalization"] == "basic_english"
            else None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "decoder": None,
            "model": {"type": "WordLevel", "unk_token": SPECIAL_TOKENS[1]},
        }

    def _prepare(self) -> None:
        super()._prepare()
        self._pieces = [self.unk_text if t in SPECIAL_TOKENS else t for t in self._tokens]

    def _added(self, token_id: int) -> bytes:
        return f" {self._pieces[token_id]}".encode()

    def _join(self, ids: list[int]) -> str:
        return " ".join([self._pieces[i] for i in ids])


# How other programs spell the special tokens in their vocabularies, the likeliest first.
IMPORTED_SPELLINGS = (
    ("<pad>", "<PAD>", "[PAD]", "<blank>"),
    ("<unk>", "<UNK>", "[UNK]", "<oov>"),
    ("<bos>", "<BOS>", "[BOS]", "<s>", "<sos>", "<SOS>", "<start>"),
    ("<eos>", "<EOS>", "[EOS]", "</s>", "<end>"),
)

# torchtext/data/utils.py, `_patterns` and `_replacements`, in their order. The last one there,
# which makes one blank of many, is left to the cut at blanks.
BASIC_ENGLISH = (
    ("'", " '  "),
    ('"', ""),
    (".", " . "),
    ("<br />", " "),
    (",", " , "),
    ("(", " ( "),
    (")", " ) "),
    ("!", " ! "),
    ("?", " ? "),
    (";", " "),
    (":", " "),
)


def _basic_english() -> dict[str, Any]:
    replacements = [
        {"type": "Replace", "pattern": {"String": old}, "content": new}
        for old, new in BASIC_ENGLISH
    ]
    return {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *replacements]}
