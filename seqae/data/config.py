"""All options of `data`: declared, documented and checked here, and nowhere else.

TextDataModule inherits DataConfig and with it the constructor, so these fields are its arguments,
the keys of the YAML file and the options of `seqae fit`. The docstrings are their help.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from seqae.batch import MAX_LENGTH
from seqae.component import check_literal, check_range
from seqae.data.batches.batching import Rounding
from seqae.data.sentences.cleaning import CleanOptions, without_defaults
from seqae.data.sentences.split import SPLITS, Split, SplitRule
from seqae.data.sources.base import Source
from seqae.data.sources.memory import PAIR_COLUMN, Sentences, are_names, hold
from seqae.data.sources.open import open_source
from seqae.data.sources.records import ReadOptions

LengthPolicy = Literal["error", "truncate", "drop", "split"]


@dataclass(frozen=True)
class StreamOptions:
    """Decides the order of a stream; `data` has the same options.

    Attributes:
        batch_tokens: budget of a batch, padding counted.
        seed: of the order.
        shards: ranks and loader workers divide them.
        shuffle_buffer: sentences that each shard shuffles together, or a few more, as blocks are
            read whole.
        rounding: of rows and padded lengths.
    """

    batch_tokens: int
    seed: int
    shards: int
    shuffle_buffer: int
    rounding: Rounding = Rounding()


@dataclass(kw_only=True, eq=False)
class CorpusConfig:
    """Options that decide what the tokenised corpora hold; a hash of them all keys the cache.

    Args:
        train: a file of text, JSON lines, CSV, TSV, Parquet or Arrow (also compressed as .gz, .bz2,
            .xz or .zst), a folder or a pattern (`*.txt`) of these, `-` for standard input,
            `hf:OWNER/NAME` for a data set of the Hugging Face hub, `nltk:CORPUS`, or a built-in
            corpus (wordnet-examples, speeches, hsk); or a list of these. Files, folders and
            patterns may be elsewhere (`s3://BUCKET/text/*.txt`). docs/data.md has more.
        val: the same for validation; by default `val_percent` of the training sentences.
        test: the same for the test; by default `test_percent` of the training sentences.
        reading: formats, columns, and what to do with records that cannot be read.
        cleaning: normalisation, sentence splitting, and which sentences to leave out.
        max_length: most tokens of a sentence, bos and eos counted.
        too_long: what to do with a longer sentence: `error`, `truncate`, `drop`, or `split` it into
            stretches of about one size that count as sentences and end where words do. A model
            trained so encodes texts of any length, a latent for each stretch.
        running_text: with `too_long: split`, train beside the sentences on texts of several, so
            many on average: neighbours, joined by a blank and cut into stretches. For sentences as
            sources, where a model is to encode texts of many sentences. 0 adds nothing.
        val_percent: share of the training sources held out for validation, in percent.
        test_percent: share held out for the test, in percent.
        split_seed: each number gives another split.
        tokenizer_sentences: train the tokenizer on at most this many training sentences.
        streaming: tokenise during training instead of before it, for text that does not fit a disk.
            The first `tokenizer_sentences` train the tokenizer and provide the held-out sentences.
            A stream has no end: `trainer.max_steps` says when to stop.

    Attributes:
        revisions: commits to read of hub data sets, by the names of the sources, whatever the hub
            has by now: a run keeps those that it began with.
    """

    train: str | list[str] = "wordnet-examples"
    val: str | list[str] | None = None
    test: str | list[str] | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    cleaning: CleanOptions = field(default_factory=CleanOptions)
    max_length: int = 128
    too_long: LengthPolicy = "error"
    running_text: int = 0
    val_percent: int = 5
    test_percent: int = 5
    split_seed: int = 0
    tokenizer_sentences: int = 1_000_000
    streaming: bool = False
    revisions: Mapping[str, str] = field(default_factory=dict, init=False)

    def check(self) -> None:
        """Check the values, without looking for the sources.

        Raises:
            ValueError: if one is out of range, or two exclude each other.
        """
        check_range("data.max_length", self.max_length, 3, MAX_LENGTH)
        check_literal("data.too_long", self.too_long, LengthPolicy)
        check_range("data.running_text", self.running_text, 0, 2**20)
        check_range("data.val_percent", self.val_percent, 0, 99)
        check_range("data.test_percent", self.test_percent, 0, 99 - self.val_percent)
        check_range("data.tokenizer_sentences", self.tokenizer_sentences, 1, 2**40)
        check_range("data.split_seed", self.split_seed, 0, 2**63 - 1)
        if not self.source_names["train"]:
            raise ValueError(
                "`data.train` must name text, but it is an empty list instead. Give a file."
            )
        self.reading.check("data.reading.")
        self.cleaning.check("data.cleaning.")
        if [name for names in self.source_names.values() for name in names].count("-") > 1:
            raise ValueError(
                "`data` must name standard input once, but it names it several times instead. Save "
                "it to a file and name that."
            )
        if self.streaming and self.cleaning.deduplicate:
            raise ValueError(
                "`data.cleaning.deduplicate` must be false for a stream, which does not remember "
                "what it has given, but it is true instead. Leave out one of the two."
            )
        if self.streaming and self.cleaning.near_duplicates is not None:
            raise ValueError(
                "`data.cleaning.near_duplicates` must be null for a stream, which does not "
                f"remember what it has given, but it is {self.cleaning.near_duplicates} instead. "
                "Leave out one of the two, or take them out beforehand: scripts/data/clean_web.py."
            )
        if self.is_paired and self.too_long == "split":
            raise ValueError(
                "`data.too_long` must not be split for paired text, whose sides would not fit "
                "each other. Choose truncate or drop."
            )
        if self.running_text and self.too_long != "split":
            raise ValueError(
                "`data.running_text` must be 0 unless `data.too_long` is split, but it is "
                f"{self.running_text} and that is {self.too_long} instead. Set "
                "`data.too_long: split`."
            )
        cleaning = self.cleaning
        if self.running_text and (cleaning.deduplicate or cleaning.near_duplicates is not None):
            name = "deduplicate" if cleaning.deduplicate else "near_duplicates"
            raise ValueError(
                f"`data.running_text` must be 0 with `data.cleaning.{name}`, whose repeated "
                f"sentences it would bring back, but it is {self.running_text} instead. Leave out "
                "one of the two."
            )
        if self.is_paired and self.cleaning.split_sentences:
            raise ValueError(
                "`data.cleaning.split_sentences` must be null for paired text, but it is "
                f"{self.cleaning.split_sentences} instead. Leave it out."
            )

    def hold_sentences(self) -> list[Sentences]:
        """Replace sentences in memory by the names of their sources.

        Returns:
            What must be kept as long as these names are to be found.

        Raises:
            ValueError: if a split is neither sentences nor names.
        """
        held = []
        for split in SPLITS:
            given: Any = getattr(self, split)
            if given is None and split != "train":
                continue
            if are_names(split, given):
                is_one = isinstance(given, (str, os.PathLike))
                setattr(self, split, os.fspath(given) if is_one else [*map(os.fspath, given)])
                continue
            held.append(hold(split, given, self.reading))
            setattr(self, split, held[-1].name)
            if held[-1].targets is not None and not self.is_paired:
                self.reading = replace(self.reading, target_column=PAIR_COLUMN)
        return held

    @property
    def is_paired(self) -> bool:
        """Whether each text comes with another one to write instead."""
        return self.reading.target_column is not None

    @property
    def source_names(self) -> dict[Split, tuple[str, ...]]:
        """The sources of each split, as the user named them; none if the split is held out."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {
            split: (names,) if isinstance(names := named[split], str) else tuple(names or ())
            for split in SPLITS
        }

    @property
    def split_rule(self) -> SplitRule:
        """How to split the training sources."""
        held_out: tuple[Split, ...] = ("val", "test")
        held_out = tuple(split for split in held_out if not self.source_names[split])
        return SplitRule(self.val_percent, self.test_percent, self.split_seed, held_out)

    def open_sources(self) -> dict[Split, list[Source]]:
        """Find the sources of each split.

        Raises:
            ValueError, OSError: as open_source; or if an option is for CSV and TSV alone, and no
                source is one of these.
        """
        found: dict[str, str] = {}  # the commit of each data set of the hub: one for all splits
        opened: dict[Split, list[Source]] = {split: [] for split in SPLITS}
        for split, names in self.source_names.items():
            for name in names:
                repository = re.split("[:#]", name.removeprefix("hf:"))[0]
                revision = self.revisions.get(name, found.get(repository))
                key = f"data.{split}"
                source = open_source(name, key, self.reading, "data.reading.", revision)
                if name.startswith("hf:"):
                    found[repository] = source.record["revision"]
                opened[split].append(source)
        if not any(source.is_delimited for sources in opened.values() for source in sources):
            for name, value in self.reading.delimited.items():
                raise ValueError(
                    f"`data.reading.{name}` must be left out where no file is read as CSV or TSV, "
                    f"but it is {value!r} instead. Set `data.reading.format: csv` if one is."
                )
        return opened

    def pin_revisions(self, report: Mapping[str, Any]) -> None:
        """From now on, read the commits of the hub's data sets that a data report names.

        Args:
            report: of this run, or of the run that is resumed or measured.
        """
        self.revisions = revisions_of(report)

    def to_dict(self) -> dict[str, Any]:
        """Return the options that decide the corpora, and the revisions, as plain data."""
        sources = {split: list(names) for split, names in self.source_names.items()}
        options: dict[str, Any] = asdict(self.corpus_config) | sources
        return options | {"cleaning": without_defaults(options["cleaning"])}

    @property
    def corpus_config(self) -> CorpusConfig:
        """These options alone, without those of a subclass: what other processes get."""
        names = [option.name for option in fields(CorpusConfig) if option.init]
        config = CorpusConfig(**{name: getattr(self, name) for name in names})
        config.revisions = self.revisions
        return config


def revisions_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the commits of the hub's data sets that a data report names, by the sources' names."""
    return {
        source["name"]: source["record"]["revision"]
        for source in report["sources"]
        if source["name"].startswith("hf:")
    }


@dataclass(kw_only=True, eq=False)
class DataConfig(CorpusConfig):
    """All options of `data` except the tokenizer: what the corpora hold, and how to batch them.

    Args:
        batch_tokens: tokens of a training batch on each process, padding counted.
        eval_batch_tokens: the same for validation, test and prediction.
        round_length: pad batches to a multiple of this many tokens, but never beyond `max_length`;
            with 8 and `round_rows` 8, batches come in few sizes, for kernels that are compiled or
            tuned for each. It costs padding: 19 % on sentences of 10 words.
        round_rows: fill batches with a multiple of this many sentences, if there are enough of them
            and the budget allows it.
        min_rows: fill batches with this many sentences though they pass `batch_tokens`. Long texts
            are read at the speed of short ones with 16: each step of a recurrence multiplies so
            many rows. Batches of long texts then have more tokens, and an epoch fewer updates.
        stream_shards: shards of a stream; a multiple of processes times workers.
        shuffle_buffer: sentences that each shard of a stream shuffles together.
        seed: of the order of batches.
        num_workers: processes that gather batches during the training; 0 gathers them in between,
            which costs under one percent of the time on a CPU.
        pin_memory: copy batches to a GPU from page-locked memory, which needs no waiting.
        prepare_workers: processes that tokenise; by default one for each core.
        cache_dir: where tokenised text is kept; by default $SEQAE_CACHE or ~/.cache/seqae.
    """

    batch_tokens: int = 1024
    eval_batch_tokens: int = 8192
    round_length: int = 1
    round_rows: int = 1
    min_rows: int = 1
    stream_shards: int = 16
    shuffle_buffer: int = 10_000
    seed: int = 0
    num_workers: int = 0
    pin_memory: bool = True
    prepare_workers: int | None = None
    cache_dir: str | None = None

    def check(self) -> None:
        """Check all values, without looking for the sources.

        Raises:
            ValueError: if one is out of range, or two exclude each other.
        """
        super().check()
        check_range("data.batch_tokens", self.batch_tokens, 1, 2**31)
        check_range("data.eval_batch_tokens", self.eval_batch_tokens, 1, 2**31)
        check_range("data.stream_shards", self.stream_shards, 1, 2**16)
        check_range("data.shuffle_buffer", self.shuffle_buffer, 1, 2**31)
        check_range("data.seed", self.seed, 0, 2**63 - 1)
        check_range("data.num_workers", self.num_workers, 0, 1024)
        if self.prepare_workers is not None:
            check_range("data.prepare_workers", self.prepare_workers, 1, 1024)
        Rounding(self.round_length, self.round_rows, min_rows=self.min_rows)  # checks itself

    @property
    def rounding(self) -> Rounding:
        """How to round the sizes of batches."""
        return Rounding(self.round_length, self.round_rows, self.max_length, self.min_rows)

    @property
    def stream_options(self) -> StreamOptions:
        """What decides the order of a stream."""
        return StreamOptions(
            self.batch_tokens, self.seed, self.stream_shards, self.shuffle_buffer, self.rounding
        )

    @property
    def cache_folder(self) -> Path:
        """Where tokenised text is kept."""
        return Path(self.cache_dir).expanduser() if self.cache_dir else default_cache_dir()


def default_cache_dir() -> Path:
    """Return `$SEQAE_CACHE`, or else `seqae` below `$XDG_CACHE_HOME` or `~/.cache`."""
    if "SEQAE_CACHE" in os.environ:
        return Path(os.environ["SEQAE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqae"
