"""Prepare named sources once: a trained tokenizer and three tokenised corpora, kept in a cache.

The key is a hash of everything that the result depends on: the fingerprints of the sources, the
arguments of the tokenizer, all options of CorpusConfig, and the versions of the libraries that do
the work. A folder of the cache appears complete or not at all, and processes that want the same
folder at the same time wait for the first of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus import FORMAT, TokenizedCorpus
from seqae.data.prepared.prepare import REPORT, TOKENIZER, Preparation
from seqae.data.prepared.sealed_files import damage_in
from seqae.data.sentences.split import SPLITS, Split
from seqae.data.sources.base import Source
from seqae.data.sources.spool import spool
from seqae.data.tokenizers import Tokenizer
from seqae.extras import installed_version
from seqae.processes import available_cores

log = logging.getLogger(__name__)

STRETCHES = 2  # how they are cut: 1 was after every `max_length` tokens
SILENT_WAIT_SECONDS = 2  # for a lock, before a line says that this process waits


@dataclass
class PreparedData:
    """The content of a cache folder.

    Attributes:
        tokenizer: trained.
        corpora: by split; empty if nothing is held out.
        report: what was read, kept and dropped, and what is in the corpora; report/measure.py has
            its keys.
    """

    tokenizer: Tokenizer
    corpora: dict[Split, TokenizedCorpus]
    report: dict[str, Any]


def prepare(
    config: CorpusConfig, tokenizer: Tokenizer, cache_dir: Path, processes: int | None = None
) -> Path:
    """Train the tokenizer and tokenise the corpora, unless the cache has them.

    Args:
        config: what to read and how.
        tokenizer: a copy is trained on the training split, unless it is trained already.
        cache_dir: for the result.
        processes: how many may tokenise at the same time; by default one per core.

    Returns:
        The folder of the cache, for `open_prepared`.

    Raises:
        ValueError: if a source is unusable, or a sentence too long.
        OSError: if a source or the cache cannot be read or written.
    """
    opened = config.open_sources()
    if all(source.can_reread for some in opened.values() for source in some):
        folder = cache_dir / _cache_key(config, tokenizer, opened)
        if damage_of(folder) is None:  # it is complete, and will not change: no lock is needed,
            return folder  # which a read-only disk could not give
    with _temporary_folder(cache_dir) as temporary:
        try:
            sources = {
                split: [spool(source, temporary) for source in some]
                for split, some in opened.items()
            }
        except OSError as error:
            raise _with_free_space(error, cache_dir) from error
        folder = cache_dir / _cache_key(config, tokenizer, sources)
        with _locked(cache_dir / f"{folder.name}.lock"):
            if not is_intact(folder):
                unfinished = folder.with_name(f"{folder.name}.unfinished")
                try:
                    count = processes or available_cores()
                    Preparation(unfinished, config, sources, count).run(tokenizer)
                except ValueError:  # continuing would fail again
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise
                except OSError as error:
                    raise _with_free_space(error, cache_dir) from error
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(unfinished, folder)
    return folder


def open_prepared(folder: Path, config: Mapping[str, Any] | None = None) -> PreparedData:
    """Open what `prepare` made.

    Args:
        folder: of the cache.
        config: the `config()` of the tokenizer, if it is known.
    """
    return PreparedData(
        Tokenizer.load(folder / TOKENIZER, config),
        {split: TokenizedCorpus(folder / split) for split in SPLITS},
        json.loads((folder / REPORT).read_text(encoding="utf-8")),
    )


def is_intact(folder: Path) -> bool:
    """Tell whether a folder of the cache is complete and unchanged; log a line if it is damaged."""
    damage = damage_of(folder)
    if damage is not None and folder.exists():
        log.warning(f"data: {folder} is damaged ({damage}) and is prepared again.")
    return damage is None


def damage_of(folder: Path) -> str | None:
    """Say what is wrong with a folder of the cache; None if it is as it was made."""
    for part in (folder, *(folder / split for split in SPLITS)):
        if damage := damage_in(part):
            return damage
    try:
        for split in SPLITS:
            if (target := TokenizedCorpus(folder / split).target) is not None and (
                damage := damage_in(target.folder)
            ):
                return damage
        open_prepared(folder)
    except (ValueError, KeyError, OSError) as error:
        return str(error)
    return None


@contextmanager
def _temporary_folder(cache_dir: Path) -> Iterator[Path]:
    """Make a folder in the cache for copies of sources that can be read only once."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=cache_dir, prefix="seqae-pipe-")
    except OSError as error:
        raise OSError(
            f"`data.cache_dir` must be a folder that can be written, but {cache_dir} cannot: "
            f"{error.strerror}. Set another one."
        ) from error
    with folder as name:
        yield Path(name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock; log a line if that means to wait."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=SILENT_WAIT_SECONDS)
    except Timeout:
        log.info(f"data: waiting for another process, which is preparing the same ({path.stem})")
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(
            f"`data.cache_dir` must be on a file system that has locks, but {path.parent} is on "
            f"one without. Set another one."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _cache_key(
    config: CorpusConfig, tokenizer: Tokenizer, sources: Mapping[Split, Sequence[Source]]
) -> str:
    # The fingerprints of the sources contain the revisions.
    options = {name: value for name, value in config.to_dict().items() if name != "revisions"}
    fingerprints = {
        split: [source.fingerprint for source in opened] for split, opened in sources.items()
    }
    content: dict[str, Any] = {
        "format": FORMAT,
        "versions": {name: installed_version(name) for name in ("tokenizers", "sentencex")},
        "settings": options,
        "sources": fingerprints,
        "tokenizer": tokenizer.fingerprint if tokenizer.is_trained else tokenizer.config(),
    }
    if not config.running_text:  # the options of before it was one keep their folders
        del options["running_text"]
    if config.too_long == "split":
        content["stretches"] = STRETCHES
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _with_free_space(error: OSError, cache_dir: Path) -> OSError:
    """Add the free space to an error of the operating system; keep an error with its own words."""
    if error.errno is None or os.strerror(error.errno) != error.strerror:
        return error
    free = shutil.disk_usage(cache_dir).free
    return OSError(
        f"`data.cache_dir` must be a folder with room, but writing to {cache_dir} failed: "
        f"{error.strerror} ({free / 2**20:,.0f} MiB are free). What was done is kept: make room "
        f"and run the same command again, or set another folder."
    )
