"""From named sources to a trained tokenizer and three tokenised corpora, once, in a cache.

The cache's key is a hash of everything that the result depends on: the sources' fingerprints, the
split, the tokenizer's settings, the length policy. A folder of the cache appears whole or not at
all, and processes that want the same one at the same time wait for the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from seqae.data.builtin import SPLITS, Split, split_of
from seqae.data.corpus import FORMAT, CorpusWriter, TokenizedCorpus, TooLong
from seqae.data.sources import Block, OnInvalid, TextSource
from seqae.data.tokenizers import Tokenizer

SPOOL = "seqae-pipe-"  # begins the names of the folders that copies of pipes lie in


@dataclass(frozen=True)
class DataSettings:
    """Everything that decides what stands in the tokenised corpora.

    Attributes:
        train, val, test: sources, as the user names them; where val or test is empty, its share of
            the training sources is held out instead.
        errors: what to do with a line that is not UTF-8.
        max_length: most tokens of a sentence, bos and eos counted.
        too_long: what to do with a longer one.
        val_percent, test_percent, split_seed: of the split of the training sources.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    errors: OnInvalid
    max_length: int
    too_long: TooLong
    val_percent: int
    test_percent: int
    split_seed: int


@dataclass
class PreparedData:
    """What a cache folder holds.

    Attributes:
        tokenizer: trained.
        corpora: by split; an empty one where nothing is held out.
        report: lines read, kept and dropped by source, and counts by split.
    """

    tokenizer: Tokenizer
    corpora: dict[Split, TokenizedCorpus]
    report: dict[str, Any]


def default_cache_dir() -> Path:
    """`$SEQAE_CACHE`, or `seqae` below `$XDG_CACHE_HOME` or `~/.cache`."""
    if "SEQAE_CACHE" in os.environ:
        return Path(os.environ["SEQAE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqae"


def prepare(settings: DataSettings, tokenizer: Tokenizer, cache_dir: Path) -> Path:
    """Train the tokenizer and tokenise the corpora, unless the cache has them.

    Args:
        settings: what to read and how.
        tokenizer: trained here, on the training split, if it is not yet.
        cache_dir: where the result is kept.

    Returns:
        The cache folder, for `open_prepared`.

    Raises:
        ValueError: if a source is unusable, or a sentence too long.
        OSError: if a source or the cache cannot be read or written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        spool = tempfile.TemporaryDirectory(dir=cache_dir, prefix=SPOOL)
    except OSError as error:
        raise OSError(
            f"`data.cache_dir` must be a folder that can be written, but {cache_dir} cannot: "
            f"{error.strerror}. Set another one."
        ) from error
    with spool:
        sources = {
            split: [
                _rereadable(
                    TextSource(name, key=f"data.{split}", errors=settings.errors), spool.name
                )
                for name in names
            ]
            for split, names in _named(settings).items()
        }
        folder = cache_dir / _cache_key(settings, tokenizer, sources)
        with FileLock(cache_dir / f"{folder.name}.lock"):
            if not (folder / "report.json").exists():
                unfinished = folder.with_name(f"{folder.name}.unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                try:
                    _write(unfinished, settings, tokenizer, sources)
                    shutil.rmtree(folder, ignore_errors=True)
                    os.replace(unfinished, folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def open_prepared(folder: Path, config: Mapping[str, Any]) -> PreparedData:
    """Open what `prepare` left.

    Args:
        folder: the cache folder.
        config: the tokenizer's `config()`.
    """
    return PreparedData(
        Tokenizer.load(folder / "tokenizer.json", config),
        {split: TokenizedCorpus(folder / split) for split in SPLITS},
        json.loads((folder / "report.json").read_text(encoding="utf-8")),
    )


def _named(settings: DataSettings) -> dict[Split, tuple[str, ...]]:
    return {"train": settings.train, "val": settings.val, "test": settings.test}


def _write(
    folder: Path,
    settings: DataSettings,
    tokenizer: Tokenizer,
    sources: Mapping[Split, Sequence[TextSource]],
) -> None:
    folder.mkdir(parents=True)
    if not tokenizer.is_trained:
        tokenizer = deepcopy(tokenizer)  # the caller's stays as it was, and with it the cache's key
        tokenizer.train(
            text
            for source in sources["train"]
            for block in source.blocks()
            for text in block.texts
            if _side(text, "train", settings) == "train"
        )
    tokenizer.save(folder / "tokenizer.json")
    report: dict[str, Any] = {"sources": {}, "splits": {}}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(_writer(folder, split, tokenizer, settings))
            for split in SPLITS
        }
        for split in SPLITS:
            for source in sources[split]:
                for block in source.blocks():
                    for side, texts, places in _deal(block, split, settings):
                        writers[side].append(texts, places)
                report["sources"][source.source] = asdict(source.counts)
    report["splits"] = {split: writer.counts for split, writer in writers.items()}
    if not writers["train"].counts["sentences"]:
        raise ValueError(
            f"`data.train` must have sentences for training, but none of "
            f"{', '.join(settings.train)} is left after the split and `data.too_long`. Give more "
            f"text, or set `data.val_percent` and `data.test_percent` to 0."
        )
    (folder / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")


def _writer(
    folder: Path, split: Split, tokenizer: Tokenizer, settings: DataSettings
) -> CorpusWriter:
    key = f"data.{split if _named(settings)[split] else 'train'}"
    return CorpusWriter(folder / split, tokenizer, settings.max_length, settings.too_long, key)


def _deal(
    block: Block, split: Split, settings: DataSettings
) -> Iterator[tuple[Split, list[str], list[str]]]:
    """Deal the sentences of a block, and where they came from, to the splits they belong to."""
    dealt: dict[Split, tuple[list[str], list[str]]] = {}
    for index, text in enumerate(block.texts):
        texts, places = dealt.setdefault(_side(text, split, settings), ([], []))
        texts.append(text)
        places.append(block.where(index))
    for side, (texts, places) in dealt.items():
        yield side, texts, places


def _side(text: str, split: Split, settings: DataSettings) -> Split:
    """Where a sentence of a `split` source goes: there, or from train to what it has to supply."""
    if split != "train" or not (settings.val_percent or settings.test_percent):
        return split
    side = split_of(
        text,
        val_percent=settings.val_percent,
        test_percent=settings.test_percent,
        seed=settings.split_seed,
    )
    # What has sources of its own takes nothing, and the other share stays what it was.
    return "train" if _named(settings)[side] else side


def _cache_key(
    settings: DataSettings, tokenizer: Tokenizer, sources: Mapping[Split, Sequence[TextSource]]
) -> str:
    told = {
        "format": FORMAT,
        "settings": asdict(settings),
        "sources": {
            split: [_fingerprint(source) for source in some] for split, some in sources.items()
        },
        "tokenizer": tokenizer.fingerprint if tokenizer.is_trained else tokenizer.config(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprint(source: TextSource) -> str | None:
    """Of a copy its name, which says what it holds; where it lies differs from time to time."""
    path = Path(source.source)
    return path.stem if path.parent.name.startswith(SPOOL) else source.fingerprint


def _rereadable(source: TextSource, folder: str) -> TextSource:
    """Copy what can be read only once (standard input, a pipe) to a file named by its content."""
    if source.can_reread:
        return source
    digest = hashlib.sha256()
    copy = Path(folder) / "unfinished.txt"
    with copy.open("wb") as file:
        for block in source.blocks():
            lines = "".join(f"{text}\n" for text in block.texts).encode()
            digest.update(lines)
            file.write(lines)
    named = copy.with_name(f"{digest.hexdigest()}.txt")
    copy.rename(named)
    return TextSource(str(named), key=source.key, errors=source.errors)
