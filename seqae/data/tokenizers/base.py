"""Tokenizer: the contract of every kind, and what all kinds share.

A tokenizer turns sentences into rows of ids, `bos ... eos`, and back. It is untrained or trained;
all that it has learnt is in its tokenizer.json (json_format.py).
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import tokenizers as hf
from torch import Tensor

import seqae.data.tokenizers.fork_safety  # noqa: F401 - importing it is what it is for
from seqae.batch import Vocabulary
from seqae.component import Component
from seqae.data.tokenizers import input_checks, json_format
from seqae.data.tokenizers.json_format import SPECIAL_TOKENS
from seqae.data.tokenizers.word_cache import CUT, Lengths, PieceTable

T = TypeVar("T", bound="Tokenizer")
Ids = npt.NDArray[np.uint16 | np.int32]

# Texts encoded at a time. Their pieces stay in the processor's cache: with 8192, BPE of `speeches`
# took 1.6 times as long if all pieces were known, 1.2 times if none was (measured).
CHUNK = 1024


class Tokenizer(Component):
    """Turns text into token ids and back.

    A kind is a subclass that implements `_learn` (what it learns), `_check` (what of that a file
    may hold), `_layout` (the fixed sections of its tokenizer.json) and `_join` (tokens to text).
    """

    # Stands in decoded text for a token that the tokenizer did not know.
    unk_text: ClassVar[str] = "\ufffd"
    # The parts of tokenizer.json that hold what was learnt.
    learned_keys: ClassVar[tuple[str, ...]] = ("model.vocab",)
    # Matches the blanks at which a word begins, whatever comes before and after them.
    _cut_at: ClassVar[re.Pattern[str]] = CUT

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._learned: dict[str, Any] | None = None
        self._tokens: list[str] = []
        self._vocabulary: Vocabulary | None = None
        self._hf: hf.Tokenizer | None = None
        self._tables: list[PieceTable] = []  # none or one

    def config(self) -> dict[str, Any]:
        """Return how this tokenizer was built: its arguments, not what it has learnt.

        The argument `vocab_size` is the size that was asked for; the property is the actual size.
        """
        return {"class_path": type(self).__name__, "init_args": dict(self._arguments)}

    def train(self, sentences: Iterable[str]) -> None:
        """Learn the vocabulary; the same sentences always give the same tokenizer.json.

        Args:
            sentences: read once, one at a time; memory grows with the number of different words.

        Raises:
            ValueError: if an item is no text or has a lone surrogate, or there is no text at all.
        """
        input_checks.check_not_one_text("sentences", "a list or iterator", sentences)
        self._adopt(self._learn(input_checks.check_training_texts(sentences)))

    @property
    def is_trained(self) -> bool:
        """Whether it has a vocabulary, from training or from a file."""
        return self._learned is not None

    @property
    def vocabulary(self) -> Vocabulary:
        """The size and the special ids: all that a model needs to know."""
        self._require_trained()
        assert self._vocabulary is not None
        return self._vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of ids, V; the ids are 0 ... V-1."""
        return self.vocabulary.size

    @property
    def pad_id(self) -> int:
        """Id of the token that fills a row of a batch; 0 unless the vocabulary was imported."""
        return self.vocabulary.pad_id

    @property
    def unk_id(self) -> int:
        """Id of the token for unknown text; 1 unless the vocabulary was imported."""
        return self.vocabulary.unk_id

    @property
    def bos_id(self) -> int:
        """Id of the token before each sentence; 2 unless the vocabulary was imported."""
        return self.vocabulary.bos_id

    @property
    def eos_id(self) -> int:
        """Id of the token after each sentence; 3 unless the vocabulary was imported."""
        return self.vocabulary.eos_id

    def token_text(self, token_id: int) -> str:
        """Show one token to a reader: `<eos>` for a special one, otherwise its decoded text."""
        token = self._require_trained()[token_id]
        return token.replace(" ", "") if token in SPECIAL_TOKENS else self._join([token_id])

    def token_bytes(self) -> list[bytes]:
        """List the UTF-8 bytes that each of the V tokens adds to a text; none for special tokens.

        A token that is a word of its own has a blank before it.
        """
        tokens = self._require_trained()
        special = set(SPECIAL_TOKENS)
        return [b"" if t in special else self._added(i) for i, t in enumerate(tokens)]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as lists of ids, `bos ... eos` each; raises as `encode_to_arrays`."""
        ids, lengths = self.encode_to_arrays(texts)
        flat, ends = ids.tolist(), lengths.cumsum().tolist()
        return [flat[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]

    def encode_inside(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode n texts as they stand after others: no bos, no eos, no blank put in front."""
        ids, lengths = self._encode_bodies(texts)
        ends = zip(lengths.cumsum().tolist(), lengths.tolist(), strict=True)
        return [ids[end - length : end].tolist() for end, length in ends]

    def encode_to_arrays(self, texts: Sequence[str]) -> tuple[Ids, Lengths]:
        """Encode texts into one flat array, with no Python object per token left behind.

        Args:
            texts: each becomes `bos ... eos`; nothing is truncated.

        Returns:
            ids: (sum of lengths,) uint16, or int32 if V > 65,536.
            lengths: (number of texts,) int64, tokens of each text, bos and eos counted.

        Raises:
            ValueError: if the tokenizer is not trained, or an item is no text or has a lone
                surrogate.
        """
        self._require_trained()
        input_checks.check_not_one_text("texts", "a list", texts)
        for index, text in enumerate(texts):
            input_checks.check_text("texts", index, text)
        bodies, lengths = self._encode_bodies(self._begun(texts))
        lengths += 2
        ends = lengths.cumsum()
        ids = np.empty(int(lengths.sum()), self._id_type())
        is_body = np.ones(len(ids), dtype=bool)
        is_body[ends - 1] = is_body[ends - lengths] = False
        ids[ends - lengths], ids[ends - 1], ids[is_body] = self.bos_id, self.eos_id, bodies
        return ids, lengths

    def decode(
        self, batch: Sequence[Sequence[int]] | Tensor | npt.NDArray[np.integer[Any]]
    ) -> list[str]:
        """Decode rows of ids up to the first eos, without pad and bos.

        Args:
            batch: (B, T) integer tensor or array, or B rows of any length.

        Returns:
            B texts. Bytes that are not UTF-8 (a model can write such bytes) and unk become U+FFFD;
            in words, unk becomes `<unk>`.

        Raises:
            ValueError: if the tokenizer is not trained, or a row holds something else than its ids.
        """
        self._require_trained()
        rows = batch.tolist() if isinstance(batch, Tensor) else batch
        return [self._join(self._body(row, index)) for index, row in enumerate(rows)]

    def to_json(self) -> str:
        """Return the whole tokenizer as the text of a tokenizer.json: canonical JSON, one line."""
        return json_format.to_canonical_json(self._document(self._stored_config()))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_json()` in UTF-8, 64 hex digits: equal for equal tokenizers only."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.json."""
        Path(path).write_bytes(self.to_json().encode())

    @classmethod
    def from_json(cls: type[T], text: str, config: Mapping[str, Any] | None = None) -> T:
        """Rebuild a tokenizer from `to_json()`; safe for a stranger's text.

        Args:
            text: all of a tokenizer.json.
            config: of this tokenizer according to another file, to compare with.

        Raises:
            ValueError: if it differs from what a tokenizer of the class on which this is called
                would write, in more than tokens, merges and scores; or its config differs.
        """
        document = json_format.parse_document(text)
        tokenizer = cls.from_config(json_format.pick(document, "post_processor", "seqae"))
        keys = tokenizer.learned_keys
        picked = [json_format.pick(document, *key.split(".")) for key in keys]
        tokenizer._adopt({key.split(".")[-1]: part for key, part in zip(keys, picked, strict=True)})
        expected = tokenizer._document(tokenizer.config())
        json_format.check_same(document, expected, skip={*keys, "post_processor.seqae"})
        if config not in (None, tokenizer.config(), tokenizer._stored_config()):
            raise ValueError(
                f"`tokenizer` must be the one that tokenizer.json holds, {tokenizer.config()}, but "
                f"it is {reprlib.repr(config)} instead. Put the file and its configuration back "
                f"together."
            )
        return tokenizer

    @classmethod
    def load(cls: type[T], path: str | Path, config: Mapping[str, Any] | None = None) -> T:
        """Read a tokenizer.json; safe for a stranger's file.

        Args:
            path: the file.
            config: of this tokenizer according to another file, to compare with.

        Raises:
            ValueError: as `from_json`, or if the path is no readable file of a sane size.
        """
        return cls.from_json(json_format.read_text(path), config)

    # What a kind implements

    @abstractmethod
    def _learn(self, sentences: Iterator[str]) -> dict[str, Any]:
        """Learn from sentences what the file has under `learned_keys`."""

    @abstractmethod
    def _check(self, learned: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Check what was learnt, or what a file has instead.

        Returns:
            The token of each id, and what was learnt in canonical form.
        """

    @abstractmethod
    def _layout(self) -> dict[str, Any]:
        """Return the sections that are equal in every file of this kind and configuration."""

    @abstractmethod
    def _join(self, ids: list[int]) -> str:
        """Turn ids without pad, bos and eos into text."""

    def _stored_config(self) -> dict[str, Any]:
        """Return `config()` as tokenizer.json has it."""
        return self.config()

    def _begun(self, texts: Sequence[str]) -> Sequence[str]:
        """Return texts with what is put in front of each."""
        return texts

    def _added(self, token_id: int) -> bytes:
        """Return the bytes that a token, not a special one, adds to a text."""
        return self._join([token_id]).encode()

    def _prepare(self) -> None:
        """Make what encoding and decoding need, once the tokens are known."""
        try:
            document = json_format.to_canonical_json(self._document(None))
            self._hf = hf.Tokenizer.from_str(document)
        except Exception as error:  # the library raises plain Exception
            raise ValueError(
                f"`tokenizer` must be one that the tokenizers library accepts, but it says "
                f"{str(error)!r} instead. Use a file that seqae wrote, unchanged."
            ) from error

    def _encode_bodies(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        """Encode texts without bos and eos: flat ids of any integer type, and lengths."""
        # Taken out and put back: a second thread, or a process forked meanwhile, makes its own, and
        # a table that an exception left half-done is lost.
        try:
            table = self._tables.pop()
        except IndexError:
            table = PieceTable(self._encode_pieces, self._id_type(), self._cut_at)
        lengths, bodies = np.empty(len(texts), np.int64), [np.empty(0, self._id_type())]
        for start in range(0, len(texts), CHUNK):
            chunk = slice(start, start + CHUNK)
            ids, lengths[chunk] = table.encode(texts[chunk])
            bodies.append(ids)
        self._tables[:] = [table]
        return np.concatenate(bodies), lengths

    def _encode_pieces(self, pieces: list[str]) -> tuple[npt.NDArray[Any], Lengths]:
        """Encode each piece independently with the library: flat ids, and lengths."""
        assert self._hf is not None
        # As the words of one text, because an object for each would take longer than the encoding.
        encoding = self._hf.encode(pieces, is_pretokenized=True, add_special_tokens=False)
        lengths = np.bincount(np.array(encoding.word_ids, np.int64), minlength=len(pieces))
        return np.array(encoding.ids, self._id_type()), lengths

    def _adopt(self, learned: dict[str, Any]) -> None:
        self._tokens, self._learned = self._check(learned)
        pad, unk, bos, eos = (self._tokens.index(token) for token in SPECIAL_TOKENS)
        self._vocabulary = Vocabulary(len(self._tokens), pad, unk, bos, eos)
        self._tables = []
        self._prepare()

    def _document(self, component: dict[str, Any] | None) -> dict[str, Any]:
        tokens = self._require_trained()
        assert self._learned is not None
        return json_format.write_document(self._layout(), self._learned, tokens, component)

    def _require_trained(self) -> list[str]:
        if self._learned is None:
            raise ValueError(
                f"`tokenizer` must be trained before it is used, but this {type(self).__name__} is "
                f"untrained instead. Call train(sentences), or load a tokenizer.json."
            )
        return self._tokens

    def _id_type(self) -> type[np.uint16] | type[np.int32]:
        return np.uint16 if len(self._tokens) <= 2**16 else np.int32

    def _body(self, row: Any, index: int) -> list[int]:
        """Return the ids of a row without bos, eos and pad."""
        ids = input_checks.check_ids(row, index, self.vocab_size)
        ends = np.flatnonzero(ids == self.eos_id)
        ids = ids[: ends[0]] if len(ends) else ids
        body: list[int] = ids[(ids != self.pad_id) & (ids != self.bos_id)].tolist()
        return body

    # A pickle or a deepcopy carries the arguments and what was learnt, no native object.

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self._arguments, "learned": self._learned}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Tokenizer.__init__(self, state["arguments"])
        if state["learned"] is not None:
            self._adopt(state["learned"])
