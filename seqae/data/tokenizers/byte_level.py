"""The three lossless kinds of tokenizer: bytes, byte-pair encoding, Unigram."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt
from tokenizers import models, trainers

from seqae.component import check_range
from seqae.data.tokenizers import json_format
from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.json_format import MAX_TOKEN_LENGTH, MAX_VOCAB_SIZE, SPECIAL_TOKENS
from seqae.data.tokenizers.library_training import train_model
from seqae.data.tokenizers.word_cache import Lengths

# Characters; longer than any sentence.
TRAINING_LENGTH = 4096

# Matches a line that does not begin with a character, or with a blank and a character.
ODD_START = re.compile(r"^(?! ?\S)", re.MULTILINE)

# Words encoded as one text; 16 take 1.2 times as long, 40,000 1.5 times (measured, BPE).
JOINED = 256


class ByteLevelTokenizer(Tokenizer):
    """Base of the three lossless kinds: text is cut into UTF-8 bytes before anything else.

    The file has for each byte the printable character that GPT-2 gave it (Radford et al. 2019, the
    `bytes_to_unicode` of its encoder.py), so that a token is readable text.
    """

    @property
    def add_prefix_space(self) -> bool:
        """Whether a blank is put in front of each text, and taken away from what is decoded."""
        return bool(self._arguments.get("add_prefix_space", False))

    def _prepare(self) -> None:
        super()._prepare()
        assert self._hf is not None
        # The blank is put in front before pieces are cut; the library would add one to each.
        self._hf.normalizer = None
        self._pieces = [_token_bytes(token, self.unk_text) for token in self._tokens]
        self._widths = np.array([len(piece) for piece in self._pieces], np.int64)

    def _added(self, token_id: int) -> bytes:
        return self._pieces[token_id]

    def _join(self, ids: list[int]) -> str:
        text = b"".join([self._pieces[i] for i in ids]).decode("utf-8", "replace")
        return text.removeprefix(" ") if self.add_prefix_space else text

    def _stored_config(self) -> dict[str, Any]:
        """Return it without what was added later and is off, so that files keep their hash."""
        config = self.config()
        if not self.add_prefix_space:
            config["init_args"].pop("add_prefix_space", None)
        return config

    def _begun(self, texts: Sequence[str]) -> Sequence[str]:
        return [f" {text}" if text else "" for text in texts] if self.add_prefix_space else texts

    def _encode_pieces(self, pieces: list[str]) -> tuple[npt.NDArray[Any], Lengths]:
        """Encode pieces as parts of long texts, which halves the time, unless one begins oddly.

        A blank before a character goes to the word after it (word_cache.py), and a new line before
        a character is a token of its own. So a piece without a blank in front gets a new line,
        which is deleted again. The bytes of the tokens tell where a piece ends.
        """
        assert self._hf is not None
        if ODD_START.search("\n".join(pieces)):
            return super()._encode_pieces(pieces)
        has_line = np.array([not piece.startswith(" ") for piece in pieces])
        parts = [f"\n{p}" if line else p for p, line in zip(pieces, has_line, strict=True)]
        joined = ["".join(parts[i : i + JOINED]) for i in range(0, len(parts), JOINED)]
        encodings = self._hf.encode_batch_fast(joined, add_special_tokens=False)
        ids = np.fromiter(itertools.chain.from_iterable(e.ids for e in encodings), self._id_type())
        ends_of_tokens = self._widths[ids].cumsum()
        ends_of_parts = np.array([len(part.encode()) for part in parts], np.int64).cumsum()
        stops = np.searchsorted(ends_of_tokens, ends_of_parts) + 1
        assert (ends_of_tokens[stops - 1] == ends_of_parts).all(), "a token crosses a part's end"
        lengths = np.diff(stops, prepend=0)
        return np.delete(ids, (stops - lengths)[has_line]), lengths - has_line

    def _check_bytes(self, tokens: list[str]) -> None:
        json_format.check_special_first(tokens)
        known = set(BYTE_CHARACTERS)
        for token in tokens[4:]:
            if not token or not known.issuperset(token):
                json_format.refuse("model.vocab", "made of byte characters only", token)
        if not known.issubset(tokens):
            json_format.refuse("model.vocab", "one with all 256 bytes", f"{len(tokens)} tokens")

    def _layout(self) -> dict[str, Any]:
        return {
            "normalizer": {"type": "Prepend", "prepend": " "} if self.add_prefix_space else None,
            "pre_tokenizer": _byte_level(add_prefix_space=False),
            "decoder": _without_first_blank() if self.add_prefix_space else _byte_level(True),
        }


@final
class ByteTokenizer(ByteLevelTokenizer):
    """Takes every UTF-8 byte for a token: 256 and the four special ones. Needs no training.

    Lossless for any Unicode text; an English sentence is 4 to 5 times longer than in BPE.
    """

    def __init__(self) -> None:
        super().__init__({})
        self._adopt(self._learn(iter(())))

    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        return {"vocab": json_format.number([*SPECIAL_TOKENS, *BYTE_CHARACTERS])}

    def train(self, sentences: Iterable[str]) -> None:
        """Do nothing: there is nothing to learn. The sentences are not read."""

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        expected = self._learn(iter(()))
        json_format.check_same(learned, expected, "model")
        return list(expected["vocab"]), expected

    def _layout(self) -> dict[str, Any]:
        pre_tokenizer = _byte_level(add_prefix_space=False, use_regex=False)
        return {
            **super()._layout(),
            "pre_tokenizer": pre_tokenizer,
            "model": json_format.bpe_model(),
        }

    def _encode_bodies(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        data = [text.encode() for text in texts]
        ids = np.frombuffer(b"".join(data), np.uint8).astype(np.uint16) + len(SPECIAL_TOKENS)
        return ids, np.array([len(item) for item in data], np.int64)


@final
class BPETokenizer(ByteLevelTokenizer):
    """Byte-pair encoding (Sennrich et al. 2016) over bytes: frequent strings are tokens.

    Training joins the most frequent pair of neighbours, within words, until the vocabulary is full.
    Lossless for any Unicode text.

    Args:
        vocab_size: ids at most, the 256 bytes and four special ones counted.
        min_frequency: a pair seen less often than this in training is not joined.
        add_prefix_space: put a blank in front of each text, as GPT-2's tokenizer can, and take it
            away again, so that a word has the same tokens at the beginning as after a blank. A
            model that copies words from one text to another needs that.
    """

    learned_keys: ClassVar[tuple[str, ...]] = ("model.vocab", "model.merges")

    def __init__(
        self, vocab_size: int = 2000, min_frequency: int = 2, add_prefix_space: bool = False
    ) -> None:
        check_range("vocab_size", vocab_size, 260, MAX_VOCAB_SIZE)
        check_range("min_frequency", min_frequency, 1, 10**9)
        super().__init__(
            {
                "vocab_size": vocab_size,
                "min_frequency": min_frequency,
                "add_prefix_space": add_prefix_space,
            }
        )

    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        trainer = trainers.BpeTrainer(
            vocab_size=self._arguments["vocab_size"],
            min_frequency=self._arguments["min_frequency"],
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=BYTE_CHARACTERS,
            max_token_length=MAX_TOKEN_LENGTH,
            show_progress=False,
        )
        return train_model(self._layout(), models.BPE(), trainer, _cut(sentences))

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        tokens = json_format.check_vocab(learned["vocab"])
        self._check_bytes(tokens)
        merges = json_format.check_merges(learned["merges"], tokens)
        return tokens, {"vocab": json_format.number(tokens), "merges": merges}

    def _layout(self) -> dict[str, Any]:
        model = json_format.bpe_model()
        del model["merges"]
        return {**super()._layout(), "model": model}


@final
class UnigramTokenizer(ByteLevelTokenizer):
    """Unigram language model (Kudo 2018) over bytes: the likeliest cut into known strings.

    Training starts from all frequent strings within words and drops those whose loss costs the
    least likelihood, until the vocabulary has the size asked for. Lossless for any Unicode text.

    Args:
        vocab_size: ids at most, the 256 bytes and four special ones counted.
        add_prefix_space: as BPETokenizer.
    """

    def __init__(self, vocab_size: int = 2000, add_prefix_space: bool = False) -> None:
        check_range("vocab_size", vocab_size, 260, MAX_VOCAB_SIZE)
        super().__init__({"vocab_size": vocab_size, "add_prefix_space": add_prefix_space})

    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        trainer = trainers.UnigramTrainer(
            vocab_size=self._arguments["vocab_size"],
            special_tokens=list(SPECIAL_TOKENS),
            unk_token=SPECIAL_TOKENS[1],
            initial_alphabet=BYTE_CHARACTERS,
            show_progress=False,
        )
        scored = train_model(self._layout(), models.Unigram(), trainer, _cut(sentences))["vocab"]
        return {"vocab": _canonical_scores(scored)}

    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        tokens, scores = json_format.check_scored_vocab(learned["vocab"])
        self._check_bytes(tokens)
        return tokens, {"vocab": [list(item) for item in zip(tokens, scores, strict=True)]}

    def _layout(self) -> dict[str, Any]:
        model = {"type": "Unigram", "unk_id": 1, "byte_fallback": False}
        return {**super()._layout(), "model": model}


def _byte_characters() -> list[str]:
    """Return the printable character for each byte 0 ... 255, as GPT-2 chose them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


BYTE_CHARACTERS = _byte_characters()
BYTE_OF = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def _token_bytes(token: str, unk_text: str) -> bytes:
    if token in SPECIAL_TOKENS:
        return unk_text.encode()
    return bytes(BYTE_OF[character] for character in token)


def _byte_level(add_prefix_space: bool, use_regex: bool = True) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _without_first_blank() -> dict[str, Any]:
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return {"type": "Sequence", "decoders": [_byte_level(True), strip]}


def _cut(sentences: Iterator[str]) -> Iterator[str]:
    """Cut long lines: training time grows with the square of a word, and a line may be one word."""
    for sentence in sentences:
        for start in range(0, len(sentence), TRAINING_LENGTH):
            yield sentence[start : start + TRAINING_LENGTH]


def _canonical_scores(scored: list[list[Any]]) -> list[list[Any]]:
    """Make the scores of two trainings on the same text equal.

    The library goes over words in a random order, which moves scores by up to 4e-11 (measured). It
    gives bytes that it has not seen scores 0.0001 apart, below all others and in random order: here
    all of them get the highest of these scores. On tiny texts its scores can exceed 0: here they
    are cut to 0.
    """
    scores = {token: score for token, score in scored if token not in SPECIAL_TOKENS}
    by_score = sorted(BYTE_CHARACTERS, key=scores.__getitem__)
    num_unseen = 1
    while (
        num_unseen < len(by_score)
        and scores[by_score[num_unseen]] - scores[by_score[num_unseen - 1]] < 0.00015
    ):
        num_unseen += 1
    floor = scores[by_score[num_unseen - 1]]
    scores.update(dict.fromkeys(by_score[:num_unseen], floor))
    rounded = {token: round(min(score, 0.0), 6) + 0.0 for token, score in scores.items()}
    order = sorted(rounded, key=lambda token: (-rounded[token], token))
    return [[t, 0.0] for t in SPECIAL_TOKENS] + [[token, rounded[token]] for token in order]
