"""The corpora that ship inside the package, and the fixed split of any corpus.

They let everybody train and test without a download. The text is stored compressed, one sentence a
line, in `seqae/data/corpora/`; the NOTICE there gives origin and licence, and
`scripts/data/build_corpora.py` remakes the files from their packages.

The split asks a hash of the sentence, not its place: a sentence falls to the same side in every
order, on every machine, and again when the corpus has grown. So no sentence can stand in two
splits, however often it occurs.
"""

from __future__ import annotations

import hashlib
import io
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import IO, Literal

from seqae.component import check_choice, check_range

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class BuiltinCorpus:
    """What is known of a built-in corpus without reading it.

    Attributes:
        name: what a configuration calls it.
        description: one line for people.
        sentences: how many it has; all are different.
        language: its ISO 639-1 code.
        licence: its SPDX identifier; the terms are in `corpora/NOTICE`.
        sha256: of its UTF-8 text before compression; a cache is keyed by it.
    """

    name: str
    description: str
    sentences: int
    language: str
    licence: str
    sha256: str


BUILTIN_CORPORA: Mapping[str, BuiltinCorpus] = MappingProxyType(
    {
        corpus.name: corpus
        for corpus in (
            BuiltinCorpus(
                name="wordnet-examples",
                description="short everyday sentences and phrases: the examples of WordNet 3.0",
                sentences=42_508,
                language="en",
                licence="LicenseRef-WordNet-3.0",
                sha256="d5d6b172d7b9560e5ab3849d11b4b29676467af60b18b99cb09a537e79b2cb96",
            ),
            BuiltinCorpus(
                name="speeches",
                description="formal sentences of 3 to 40 words: State of the Union, 1900-2016",
                sentences=31_640,
                language="en",
                licence="CC0-1.0 AND PDDL-1.0",
                sha256="156082c871bab048d8a5364c1637dc6dabba172c4b5bfd31887a51c8181033ef",
            ),
            BuiltinCorpus(
                name="hsk",
                description="short modern Chinese sentences for learners, graded by HSK 3.0",
                sentences=4_349,
                language="zh",
                licence="CC-BY-SA-4.0",
                sha256="df6f814a2da8e781255e771ee39983c6f39cf417c8f33dc392597bb427c0859f",
            ),
        )
    }
)


def builtin_names() -> tuple[str, ...]:
    """List the names of the built-in corpora, the default one first."""
    return tuple(BUILTIN_CORPORA)


def open_builtin(name: str) -> IO[bytes]:
    """Open the text of a built-in corpus: UTF-8, one sentence a line, unpacked as it is read.

    Args:
        name: one of `builtin_names()`.

    Raises:
        ValueError: if there is no such corpus.
    """
    check_choice("name", name, builtin_names())
    # Through importlib.resources, because the package may lie in a zip archive. It is at most 1 MB.
    packed = (files("seqae") / "data" / "corpora" / f"{name}.txt.xz").read_bytes()
    return lzma.open(io.BytesIO(packed))


def load_builtin(name: str, split: Split | None = None) -> list[str]:
    """Read a built-in corpus.

    Args:
        name: one of `builtin_names()`.
        split: `train` (90 %), `val` (5 %) or `test` (5 %) of it; all of it where None.

    Raises:
        ValueError: if there is no such corpus or split.
    """
    if split is not None:
        check_choice("split", split, SPLITS)
    with open_builtin(name) as text:
        sentences = text.read().decode("utf-8").split("\n")[:-1]
    if split is None:
        return sentences
    return [sentence for sentence in sentences if split_of(sentence) == split]


def split_of(sentence: str, *, val_percent: int = 5, test_percent: int = 5, seed: int = 0) -> Split:
    """Say to which split a sentence belongs, from nothing but its text.

    The first 8 bytes of the SHA-256 of the sentence, as a big-endian number modulo 100, are below
    `100 - val_percent - test_percent` for train and from `100 - test_percent` up for test.

    Args:
        sentence: the text.
        val_percent: share of the sentences that are for validation, in percent.
        test_percent: share of the sentences that are for the test, in percent.
        seed: 0 gives the fixed split; any other number an independent one.

    Raises:
        ValueError: if the two shares are not between 0 and 100 % together.
    """
    check_range("val_percent", val_percent, 0, 100)
    check_range("test_percent", test_percent, 0, 100 - val_percent)
    salt = f"{seed}:" if seed else ""
    # surrogatepass: a str with a lone surrogate is no valid text, but has a split like any other.
    digest = hashlib.sha256((salt + sentence).encode("utf-8", "surrogatepass")).digest()
    percentile = int.from_bytes(digest[:8], "big") % 100
    if percentile < 100 - val_percent - test_percent:
        return "train"
    return "val" if percentile < 100 - test_percent else "test"
