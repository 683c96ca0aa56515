"""From named sources to a trained tokenizer and three tokenised corpora, once, in a cache.

The cache's key is a hash of everything that the result depends on: the sources' fingerprints, the
tokenizer's settings, every setting of reading, cleaning, splitting and length, and the versions of
what does it. A folder of the cache appears whole or not at all, and processes that want the same
one at the same time wait for the first.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seqae.data.config import CorpusConfig
from seqae.data.corpus import FORMAT, TokenizedCorpus
from seqae.data.prepare import REPORT, Preparation
from seqae.data.sources.base import Source
from seqae.data.sources.spool import spool
from seqae.data.split import SPLITS, Split
from seqae.data.tokenizers import Tokenizer
from seqae.processes import available_cores

log = logging.getLogger(__name__)


@dataclass
class PreparedData:
    """What a cache folder holds.

    Attributes:
        tokenizer: trained.
        corpora: by split; an empty one where nothing is held out.
        report: what was read, kept and dropped, and what is in the corpora; see report.py.
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
        tokenizer: trained here, on the training split, if it is not yet.
        cache_dir: where the result is kept.
        processes: how many may tokenise at the same time; by default one a core.

    Returns:
        The cache folder, for `open_prepared`.

    Raises:
        ValueError: if a source is unusable, or a sentence too long.
        OSError: if a source or the cache cannot be read or written.
    """
    with _temporary_folder(cache_dir) as temporary:
        try:
            sources = {
                split: [spool(source, temporary) for source in some]
                for split, some in config.open_sources().items()
            }
        except OSError as error:
            raise _tell_full(error, cache_dir) from error
        folder = cache_dir / _cache_key(config, tokenizer, sources)
        with _alone(cache_dir / f"{folder.name}.lock"):
            if not is_intact(folder):
                unfinished = folder.with_name(f"{folder.name}.unfinished")
                try:
                    count = processes or available_cores()
                    Preparation(unfinished, config, sources, count).run(tokenizer)
                except ValueError:  # what is wrong will not come right by going on
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise
                except OSError as error:
                    raise _tell_full(error, cache_dir) from error
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(unfinished, folder)
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
        json.loads((folder / REPORT).read_text(encoding="utf-8")),
    )


def is_intact(folder: Path) -> bool:
    """Whether a folder of the cache is there, and can be opened."""
    if not folder.exists():
        return False
    try:
        json.loads((folder / REPORT).read_text(encoding="utf-8"))
        Tokenizer.load(folder / "tokenizer.json")
        for split in SPLITS:
            TokenizedCorpus(folder / split)
    except (ValueError, KeyError, OSError) as error:
        log.warning(f"data: {folder} is damaged ({error}) and is prepared anew.")
        return False
    return True


@contextmanager
def _temporary_folder(cache_dir: Path) -> Iterator[Path]:
    """A folder below the cache for copies of what can be read only once."""
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
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock; say so if that means to wait."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=2)
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
    # The commits are in the sources' fingerprints.
    decisive = {name: value for name, value in config.to_dict().items() if name != "revisions"}
    told = {
        "format": FORMAT,
        "versions": {name: version(name) for name in ("tokenizers", "sentencex")},
        "settings": decisive,
        "sources": {
            split: [source.fingerprint for source in some] for split, some in sources.items()
        },
        "tokenizer": tokenizer.fingerprint if tokenizer.is_trained else tokenizer.config(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _tell_full(error: OSError, cache_dir: Path) -> OSError:
    """Say how much room there is where a disk is full; other errors stay as they are."""
    if error.errno is None or os.strerror(error.errno) != error.strerror:
        return error  # it has words of its own
    free = shutil.disk_usage(cache_dir).free
    return OSError(
        f"`data.cache_dir` must be a folder with room, but writing to {cache_dir} failed: "
        f"{error.strerror} ({free / 2**20:,.0f} MiB are free). What was done is kept: make room "
        f"and run the same command again, or set another folder."
    )
