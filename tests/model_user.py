"""What runs in the process that uses models of the hub: commands, and calls from Python."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import seqae
from seqae.cli import main


class Done(NamedTuple):
    """What a command did."""

    status: int
    out: str
    error: str


@contextmanager
def settings(folder: Path, offline: bool, token: str | None) -> Iterator[None]:
    """Work in a folder, with or without a network and a token; and wait for a hundredth of a time.

    The client reads HF_HUB_OFFLINE when it is imported.
    """
    from huggingface_hub import constants

    sleep = time.sleep
    changed = {} if token is None else {"HF_TOKEN": token}
    before = Path.cwd()
    os.chdir(folder)
    with (
        mock.patch.object(constants, "HF_HUB_OFFLINE", offline),
        mock.patch.dict(os.environ, changed),
        mock.patch("time.sleep", lambda seconds: sleep(seconds / 100)),
    ):
        if token is None:
            os.environ.pop("HF_TOKEN", None)
        yield
    os.chdir(before)


def command(words: list[str], folder: Path, offline: bool, token: str | None) -> Done:
    out, error = io.StringIO(), io.StringIO()
    with settings(folder, offline, token), redirect_stdout(out), redirect_stderr(error):
        try:
            status = main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Done(status, out.getvalue(), error.getvalue())


def load(where: str, folder: Path, token: str | None, offline: bool = False, **options: Any) -> Any:
    """Give the address that a model was loaded from, and what it makes of a sentence."""
    with settings(folder, offline, token), mock.patch.object(pickle, "loads", _refuse):
        model = seqae.TextAutoencoder.from_pretrained(where, **options)
    return model.origin, model.encode("the cat sees the mat"), sorted(model.priors)


def push(folder: Path, token: str | None, where: str, *arguments: Any, **options: Any) -> str:
    with settings(folder, False, token):
        return seqae.load(where).push_to_hub(*arguments, **options)


def _refuse(*_: object) -> None:
    raise AssertionError("a pickle was read")
