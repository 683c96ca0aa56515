"""What a person does with data before training on it."""

from __future__ import annotations

import json
import tempfile
from inspect import signature
from pathlib import Path

import numpy as np

from seqae.batch import MAX_LENGTH
from seqae.component import check_range, concrete_subclasses
from seqae.data.cache import PreparedData, open_prepared, prepare
from seqae.data.cleaning import CleanOptions
from seqae.data.config import CorpusConfig, default_cache_dir
from seqae.data.report.measure import to_text
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import Tokenizer
from seqae.files import check_output

READING, CLEANING = ReadOptions(), CleanOptions()


def report(
    files: list[str],
    val: str | list[str] | None = None,
    test: str | list[str] | None = None,
    val_percent: int = 0,
    test_percent: int = 0,
    tokenizer: str = "BPETokenizer",
    vocab_size: int | None = None,
    max_length: int | None = None,
    reading: ReadOptions = READING,
    cleaning: CleanOptions = CLEANING,
    output: str | None = None,
) -> None:
    """Say what a corpus holds, and what stands out, before training on it.

    Nothing is dropped or cut for its length. An option that the report calls `data.cleaning...` is
    `--cleaning...` here and `--data.cleaning...` of `seqae fit`.

    Args:
        files: what to train on, as `data.train` names it: files, folders, patterns, `-`, built-in
            corpora, hf:OWNER/NAME, nltk:CORPUS.
        val: the same for validation, to be held against it.
        test: the same for the test.
        val_percent: share to hold out for validation, in percent.
        test_percent: share to hold out for the test, in percent.
        tokenizer: one to train on it (BPETokenizer, WordTokenizer ...), or a trained one: a
            tokenizer.json, a bundle, or the folder of a run.
        vocab_size: of the tokenizer to train; by default its own.
        max_length: most tokens of a sentence; longer ones are counted.
        reading: how files are read.
        cleaning: what happens to text before it is tokenised.
        output: a file to write instead of printing: .json for programs, or .txt.
    """
    check_output(output, (".json", ".txt"))
    if max_length is not None:
        check_range("max_length", max_length, 3, MAX_LENGTH)
    chosen = find_tokenizer(tokenizer, vocab_size)
    config = CorpusConfig(
        train=files,
        val=val,
        test=test,
        reading=reading,
        cleaning=cleaning,
        max_length=MAX_LENGTH,
        too_long="truncate",
        val_percent=val_percent,
        test_percent=test_percent,
    )
    config.check()
    # Below the cache: the system's folder for temporary files may be small.
    cache_dir = default_cache_dir()
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix="report-") as folder:
        prepared = open_prepared(prepare(config, chosen, Path(folder)), chosen.config())
        told = prepared.report
        if max_length is not None:
            count_too_long(prepared, max_length)
    if output is None:
        print(to_text(told), end="")
        return
    text = json.dumps(told, indent=2) + "\n" if output.endswith(".json") else to_text(told)
    Path(output).write_text(text, encoding="utf-8")


def count_too_long(prepared: PreparedData, max_length: int) -> None:
    """Add to the report how many sentences, or pairs, of each split have too many tokens."""
    for split, told in prepared.report["splits"].items():
        count = int(np.count_nonzero(prepared.corpora[split].batch_lengths > max_length))
        told["over_max_length"] = {"max_length": max_length, "sentences": count}


def find_tokenizer(name: str, vocab_size: int | None) -> Tokenizer:
    """Make an untrained tokenizer by its kind, or load a trained one.

    Args:
        name: the kind, a tokenizer.json, a bundle, or the folder of a run.
        vocab_size: of an untrained one; None leaves it at its default.

    Raises:
        ValueError: if there is no such thing, or the kind has no `vocab_size`.
    """
    subclasses = concrete_subclasses(Tokenizer)  # type: ignore[type-abstract]
    kinds = {kind.__name__: kind for kind in subclasses}
    has_size = name in kinds and "vocab_size" in signature(kinds[name]).parameters
    places = (Path(name), Path(name, "tokenizer.json"), Path(name, "bundle", "tokenizer.json"))
    found = next((place for place in places if place.is_file()), None)
    if found is None and name not in kinds:
        raise ValueError(
            f"`tokenizer` must be one of {', '.join(kinds)}, a tokenizer.json, a bundle or a run, "
            f"but it is {name} instead. Choose one of these."
        )
    if vocab_size is not None and not has_size:
        raise ValueError(
            f"`vocab_size` must be left out for {name}, whose vocabulary is given, but it is "
            f"{vocab_size:,} instead. Leave it out, or choose BPETokenizer."
        )
    if name not in kinds and found is not None:
        return Tokenizer.load(found)
    arguments = {} if vocab_size is None else {"vocab_size": vocab_size}
    return Tokenizer.from_config({"class_path": name, "init_args": arguments})
