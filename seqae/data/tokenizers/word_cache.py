r"""Encoding piece by piece: each different piece of text is encoded once, then looked up.

Text repeats its words, and the library encodes every one of them anew: it cuts with a regular
expression, applies its model, and makes an object for each text (2 to 7 MB/s, one thread). Here
text is cut at blanks, numbered by a dict, and only pieces not seen before go to the library; the
rest is numpy (benchmarks/tokenizing.py has the figures).

The ids are the library's, because it encodes words independently of each other, and a piece begins
only where a word of the library always begins: with a blank that no white space follows.
- ByteLevel finds words by GPT-2's pattern (Radford et al. 2019, encoder.py): contractions, `'s`;
  letters, digits or others, ` ?\p{L}+`, ` ?\p{N}+`, ` ?[^\s\p{L}\p{N}]+`; white space,
  `\s+(?!\S)|\s+`. None but the last two can go on from something else to a blank. Those leave the
  last blank before other characters to these, and take all white space at the end of a text, so
  that the cut changes nothing before it either.
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

# Begins the first piece of a text, which has no blank before it. A lone surrogate is in no text.
START = "\ud800"

# What is kept at most before all is forgotten: 131,072 pieces of English take 19 MB, and 22 MB of
# text had 122,000 (measured). In Chinese a piece is a whole sentence: so characters count, too.
MAX_PIECES = 2**17
MAX_CHARACTERS = 2**21


class PieceTable:
    """The ids of the pieces seen lately. One thread at a time may use it.

    Args:
        encode: encodes texts without bos and eos, each by itself: flat ids, and their lengths.
        id_type: the integer type of the ids.
        cut: matches the blanks that begin a piece; what comes before and after them must have ids
            that do not depend on each other.
    """

    def __init__(self, encode: Encode, id_type: npt.DTypeLike, cut: re.Pattern[str] = CUT) -> None:
        self._encode_anew, self._id_type, self._cut = encode, id_type, cut
        self._forget()

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._lengths)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], Lengths]:
        """Encode one or more texts: flat ids, and the length of each."""
        pieces = self._cut.split(START + f" {START}".join(texts))
        numbers = np.fromiter(map(self._numbers.__getitem__, pieces), np.int64, len(pieces))
        if len(self._numbers) > len(self):
            self._learn()
        lengths = self._lengths[numbers]
        ends = lengths.cumsum()
        # Where in `self._ids` each id of the result stands: a piece's are neighbours there.
        places = np.repeat(self._starts[numbers] - (ends - lengths), lengths)
        places += np.arange(len(places))
        ids = self._ids[places]
        of_texts = np.add.reduceat(lengths, np.flatnonzero(self._is_first[numbers]))
        if len(self) > MAX_PIECES or self._num_characters > MAX_CHARACTERS:
            self._forget()
        return ids, of_texts

    def _forget(self) -> None:
        # A piece asked for gets the next number if it has none; the arrays are by number.
        self._numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self._starts, self._lengths = np.empty(0, np.int64), np.empty(0, np.int64)
        self._is_first = np.empty(0, np.bool_)
        self._ids: npt.NDArray[Any] = np.empty(0, self._id_type)
        self._num_characters = 0

    def _learn(self) -> None:
        """Find the ids of the pieces that were numbered last."""
        latest = itertools.islice(reversed(self._numbers), len(self._numbers) - len(self))
        new = [*latest][::-1]
        is_first = [piece.startswith(START) for piece in new]
        texts = [
            piece.removeprefix(START) if first else f" {piece}"
            for piece, first in zip(new, is_first, strict=True)
        ]
        ids, lengths = self._encode_anew(texts)
        starts = len(self._ids) + lengths.cumsum() - lengths
        self._starts = np.concatenate([self._starts, starts])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._is_first = np.concatenate([self._is_first, is_first])
        self._ids = np.concatenate([self._ids, ids.astype(self._id_type)])
        self._num_characters += sum(map(len, new))
