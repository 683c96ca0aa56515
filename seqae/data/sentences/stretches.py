"""Stretches: the parts of a text that is longer than a model reads at once.

A text of n tokens is cut into as few stretches of at most `max_length` as its words allow, all of
about one size: 33 tokens give 17 and 16, not 32 and 1. A word is cut only if it alone is longer.
Training (`data.too_long: split`) and encoding cut alike, and the stretches of a text joined are its
tokens, so what is lost on the way is the model's doing.

Stretches of long texts begin and end in mid-sentence, and nearly all are nearly full. Where the
training text is sentences, few of its stretches are like that: `running_texts` makes such as are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from seqae.data.tokenizers.base import Tokenizer


@final
class Stretches:
    """Cuts texts into stretches, and joins these.

    Args:
        tokenizer: trained.
        max_length: most tokens of a stretch, bos and eos counted.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    def cut(self, row: Sequence[int]) -> list[list[int]]:
        """Cut a text.

        Args:
            row: its token ids, `bos ... eos`.

        Returns:
            Its stretches, `bos ... eos` each; there is one at least.
        """
        if len(row) <= self.max_length:
            return [list(row)]
        body = np.asarray(row[1:-1])
        ends = stretch_ends(self._begins_word[body], self.max_length - 2)
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        parts = np.split(body, ends[:-1])
        return [[bos, *part.tolist(), eos] for part in parts]

    def join(self, rows: Iterable[Sequence[int]]) -> list[int]:
        """Join stretches to one text.

        Args:
            rows: token ids of each, with or without bos and eos.

        Returns:
            The token ids of the text, without bos and eos.
        """
        ends = self.tokenizer.bos_id, self.tokenizer.eos_id
        return [token for row in rows for token in row if token not in ends]

    @cached_property
    def _begins_word(self) -> NDArray[np.bool_]:
        """Whether each token begins a word, (V,): whether a blank parts it from one before it."""
        ids = range(self.tokenizer.vocab_size)
        alone = self.tokenizer.decode([[token] for token in ids])
        twice = self.tokenizer.decode([[token, token] for token in ids])
        sides = zip(alone, twice, strict=True)
        return np.array([both[len(one) : len(one) + 1].isspace() for one, both in sides])


def running_texts(
    texts: Sequence[str], hashes: NDArray[np.uint64], documents: Sequence[int], sentences: int
) -> list[str]:
    """Join neighbouring sentences to texts of several, each of which is in one of them at most.

    A text ends after one sentence in `sentences`, which its hash chooses, so that texts are of all
    lengths, and the same on every machine.

    Args:
        texts: n sentences in their order.
        hashes: (n,), of the sentences.
        documents: (n,), a number that differs between documents, which are not joined.
        sentences: the mean number of sentences of a text; the hash of a sentence is also what
            chooses its split, by its last two decimal digits.

    Returns:
        The texts that are of more than one sentence.
    """
    is_end = (hashes // np.uint64(100) % np.uint64(sentences) == 0).tolist()
    joined: list[list[str]] = [[]]
    for index, text in enumerate(texts):
        if index and (is_end[index - 1] or documents[index] != documents[index - 1]):
            joined.append([])
        joined[-1].append(text)
    return [" ".join(group) for group in joined if len(group) > 1]


def stretch_ends(begins_word: NDArray[np.bool_], room: int) -> list[int]:
    """Choose where the stretches of a text end.

    Args:
        begins_word: (n,), of its tokens; n is at least 1.
        room: most tokens of a stretch.

    Returns:
        The end of each stretch, the last of which is n.
    """
    count = len(begins_word)
    places = np.arange(count)
    last_start = np.maximum.accumulate(np.where(begins_word, places, 0))
    reach = np.minimum(places + room, count)
    before = last_start[np.minimum(reach, count - 1)]
    furthest = np.where((reach == count) | (before <= places), reach, before).tolist()
    needed = [0] * (count + 1)  # stretches from each place to the end, as few as possible
    for place in range(count - 1, -1, -1):
        needed[place] = 1 + needed[furthest[place]]
    ends, place = [], 0
    for left in range(needed[0], 1, -1):
        within = range(place + 1, int(reach[place]) + 1)
        possible = [end for end in within if end < count and needed[end] < left]
        possible = [end for end in possible if begins_word[end]] or possible
        even = place + (count - place) / left
        place = min(possible, key=lambda end, even=even: abs(end - even))  # type: ignore[misc]
        ends.append(place)
    return [*ends, count]
