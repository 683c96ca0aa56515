"""Processes that use the hub, and what runs in them.

The libraries take the hub's address from the environment when they are imported, so that they are
used in processes of their own, which are started once for all tests.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from seqae.data.sources.base import Source
from seqae.data.sources.hubs import hub_readers, hub_requests
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, ReadOptions

STREAM, DOWNLOAD = "stream", "download"


def enter(log: str) -> None:
    """Write what the libraries print, below Python too, to a file; and wait a hundredth."""
    hub_requests.WAITS = tuple(seconds / 100 for seconds in hub_requests.WAITS)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)


def make_options(hub: str = STREAM, **options: Any) -> ReadOptions:
    return ReadOptions(hub=hub, **options)


def open_named(name: str, **options: Any) -> Source:
    return open_source(name, "data.train", make_options(**options), "data.reading.")


def tell(name: str, **options: Any) -> tuple[dict[str, Any], str | None, int | None]:
    source = open_named(name, **options)
    return source.record, source.fingerprint, source.size


def read(name: str, wanted: int = 1, rows: int = 2048, **options: Any) -> list[list[Block]]:
    """The blocks of each part, in the copies that workers would have."""
    with mock.patch.object(hub_readers, "BLOCK_ROWS", rows):
        parts = pickle.loads(pickle.dumps(open_named(name, **options).parts(wanted)))
        return [list(part.blocks()) for part in parts]


def read_in_pieces(name: str, wanted: int, rows: int, **options: Any) -> list[list[Block]]:
    """The same, but each block is read by itself, from the written-down end of the one before."""
    with mock.patch.object(hub_readers, "BLOCK_ROWS", rows):
        parts: list[list[Block]] = []
        for part in open_named(name, **options).parts(wanted):
            blocks: list[Block] = []
            start = None
            while block := next(part.blocks(start), None):
                blocks.append(block)
                start = json.loads(json.dumps(block.end))
            parts.append(blocks)
        return parts


def read_around(name: str, begun: str, moved: str) -> list[str]:
    """Open, tell so, wait until the data set has moved, then read."""
    source = open_named(name)
    Path(begun).touch()
    while not Path(moved).exists():
        pass
    return [text for part in source.parts(2) for block in part.blocks() for text in block.texts]


def open_while_datasets_falls_back(name: str) -> None:
    """As where the hub fails after it said which commit it is: `datasets` takes what it has."""
    with mock.patch("datasets.load_dataset_builder", return_value=mock.Mock(hash="older")):
        open_named(name)


def read_large(name: str) -> list[int]:
    with mock.patch.object(hub_readers, "BLOCK_BYTES", 200):
        return [len(block.texts) for block in open_named(name).parts()[0].blocks()]


class User:
    """A process that uses the hub."""

    def __init__(self, pool: ProcessPoolExecutor, log: Path) -> None:
        self.pool, self.log = pool, log

    def __call__(self, function: Any, *arguments: Any, **options: Any) -> Any:
        return self.pool.submit(function, *arguments, **options).result(timeout=100)

    def refusal(self, name: str, kind: type[Exception] = ValueError, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            self(tell, name, **options)
        assert type(caught.value) is kind
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith("`data.train` must ")
        assert " instead" in message
        return message


def start_user(home: Path, environment: dict[str, str]) -> Iterator[User]:
    log = home / f"printed-{len(environment)}"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=enter, initargs=(str(log),)) as pool:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            pool.submit(os.getpid).result(timeout=100)  # it is started by the first task
        yield User(pool, log)
