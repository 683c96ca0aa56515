r"""PieceTable: encode each different piece of text once, and look it up from then on.

Text repeats its words, and the library encodes each of them again: it cuts with a regular
expression, applies its model, and makes an object for each text (2 to 7 MB/s, one thread). Here
text is cut at blanks, a dict numbers the pieces, and only those not seen before go to the library;
the rest is numpy (benchmarks/tokenizing.py has the figures).

The ids are the library's, because it encodes words independently of each other, and a piece begins
only where a word of the library always begins: with a blank that no white space follows.
- ByteLevel finds words by GPT-2's pattern (Radford et al. 2019, encoder.py): contractions, `'s`;
  letters, digits or others, ` ?\p{L}+`, ` ?\p{N}+`, ` ?[^\s\p{L}\p{N}]+`; white space,
  `\s+(?!\S)|\s+`. Only the last two can match a blank after something else. They leave the last
  blank before other characters to these, and take all white space at the end of a text, so the cut
  changes nothing before it either.
- WhitespaceSplit cuts at all white space. The normalisation before it has one rule that sees more
  than one character, `<br />`, which WordTokenizer does not cut.
Python's white space is the library's and more (U+001C to U+001F); less would be wrong.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]
Encode = Callable[[list[str]], tuple[npt.NDArray[Any], Lengths]]

CUT = re.compile(r" (?=\S)")

# Begins the first piece of a text, which has no blank before it. No text has a lone surrogate.
START = "\ud800"

# The table is cleared when it exceeds either: 131,072 pieces of English take 19 MB, and 22 MB of
# text had 122,000 (measured). In Chinese a piece is a whole sentence, so characters count, too.
MAX_PIECES = 2**17
MAX_CHARACTERS = 2**21


class PieceTable:
    """Knows the ids of the pieces seen lately. One thread at a time may use it.

    Args:
        encode: encodes pieces independently, without bos and eos: flat ids, and their lengths.
        id_type: the integer type of the ids.
        cut: matches the blanks that begin a piece; the ids before and after such a blank must not
            depend on each other.
    """

    def __init__(self, encode: Encode, id_type: npt.DTypeLike, cut: re.Pattern[str] = CUT) -> None:
        self._encode, self._id_type, self._cut = encode, id_type, cut
        self._forget()

    def __len__(self) -> int:
        return len(self._lengths)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        """Encode texts.

        Args:
            texts: n of them, at least one.

        Returns:
            ids: (sum of lengths,), one text after the other.
            lengths: (n,) int64, ids of each text.
        """
        pieces = self._cut.split(START + f" {START}".join(texts))
        numbers = np.fromiter(map(self._numbers.__getitem__, pieces), np.int64, len(pieces))
        if len(self._numbers) > len(self):
            self._learn()
        lengths = self._lengths[numbers]
        ends = lengths.cumsum()
        # Where each id of the result is in `self._ids`, which has those of a piece side by side.
        positions = np.repeat(self._starts[numbers] - (ends - lengths), lengths)
        positions += np.arange(len(positions))
        ids = self._ids[positions]
        of_texts = np.add.reduceat(lengths, np.flatnonzero(self._is_first[numbers]))
        if len(self) > MAX_PIECES or self._num_characters > MAX_CHARACTERS:
            self._forget()
        return ids, of_texts

    def _forget(self) -> None:
        # Looking up a piece gives it the next number if it has none; numbers index the arrays.
        self._numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self._starts, self._lengths = np.empty(0, np.int64), np.empty(0, np.int64)
        self._is_first = np.empty(0, np.bool_)
        self._ids: npt.NDArray[Any] = np.empty(0, self._id_type)
        self._num_characters = 0

    def _learn(self) -> None:
        """Encode the pieces that were numbered last."""
        latest = itertools.islice(reversed(self._numbers), len(self._numbers) - len(self))
        new = [*latest][::-1]
        is_first = [piece.startswith(START) for piece in new]
        texts = [
            piece.removeprefix(START) if first else f" {piece}"
            for piece, first in zip(new, is_first, strict=True)
        ]
        ids, lengths = self._encode(texts)
        starts = len(self._ids) + lengths.cumsum() - lengths
        self._starts = np.concatenate([self._starts, starts])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._is_first = np.concatenate([self._is_first, is_first])
        self._ids = np.concatenate([self._ids, ids.astype(self._id_type)])
        self._num_characters += sum(map(len, new))
