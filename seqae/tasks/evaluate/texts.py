"""Read the sentences of an evaluation, from a file or from the data that a model trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import from_plain
from seqae.data.builtin import builtin_names
from seqae.data.config import DataConfig
from seqae.data.preprocessing import clean_and_split
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, ReadOptions
from seqae.data.split import Split
from seqae.tasks.run_files import read_config


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
    for block in open_source(source, key, reading, "reading.").blocks():
        texts.add(block)
    return texts


def read_split(model: TextAutoencoder, where: Path, split: Split) -> Texts:
    """Read a split of the data that a model was trained on.

    Of a bundle alone only built-in corpora are read: it may come from a stranger, who must not
    choose which files of this machine are opened. The `config.yaml` of a run may name any file.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        split: which split.

    Raises:
        ValueError: if the data is unknown, or must not be read.
    """
    config = _data_config(model, where)
    own = split if config.source_names[split] else "train"
    texts = Texts()
    for source in config.open_sources()[own]:
        for block in source.blocks():
            texts.add(clean_and_split(block, own, config).select(split))
    if not texts.inputs:
        names = ", ".join(config.source_names["train"])
        raise ValueError(
            f"`split` must have sentences, but no {split} was held out of {names}. Name a file: "
            f"`seqae evaluate MODEL FILE`."
        )
    return texts


def _data_config(model: TextAutoencoder, where: Path) -> DataConfig:
    """Read the data settings from the run's configuration, if there is a run, or the bundle's."""
    # The parent of a bundle counts as a run only if the bundle has the name that runs give it. A
    # config.yaml inside a bundle is a stranger's and is ignored.
    is_bundle = (where / "config.json").exists()
    folder = where.resolve()
    run = folder.parent if is_bundle and folder.name == "bundle" else where
    is_run = (run / "config.yaml").is_file() and not (run / "config.json").exists()
    config = model.details.get("training", {}).get("config", {})
    if is_run:
        config = read_config(run / "config.yaml", "model")
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not data.get("train"):
        raise ValueError(
            "`file` and `train_file` must be given, because the bundle does not say what data it "
            "was trained on. Write `seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    options = {name: value for name, value in data.items() if name != "tokenizer"}
    settings: DataConfig = from_plain(options, DataConfig, "data")
    settings.check()
    named = {name for names in settings.source_names.values() for name in names}
    if "-" in named or not (is_run or named <= set(builtin_names())):
        raise ValueError(
            f"`file` and `train_file` must be given, because the model was trained on "
            f"{', '.join(settings.source_names['train'])}, which cannot be read from here. Write "
            f"`seqae evaluate MODEL FILE --train_file TRAIN`."
        )
    return settings
