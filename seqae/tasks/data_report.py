"""`seqae data report`: what a corpus contains, before training on it."""

from __future__ import annotations

import json
import tempfile
from inspect import signature
from pathlib import Path

import numpy as np

from seqae.batch import MAX_LENGTH
from seqae.component import check_range, concrete_subclasses
from seqae.data.config import CorpusConfig, default_cache_dir
from seqae.data.prepared.cache import PreparedData, open_prepared, prepare
from seqae.data.report.render import to_text
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import Tokenizer
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile
from seqae.files import check_output, write_output

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
    """Report what a corpus contains and what is unusual in it, before training on it.

    Sentences are neither dropped nor truncated for their length. An option that the report calls
    `data.cleaning...` is `--cleaning...` here and `--data.cleaning...` of `seqae fit`.

    Args:
        files: what to train on, as in `data.train`: files, folders, patterns, `-`, built-in
            corpora, hf:OWNER/NAME, nltk:CORPUS.
        val: the same for validation, which is compared with the training data.
        test: the same for the test.
        val_percent: share to hold out for validation, in percent.
        test_percent: share to hold out for the test, in percent.
        tokenizer: the kind to train on the corpus (BPETokenizer, WordTokenizer ...), or a trained
            one: a tokenizer.json, a bundle, or the folder of a run.
        vocab_size: vocabulary size of the tokenizer to train; by default that of its kind.
        max_length: tokens of a sentence at most; longer sentences are counted.
        reading: how files are read.
        cleaning: what is done to text before it is tokenised.
        output: a file to write instead of printing: .json for programs, or .txt.
    """
    others = (names for names in (val, test) if names is not None)
    inputs = [*files, *(name for n in others for name in ([n] if isinstance(n, str) else n))]
    check_output(output, (".json", ".txt"), inputs)
    if max_length is not None:
        check_range("max_length", max_length, 3, MAX_LENGTH)
    trainable = find_tokenizer(tokenizer, vocab_size)
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
    # Inside the cache: the system's folder for temporary files may be small.
    cache_dir = default_cache_dir()
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix="report-") as folder:
        prepared = open_prepared(prepare(config, trainable, Path(folder)), trainable.config())
        if max_length is not None:
            count_too_long(prepared, max_length)
    measured = prepared.report
    if output is None:
        print(to_text(measured), end="")
        return
    is_json = output.endswith(".json")
    text = json.dumps(measured, indent=2) + "\n" if is_json else to_text(measured)
    write_output(output, text)


def count_too_long(prepared: PreparedData, max_length: int) -> None:
    """Add to the report how many sentences (or pairs) of each split have too many tokens."""
    for split, facts in prepared.report["splits"].items():
        count = int(np.count_nonzero(prepared.corpora[split].batch_lengths > max_length))
        facts["over_max_length"] = {"max_length": max_length, "sentences": count}


def find_tokenizer(name: str, vocab_size: int | None) -> Tokenizer:
    """Build an untrained tokenizer, or load a trained one.

    Args:
        name: a class of tokenizer, a tokenizer.json, a bundle, or the folder of a run.
        vocab_size: of an untrained tokenizer; None leaves its default.

    Raises:
        ValueError: if nothing has this name, or `vocab_size` cannot be chosen for it.
    """
    subclasses = concrete_subclasses(Tokenizer)  # type: ignore[type-abstract]
    kinds = {kind.__name__: kind for kind in subclasses}
    has_size = name in kinds and "vocab_size" in signature(kinds[name]).parameters
    paths = (Path(name), Path(name, "tokenizer.json"), Path(name, "bundle", "tokenizer.json"))
    trained = next((path for path in paths if path.is_file()), None)
    if trained is None and name not in kinds:
        raise ValueError(
            f"`tokenizer` must be one of {', '.join(kinds)}, a tokenizer.json, a bundle or a run, "
            f"but it is {name} instead. Choose one of these."
        )
    if vocab_size is not None and not has_size:
        raise ValueError(
            f"`vocab_size` must be left out for {name}, whose vocabulary is fixed, but it is "
            f"{vocab_size:,} instead. Leave it out, or choose BPETokenizer."
        )
    if name not in kinds and trained is not None:
        return TokenizerFile(str(trained)).read()
    arguments = {} if vocab_size is None else {"vocab_size": vocab_size}
    return Tokenizer.from_config({"class_path": name, "init_args": arguments})
