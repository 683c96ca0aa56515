"""Make the benchmarks' sentences, any number of them, from the built-in corpora alone.

The built-in corpora hold 74 thousand sentences; the reference setting (docs/log.md) has 200
thousand real ones with 10.4 words on average and 59 at most, whose random batches of 128, padded
to the longest, hold 2.6 times as many positions as tokens. So each sentence here is real text, cut
or joined, with shares that give the same numbers (10.4 words, 57, 2.6 times): one example of
WordNet, two in a row, half of a sentence of the speeches, a whole one, or one followed by an
example.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from seqae.data.builtin import load_builtin

MAX_WORDS = 59
SHARES = {"example": 0.24, "two examples": 0.45, "half": 0.302, "whole": 0.006, "long": 0.002}


def sentences(count: int, seed: int = 0) -> Iterator[str]:
    """Yield sentences in lower case, the same ones for the same seed."""
    examples = [text.split() for text in load_builtin("wordnet-examples")]
    speeches = [text.split() for text in load_builtin("speeches")]
    rng = random.Random(seed)
    for kind in rng.choices(list(SHARES), list(SHARES.values()), k=count):
        words = rng.choice(examples if "example" in kind else speeches)
        if kind in ("two examples", "long"):
            words = words + rng.choice(examples)
        elif kind == "half":
            middle = (len(words) + 1) // 2
            words = words[:middle] if rng.random() < 0.5 else words[middle:]
        yield " ".join(words[:MAX_WORDS]).lower()


def write_sentences(path: Path, count: int, seed: int = 0) -> Path:
    """Write a text file, one sentence per line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences(count, seed))
    return path
