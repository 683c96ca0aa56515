"""Inputs of a task: a model, and sentences that are read as those of its training were."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import seqae
from seqae.bundle.operations.text_operations import LongPolicy, TooLong
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import from_plain
from seqae.data.builtin import builtin_names
from seqae.data.config import DataConfig, LengthPolicy
from seqae.data.sentences.cleaning import CleanOptions, clean
from seqae.data.sources.base import Source
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Counts, ReadOptions
from seqae.data.sources.walking import describe_left_out
from seqae.model.int8 import ComputeType
from seqae.remote.url import check_url, is_url
from seqae.tasks.run_files import check_own, damaged, read_config, read_json
from seqae.terminal import progress_bar, visible

READING = ReadOptions()
DATA_REPORT = "data_report.json"  # in a run


@dataclass(frozen=True)
class Policies:
    """How a model's training treated its text.

    Attributes:
        too_long: what became of a sentence with more tokens than the model accepts.
        reading: how files were read.
        cleaning: how documents were cut into sentences.
        sources: the names of the files.
        given: how the user wants files to be read, if other than by default.
    """

    too_long: LengthPolicy = "error"
    reading: ReadOptions = ReadOptions()
    cleaning: CleanOptions = CleanOptions()
    sources: frozenset[str] = frozenset()
    given: ReadOptions = READING

    def is_own(self, source: str) -> bool:
        """Say whether the model was trained on this file."""
        paths = {Path(name).absolute() for name in self.sources}
        return source in self.sources or Path(source).absolute() in paths

    def reading_of(self, source: str) -> ReadOptions:
        """Say how to read a file: one that the model was not trained on by its own ending."""
        if self.given != READING:
            return self.given
        return self.reading if self.is_own(source) else replace(self.reading, format="auto")


class Instead(NamedTuple):
    """What to give where the training data cannot be read.

    Attributes:
        keys: the options.
        command: an example.
    """

    keys: str
    command: str


EVALUATE = Instead("`file` and `train_file`", "seqae evaluate MODEL FILE --train_file TRAIN")


def data_config(model: TextAutoencoder, where: Path, instead: Instead = EVALUATE) -> DataConfig:
    """Read the data settings from the run's configuration, if there is a run, or the bundle's.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        instead: the way out.

    Raises:
        ValueError: if there are none, or they name what must not be read.
    """
    data, is_run = _plain_settings(model, where)
    if not data.get("train"):
        raise ValueError(
            f"{instead.keys} must be given, because the bundle does not say what data it was "
            f"trained on. Write `{instead.command}`."
        )
    settings = _settings(data)
    named = {name for names in settings.source_names.values() for name in names}
    if "-" in named or not (is_run or named <= set(builtin_names())):
        raise ValueError(
            f"{instead.keys} must be given, because the model was trained on "
            f"{', '.join(settings.source_names['train'])}, which cannot be read from here. Write "
            f"`{instead.command}`."
        )
    if is_run and any(map(is_url, named)):
        check_own(where, instead.keys, instead.command)
    report = where / DATA_REPORT
    if is_run and report.is_file():  # of a data set of the hub, the commit that the run has read
        try:
            settings.pin_revisions(read_json(report, "model"))
        except (TypeError, LookupError, AttributeError) as error:
            raise damaged(report, "model", "it is no data report") from error
    return settings


def policies_of(model: TextAutoencoder, where: Path, given: ReadOptions = READING) -> Policies:
    """Read how the text was treated; a bundle that does not say gives the defaults.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        given: how the user wants files to be read.
    """
    data, _ = _plain_settings(model, where)
    try:
        settings = _settings(data)
    except ValueError:  # of another version, or made up
        return Policies(given=given)
    # The limits protect this machine from a file, so they are not the bundle's to set.
    reading, limits = settings.reading, ReadOptions()
    reading = replace(
        reading,
        target_column=None,
        max_line_bytes=limits.max_line_bytes,
        max_expansion=limits.max_expansion,
    )
    cleaning = CleanOptions(split_sentences=settings.cleaning.split_sentences)
    sources = {name for names in settings.source_names.values() for name in names}
    return Policies(settings.too_long, reading, cleaning, frozenset(sources), given)


def load_and_gather(
    model: str,
    device: str,
    texts: list[str],
    source: str | None,
    too_long: TooLong | None,
    reading: ReadOptions = READING,
) -> tuple[TextAutoencoder, list[str], TooLong]:
    """Load a model, and read sentences for it as those of its training were read.

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        device: where to compute.
        texts: sentences of the command line; `-` alone means standard input.
        source: a file, or anything else that `data.train` accepts.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as
            in its training.
        reading: how to read the file; by default as in the training.

    Returns:
        The model, the sentences, and what to do with those that are too long.
    """
    loaded, sentences, policies = _load_and_read(model, device, texts, source, reading)
    return loaded, sentences, _as_one(loaded, sentences, too_long, policies)


def load_and_gather_long(
    model: str,
    device: str,
    texts: list[str],
    source: str | None,
    too_long: LongPolicy | None,
    reading: ReadOptions = READING,
    compute_type: ComputeType = "float32",
) -> tuple[TextAutoencoder, list[str], LongPolicy]:
    """Do as `load_and_gather`, for a task that takes long texts in stretches.

    It does so if `too_long` is `split`, or by default if that of the training was.
    """
    how = reading, compute_type
    loaded, sentences, policies = _load_and_read(model, device, texts, source, *how)
    if too_long == "split" or (too_long is None and policies.too_long == "split"):
        return loaded, sentences, "split"
    return loaded, sentences, _as_one(loaded, sentences, too_long, policies)


def _load_and_read(
    model: str,
    device: str,
    texts: list[str],
    source: str | None,
    reading: ReadOptions,
    compute_type: ComputeType = "float32",
) -> tuple[TextAutoencoder, list[str], Policies]:
    check_given(texts, source)
    check_source(source, "input", reading)
    if file := next(filter(os.path.isfile, texts), None):
        shown = visible(file)
        print(
            f"seqae: `{shown}` is encoded as text; `--input {shown}` reads the file",
            file=sys.stderr,
        )
    loaded = seqae.load(model, device, compute_type=compute_type)
    policies = policies_of(loaded, Path(model), reading)
    return loaded, gather(texts, source, policies=policies), policies


def _as_one(
    model: TextAutoencoder, sentences: list[str], too_long: TooLong | None, policies: Policies
) -> TooLong:
    """Choose what becomes of long sentences of which each has one latent, and say so."""
    if too_long is not None or policies.too_long == "error":
        return too_long or "error"
    limit = model.autoencoder.max_length
    if longer := sum(length > limit for length in model.lengths(sentences)):
        print(
            f"seqae: truncated {longer:,} of {len(sentences):,} sentences to {limit} tokens, since "
            f"the model was trained with `too_long: {policies.too_long}`",
            file=sys.stderr,
        )
    return "truncate"


def check_given(texts: list[str], source: str | None) -> None:
    """Refuse sentences from two places, or from none."""
    if bool(texts) == (source is not None):
        raise ValueError(
            '`texts` or `input` must be given, and not both. Write `"a sentence"`, or `-` for '
            "standard input, before any options; or `--input FILE`."
        )
    if len(texts) > 1 and "-" in texts:
        raise ValueError(
            "`texts` must be sentences, or `-` alone for standard input, but `-` is given among "
            "others. Leave it out, or leave out the others."
        )


def typed(texts: list[str]) -> str | None:
    """Return `-` where the sentences come from standard input, for `check_output`."""
    return "-" if texts == ["-"] else None


def check_reading(reading: ReadOptions, files: Iterable[str | None]) -> None:
    """Refuse options of reading that would be ignored.

    Args:
        reading: how files are read.
        files: what the command line names; None where it names none.

    Raises:
        ValueError: naming the option.
    """
    if reading != READING and not any(files):
        raise ValueError(
            "`reading` must be left out where no file is read, but it is given. Name one, as with "
            "`--input FILE`."
        )
    if reading.target_column is not None:
        raise ValueError(
            f"`reading.target_column` must be left out here, where no text is compared, but it is "
            f"{reading.target_column} instead. `seqae evaluate` takes it."
        )


def check_source(source: str | None, key: str, reading: ReadOptions = READING) -> None:
    """Refuse a file that does not exist before a model is loaded; the network is asked later.

    Args:
        source: what an option names, if it is given.
        key: the option.
        reading: how it is read.
    """
    if source is not None and is_url(source):
        check_url(source, key)
    elif source is not None and not source.startswith(("hf:", "nltk:")):
        open_source(source, key, reading, "reading.")


def tell_left_out(source: Source) -> None:
    """Print which files of a folder are not read."""
    if source.left_out:
        left_out = visible(describe_left_out(source.left_out))
        print(f"seqae: left out of {visible(source.name)}: {left_out}", file=sys.stderr)


def gather(
    texts: list[str], source: str | None, key: str = "input", policies: Policies = Policies()
) -> list[str]:
    """Read sentences from the command line, standard input or a file.

    Args:
        texts: sentences of the command line; `-` alone means standard input.
        source: a file, or anything else that `data.train` accepts.
        key: the option that names the file; error messages begin with it.
        policies: how to read it.

    Raises:
        ValueError: if neither or both of `texts` and `source` are given.
    """
    check_given(texts, source)
    if source is None and texts != ["-"]:
        return texts
    name, counts = source or "-", Counts()
    is_own = policies.is_own(name)
    reading = policies.reading_of(name)
    cleaning = policies.cleaning if is_own else CleanOptions()
    sentences: list[str] = []
    with progress_bar("reading", None) as advance:
        opened = open_source(name, key, reading, "reading.")
        tell_left_out(opened)
        for block in opened.blocks():
            sentences += clean(block, cleaning)[0].texts
            counts.add(block.counts)
            advance(len(block.texts))
    if skipped := counts.read - counts.kept:
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(counts.dropped.items()) if count
        )
        print(
            f"seqae: skipped {skipped:,} of {counts.read:,} lines of the {key} ({reasons}), so "
            f"output rows no longer match input line numbers",
            file=sys.stderr,
        )
    if len(sentences) > counts.kept:
        print(
            f"seqae: cut {counts.kept:,} documents of the {key} into {len(sentences):,} sentences, "
            f"as in the model's training",
            file=sys.stderr,
        )
    return sentences


def _plain_settings(model: TextAutoencoder, where: Path) -> tuple[dict[str, Any], bool]:
    """Return what a configuration has under `data`, and whether it is that of a run."""
    # Only the folder that was named counts as a run: what lies beside or inside a bundle may be a
    # stranger's.
    is_run = (where / "config.yaml").is_file() and not (where / "config.json").exists()
    config = model.details.get("training", {}).get("config", {})
    if is_run:
        config = read_config(where / "config.yaml", "model")
    data = config.get("data") if isinstance(config, dict) else None
    return (data if isinstance(data, dict) else {}), is_run


def _settings(data: dict[str, Any]) -> DataConfig:
    options = {name: value for name, value in data.items() if name != "tokenizer"}
    settings: DataConfig = from_plain(options, DataConfig, "data")
    settings.check()
    return settings
