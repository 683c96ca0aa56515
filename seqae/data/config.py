"""DataConfig: everything that decides what stands in the tokenised corpora."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from seqae.batch import MAX_LENGTH
from seqae.component import check_choice, check_range, from_plain
from seqae.data.cleaning import CleanOptions
from seqae.data.sources.base import Source
from seqae.data.sources.open import open_source
from seqae.data.sources.records import ReadOptions
from seqae.data.split import SPLITS, Split, SplitRule

LengthPolicy = Literal["error", "truncate", "drop", "split"]


@dataclass(frozen=True)
class DataConfig:
    """Everything that decides what stands in the tokenised corpora.

    Attributes:
        train, val, test: sources, as the user names them; where val or test is empty, its share of
            the training sources is held out instead.
        reading: how sources are read.
        cleaning: what happens to their text.
        max_length: most tokens of a sentence, bos and eos counted.
        too_long: what to do with a longer one.
        val_percent, test_percent, split_seed: of the split of the training sources.
        tokenizer_sentences: how many training sentences train the tokenizer, at most.
        streaming: whether the training sentences are tokenised while training; then only those held
            out of the first `tokenizer_sentences` are written.
        revisions: commits of sources of the hub, by their names, that are read whatever the hub has
            by now: those that a run has begun with.
    """

    train: tuple[str, ...]
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    reading: ReadOptions = field(default_factory=ReadOptions)
    cleaning: CleanOptions = field(default_factory=CleanOptions)
    max_length: int = 128
    too_long: LengthPolicy = "error"
    val_percent: int = 5
    test_percent: int = 5
    split_seed: int = 0
    tokenizer_sentences: int = 1_000_000
    streaming: bool = False
    revisions: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Check the values, without looking for the sources.

        Raises:
            ValueError: in the house grammar.
        """
        check_range("data.max_length", self.max_length, 3, MAX_LENGTH)
        check_choice("data.too_long", self.too_long, ("error", "truncate", "drop", "split"))
        check_range("data.val_percent", self.val_percent, 0, 99)
        check_range("data.test_percent", self.test_percent, 0, 99 - self.val_percent)
        check_range("data.tokenizer_sentences", self.tokenizer_sentences, 1, 2**40)
        self.reading.check("data.reading.")
        self.cleaning.check("data.cleaning.")
        if [*self.train, *self.val, *self.test].count("-") > 1:
            raise ValueError(
                "`data` must name standard input once, but it names it several times instead. Save "
                "it to a file and name that."
            )
        if self.streaming and self.cleaning.deduplicate:
            raise ValueError(
                "`data.cleaning.deduplicate` must be false for a stream, which does not know what "
                "it has given, but it is true instead. Leave out one of the two."
            )
        if self.is_paired and self.too_long == "split":
            raise ValueError(
                "`data.too_long` must not be split for paired text, whose sides would not fit "
                "each other. Choose truncate or drop."
            )
        if self.is_paired and self.cleaning.split_sentences:
            raise ValueError(
                "`data.cleaning.split_sentences` must be null for paired text, but it is "
                f"{self.cleaning.split_sentences} instead. Leave it out."
            )

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> DataConfig:
        """The settings that a run's configuration has under `data`.

        Raises:
            ValueError: if one of them is not of its type or out of range.
        """
        known = {field.name for field in fields(cls)} - {"revisions"}
        told = {name: value for name, value in data.items() if name in known}
        hints = get_type_hints(cls)
        for split in SPLITS:
            names = told.pop(split, None) or []
            names = from_plain([names] if isinstance(names, str) else names, list[str], split)
            told[split] = tuple(names)
        for name, options in (("reading", ReadOptions), ("cleaning", CleanOptions)):
            given = told.get(name) or {}
            if not isinstance(given, Mapping) or set(given) - {f.name for f in fields(options)}:
                raise ValueError(
                    f"`data.{name}` must be settings that this version of seqae has, but it is "
                    f"{str(given)[:200]} instead. Use the version that wrote it."
                )
            types = get_type_hints(options)
            told[name] = options(
                **{key: from_plain(v, types[key], key) for key, v in given.items()}
            )
        for name in set(told) - {*SPLITS, "reading", "cleaning"}:
            told[name] = from_plain(told[name], hints[name], f"data.{name}")
        settings = cls(**told)
        settings.check()
        return settings

    @property
    def is_paired(self) -> bool:
        """Whether each text has another one that is to be written for it."""
        return self.reading.target_column is not None

    @property
    def named(self) -> dict[Split, tuple[str, ...]]:
        """The sources by split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def split_rule(self) -> SplitRule:
        """How the training sources are split."""
        held_out: tuple[Split, ...] = tuple(s for s in ("val", "test") if not self.named[s])
        return SplitRule(self.val_percent, self.test_percent, self.split_seed, held_out)

    def open_sources(self) -> dict[Split, list[Source]]:
        """Find the sources.

        Raises:
            ValueError, OSError: as open_source.
        """
        return {
            split: [
                open_source(
                    name,
                    f"data.{split}",
                    self.reading,
                    "data.reading.",
                    self.revisions.get(name),
                )
                for name in self.named[split]
            ]
            for split in SPLITS
        }


def default_cache_dir() -> Path:
    """`$SEQAE_CACHE`, or `seqae` below `$XDG_CACHE_HOME` or `~/.cache`."""
    if "SEQAE_CACHE" in os.environ:
        return Path(os.environ["SEQAE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqae"
