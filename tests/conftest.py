"""Hygiene: each test starts from one seed, on one thread, and leaves the process as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import hypothesis
import pytest
import torch
from filelock import FileLock
from small import SENTENCES, run_seqae, write_recipe, write_text

pytest.register_assert_rewrite("contracts")

# On a busy machine an example may take longer than the 0.2 s that hypothesis allows for it.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Variables that pytest, torch and Lightning set for themselves; they are put back without a word.
LIBRARY_VARIABLES = ("PYTEST_", "TORCH", "_TORCH", "PYTORCH_", "PL_", "KMP_")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache, or that of another worker of pytest-xdist."""
    torch.set_num_threads(1)  # for the fixtures of a module, which come before those of a test
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("COLUMNS", raising=False)  # pytest-xdist's; tables have a width of their own
        patch.setenv("SEQAE_REPORT", "0")  # no training makes a page: most tests would wait for it
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _hygiene() -> Iterator[None]:
    """A leaked variable or signal handler fails the test; torch's global switches are put back."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    variables, handlers = dict(os.environ), _handlers()
    dtype, deterministic = (
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    )
    yield
    torch.set_default_dtype(dtype)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    changed = {
        name for name in {*variables, *os.environ} if os.environ.get(name) != variables.get(name)
    }
    for name in changed:
        os.environ.pop(name, None)
        if name in variables:
            os.environ[name] = variables[name]
    moved = {number for number, handler in handlers.items() if signal.getsignal(number) != handler}
    for number in moved:
        signal.signal(number, handlers[number])
    leaked = {name for name in changed if not name.startswith(LIBRARY_VARIABLES)}
    assert not leaked, f"the test left environment variables changed: {sorted(leaked)}"
    assert not moved, f"the test left signal handlers changed: {sorted(moved)}"


def _handlers() -> dict[signal.Signals, Any]:
    # The alarm is pytest-timeout's; torch watches its loader workers by SIGCHLD.
    ours = signal.valid_signals() - {signal.SIGALRM, signal.SIGCHLD}
    return {number: signal.getsignal(number) for number in ours}


@pytest.fixture(scope="session")
def overfit_run(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> Path:
    """A run of the small GRU recipe on 32 sentences, which are its validation and test too.

    The workers of pytest-xdist share it: the first that needs it trains, no test may write to it.
    """
    folder = tmp_path_factory.getbasetemp() / "overfit"
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "overfit"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir()
            overfit(folder)
            (folder / "done").touch()
    return folder / "run"


def overfit(folder: Path) -> None:
    text = write_text(folder / "text.txt", SENTENCES)
    options = ["--data.train", text, "--data.val", text, "--data.test", text]
    options += ["--trainer.max_epochs", 40, "--trainer.check_val_every_n_epoch", 20]
    options += ["--checkpoint.every_n_steps", 10, "--run_dir", folder / "run"]
    torch.set_num_threads(1)
    assert run_seqae("fit", "-c", write_recipe(folder), *options) == 0


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `marking` can be imported, and leaves this file when it is."""
    mark = tmp_path / "imported"
    (tmp_path / "marking.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass X: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return mark


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The store memory://, empty; and no waiting for a second try."""
    monkeypatch.setattr("seqae.remote.store.WAITS", (0.0, 0.0))
    files = fsspec.filesystem("memory", use_listings_cache=False)  # as seqae opens it
    files.store.clear()
    yield files
    files.store.clear()
