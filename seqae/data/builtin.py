"""The corpora that ship inside the package, to train and test without a download.

`seqae/data/corpora/` has the text, compressed and one sentence a line; the NOTICE there gives
origin and licence, and `scripts/data/build_corpora.py` rebuilds the files from their packages.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import IO

from seqae.component import check_choice
from seqae.data.sentences.split import SPLITS, Split, split_of


@dataclass(frozen=True)
class BuiltinCorpus:
    """Describes a built-in corpus.

    Attributes:
        name: in a configuration.
        description: one line for people.
        sentences: how many it has; all are different.
        language: its ISO 639-1 code.
        licence: its SPDX identifier; `corpora/NOTICE` has the terms.
        sha256: of its UTF-8 text before compression; part of the cache's key.
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
    """Open the text of a built-in corpus: UTF-8, one sentence a line, decompressed while read.

    Args:
        name: one of `builtin_names()`.

    Raises:
        ValueError: if there is no such corpus.
    """
    check_choice("name", name, builtin_names())
    # With importlib.resources, as the package may be in a zip archive. The file has at most 1 MB.
    compressed = (files("seqae") / "data" / "corpora" / f"{name}.txt.xz").read_bytes()
    return lzma.open(io.BytesIO(compressed))


def load_builtin(name: str, split: Split | None = None) -> list[str]:
    """Read a built-in corpus.

    Args:
        name: one of `builtin_names()`.
        split: `train` (90 %), `val` (5 %) or `test` (5 %); None reads all.

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
