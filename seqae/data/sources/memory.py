"""Sentences in memory: a source named by its content, `memory:HASH`.

A configuration, a cache and a run hold names of sources only. So sentences that are handed over in
Python get a name, under which this process finds them as long as whoever handed them over keeps
them. The prepared corpus goes by the same name: as long as the cache has it, nobody needs the
sentences again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final
from weakref import WeakValueDictionary

from typing_extensions import override

from seqae.data.builtin import BUILTIN_CORPORA
from seqae.data.containers import is_table, list_column, list_items
from seqae.data.sources.base import Source, SourcePart
from seqae.data.sources.discovery import SUFFIXES
from seqae.data.sources.file_source import split_column
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.records import TOO_LONG, Block, Counts, Position, ReadOptions
from seqae.data.sources.walking import COMPRESSED_SUFFIXES, quote
from seqae.data.tokenizers.input_checks import check_text

SCHEME = "memory:"
SCHEMES = (SCHEME, "hf:", "nltk:")
FILE_SUFFIXES = (*(name for names in SUFFIXES.values() for name in names), *COMPRESSED_SUFFIXES)
BLOCK_SENTENCES = 1 << 12
PAIR_COLUMN = "target"  # `data.reading.target_column` of pairs that are in no table

_held: WeakValueDictionary[str, Sentences] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences in memory.

    Attributes:
        name: of the source.
        texts: the sentences.
        targets: for paired text, what to write instead of each.
    """

    name: str
    texts: list[str]
    targets: list[str] | None


def hold(key: str, values: Any, options: ReadOptions) -> Sentences:
    """Give sentences a name; `open_source` knows it as long as the caller keeps what this returns.

    Args:
        key: the argument that holds them; error messages begin with it.
        values: sentences, or pairs of a sentence and its target, in a list, an array, an iterator
            or the like; or a table.
        options: which columns of a table to take.

    Raises:
        ValueError: if it is something else, or an item is missing or no text.
    """
    targets: list[Any] | None = None
    if is_table(values):
        texts = list_column(key, values, options.column)
        if options.target_column is not None:
            targets = list_column(key, values, options.target_column)
    else:
        texts = list_items(key, values)
        if any(isinstance(item, (tuple, list)) for item in texts):
            texts, targets = _split_pairs(key, texts)
    for side in (texts, targets or []):
        for index, text in enumerate(side):
            check_text(key, index, text)
    if not texts:
        raise ValueError(f"`{key}` must hold sentences, but it is empty. Give some.")
    name = SCHEME + _hash(texts, targets)
    sentences = _held.get(name) or Sentences(name, texts, targets)
    _held[name] = sentences
    return sentences


def _split_pairs(key: str, items: list[Any]) -> tuple[list[Any], list[Any]]:
    for index, item in enumerate(items):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(
                f"`{key}` must be sentences, or pairs of a sentence and what to write instead, but "
                f"the item at index {index:,} is {quote(str(item))} among pairs. Drop it."
            )
    return [item[0] for item in items], [item[1] for item in items]


def _hash(texts: Sequence[str], targets: Sequence[str] | None) -> str:
    digest = hashlib.sha256()
    for side in (texts, targets):
        digest.update(b"[")
        for text in side or ():
            data = text.encode()
            digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:16]


def are_names(key: str, value: Any) -> bool:
    """Tell names of sources from sentences: a str or a path is a name, other values are sentences.

    In a list of texts, all must look like names of sources: something of that name exists, or it is
    a word with a slash or the ending of a data file, `hf:`, `nltk:` or the like.

    Args:
        key: the argument; error messages begin with it.
        value: its value.

    Raises:
        ValueError: if a list names a file, and has what is no file.
    """
    if isinstance(value, (str, os.PathLike)):
        return True
    if not isinstance(value, (list, tuple)):
        return False
    if not value or not all(isinstance(item, (str, os.PathLike)) for item in value):
        return False
    items = [os.fspath(item) for item in value]
    other = next((item for item in items if not looks_like_name(item)), None)
    if other is None:
        return True
    if (file := next(filter(_is_data_file, items), None)) is not None:
        raise ValueError(
            f"`{key}` must be names of sources or sentences, but {quote(file)} is a file and there "
            f"is no {quote(other)}. Check the path; if these are sentences, write "
            f"`{key}=iter(sentences)`."
        )
    return False


def looks_like_name(text: str) -> bool:
    """Tell whether a text may name a source; if not, there certainly is no such source."""
    is_word = len(text.split()) == 1
    if is_word and (text == "-" or text in BUILTIN_CORPORA or text.startswith(SCHEMES)):
        return True
    return _is_data_file(text) or (is_word and os.sep in text) or _exists(text)


def _is_data_file(text: str) -> bool:
    has_ending = (
        split_column(text)[0].lower().endswith(FILE_SUFFIXES) if len(text) < 1000 else False
    )
    return has_ending and (len(text.split()) == 1 or _exists(text))


def _exists(text: str) -> bool:
    if len(text) > 1000 or not text.strip() or "\0" in text:
        return False
    return os.path.lexists(os.path.expanduser(split_column(text)[0]))


class MemoryBlock(Block):
    """A block whose numbers are indices of a list."""

    @override
    def where(self, index: int) -> str:
        return f"index {self.numbers[index]:,}"


@dataclass(frozen=True)
class MemoryReader:
    """Reads sentences in memory; workers get a copy.

    Attributes:
        name: of the source.
        sentences: None if this process does not have them.
        options: how to read them.
        keys: for error messages.
    """

    name: str
    sentences: Sentences | None
    options: ReadOptions
    keys: Keys

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the sentences, or continue after the block whose `end` is `start`.

        Raises:
            ValueError: if this process does not have them.
        """
        if self.sentences is None:
            raise ValueError(
                f"`{self.keys.source}` must be sentences that this process has, but {self.name} "
                f"was handed to another one, in Python. Hand them over again, as in "
                f"`seqae.fit(sentences, resume=RUN)`, or name a file."
            )
        texts, targets = self.sentences.texts, self.sentences.targets
        for first in range(start["sentence"] if start else 0, len(texts), BLOCK_SENTENCES):
            end = min(first + BLOCK_SENTENCES, len(texts))
            yield self._block(
                texts[first:end], None if targets is None else targets[first:end], first
            ).stripped()

    def _block(self, texts: list[str], targets: list[str] | None, first: int) -> Block:
        """Make a block; drop texts over the cap."""
        counts = Counts(read=len(texts))
        columns = [texts] if targets is None else [texts, targets]
        kept: list[int] = []
        for index, record in enumerate(zip(*columns, strict=True)):
            if any(map(self._is_long, record)):
                counts.dropped[TOO_LONG] += 1
            else:
                kept.append(index)
        sides = [[side[index] for index in kept] for side in columns]
        numbers = [first + index for index in kept]
        end = {"sentence": first + len(texts)}
        return MemoryBlock(
            self.name, sides[0], numbers, counts, end, sides[1] if len(sides) > 1 else None
        )

    def _is_long(self, text: str) -> bool:
        most = self.options.max_line_bytes
        return len(text) > most or (4 * len(text) > most and len(text.encode()) > most)


@final
class MemorySource(Source):
    """Reads sentences in memory, by the name that `hold` gave them.

    Raises:
        ValueError: if the options ask for paired text, and the sentences are no pairs.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        super().__init__(name, options, keys)
        self.sentences = _held.get(name)
        is_paired = options.target_column is not None
        if self.sentences is not None and is_paired != (self.sentences.targets is not None):
            raise ValueError(
                f"`{keys.source}` must be pairs (sentence, target) where the other sentences are, "
                f"or all must be single sentences. Give targets to all, or to none."
            )

    @override
    @property
    def can_reread(self) -> bool:
        return True

    @property
    def fingerprint(self) -> str:
        """Changes with the sentences and the options."""
        return self.hash_of(self.name)

    @override
    @property
    def record(self) -> dict[str, Any]:
        return {"sentences": 0 if self.sentences is None else len(self.sentences.texts)}

    @override
    def parts(self, wanted: int = 1) -> list[SourcePart]:
        reader = MemoryReader(self.name, self.sentences, self.options, self.keys)
        return [SourcePart(reader, wanted, offset) for offset in range(wanted)]
