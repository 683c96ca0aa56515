"""Read the sentences of an evaluation, from a file or from the data that a model trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.sentences.preprocessing import clean_and_split
from seqae.data.sentences.split import Split
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, ReadOptions
from seqae.tasks.inputs import (
    EVALUATE,
    READING,
    Instead,
    data_config,
    gather,
    policies_of,
    tell_left_out,
)
from seqae.terminal import progress_bar


@dataclass
class Texts:
    """Sentences, and for paired text their targets.

    Attributes:
        inputs: what the model encodes.
        references: what it should decode: the same sentences, or their targets.
    """

    inputs: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def add(self, block: Block) -> None:
        """Add the sentences of a block."""
        self.inputs += block.texts
        self.references += block.targets or block.texts

    def normalize(self, model: TextAutoencoder) -> None:
        """Normalize all texts as the model does; a second time changes nothing."""
        self.inputs = [model.normalization(text) for text in self.inputs]
        self.references = [model.normalization(text) for text in self.references]

    def sample(self, count: int, seed: int) -> Texts:
        """Draw some sentences at random, without replacement."""
        rows = random.Random(seed).sample(range(len(self.inputs)), count)
        return Texts([self.inputs[i] for i in rows], [self.references[i] for i in rows])


def read_texts(source: str, key: str, reading: ReadOptions) -> Texts:
    """Read all sentences of a source.

    Args:
        source: a file, or anything else that `data.train` accepts.
        key: the option that named it; error messages begin with it.
        reading: how it is read.
    """
    texts = Texts()
    with progress_bar("reading", None) as advance:
        opened = open_source(source, key, reading, "reading.")
        tell_left_out(opened)
        for block in opened.blocks():
            texts.add(block)
            advance(len(block.texts))
    return texts


def read_split(
    model: TextAutoencoder, where: Path, split: Split, instead: Instead = EVALUATE
) -> Texts:
    """Read a split of the data that a model was trained on.

    Of a bundle alone only built-in corpora are read: it may come from a stranger, who must not
    choose which files of this machine are opened. The `config.yaml` of a run may name any file.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        split: which split.
        instead: what to give where its data cannot be read.

    Raises:
        ValueError: if the data is unknown, or must not be read.
    """
    config = data_config(model, where, instead)
    own = split if config.source_names[split] else "train"
    texts = Texts()
    with progress_bar(f"reading {split}", None) as advance:
        for source in config.open_sources()[own]:
            for block in source.blocks():
                texts.add(clean_and_split(block, own, config).select(split))
                advance(len(block.texts))
    if not texts.inputs:
        names = ", ".join(config.source_names["train"])
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of {names}. Name a file: "
            f"`seqae evaluate MODEL FILE`."
        )
    return texts


def sentences_or_split(
    model: TextAutoencoder,
    where: Path,
    source: str | None,
    key: str,
    instead: Instead,
    reading: ReadOptions = READING,
) -> list[str]:
    """Read the sentences of a source, or else those that were held out of a model's own data.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        source: a file, or anything else that `data.train` accepts; None for the test split.
        key: the option that names it; error messages begin with it.
        instead: what to give where the model's own data cannot be read.
        reading: how the source is read.

    Raises:
        ValueError: if there are none.
    """
    if source is None:
        return read_split(model, where, "test", instead).inputs
    found = gather([], source, key, policies_of(model, where, reading))
    if not found:
        raise ValueError(f"`{key}` must have sentences, but {source} has none. Name another file.")
    return found
