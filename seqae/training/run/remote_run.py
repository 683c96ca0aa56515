"""Runs elsewhere, `--run_dir s3://BUCKET/RUN`, and the folder of this machine that stands for one.

A training needs a disk: a checkpoint is renamed into its place, rows are appended, and corpora are
mapped. So it writes to a folder of the cache, and what is complete there is sent (run_mirror.py).
`bring_home` is the way back, on a machine that has not trained the run, or not last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from seqae.bundle.manifest import PATTERNS
from seqae.data.config import default_cache_dir
from seqae.files import atomic_symlink, atomic_write, replace_folder, reporting
from seqae.remote.run_pointer import POINTER, RunPointer, read_pointer
from seqae.remote.transfer import fetch_file, list_remote
from seqae.remote.url import check_url, is_url, name_of
from seqae.training.checkpoints.callback import LAST, checkpoints
from seqae.training.checkpoints.integrity import is_intact
from seqae.training.checkpoints.sharded import remove_checkpoint
from seqae.untrusted import load_json, read_capped

FOLDER = "runs"  # in the cache; it has a folder for each run elsewhere
LOCK = ".lock"  # in that folder: a training holds it
STATE = ".remote.json"  # in that folder: which state of the run it holds
MAX_STATE_BYTES = 4096


@dataclass(frozen=True)
class HomeState:
    """Which state of a run elsewhere a folder of this machine holds.

    Attributes:
        url: of the run.
        writer: the token with which the folder's own training has written there last.
        fetched: hash of the pointer whose files were fetched last.
        claimed: the token with which it was about to, when it was not known yet if it can.
    """

    url: str
    writer: str | None = None
    fetched: str | None = None
    claimed: str | None = None

    @property
    def writers(self) -> tuple[str | None, str | None]:
        """The tokens of this folder."""
        return self.writer, self.claimed

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        atomic_write(folder / STATE, json.dumps(vars(self), indent=2) + "\n")


def read_state(folder: Path, url: str) -> HomeState:
    """Read which state of a run a folder holds; an empty one if it says nothing."""
    with suppress(OSError, ValueError, TypeError):
        state = HomeState(**load_json(read_capped(folder / STATE, MAX_STATE_BYTES)))
        if state.url == url:
            return state
    return HomeState(url)


def run_url(run_dir: str | None, key: str = "run_dir") -> str | None:
    """Return the address of a run elsewhere, or None for a folder of this machine.

    Raises:
        ValueError: if it has credentials in it, or cannot be written.
    """
    return check_url(run_dir, key, is_written=True) if run_dir and is_url(run_dir) else None


def home_of(url: str) -> Path:
    """Return the folder of this machine that stands for a run elsewhere."""
    mark = hashlib.sha256(url.encode()).hexdigest()[:12]
    return default_cache_dir() / FOLDER / f"{name_of(url)}-{mark}"


def check_new(url: str, may_be_begun: bool = False) -> None:
    """Refuse an address for a new run where something is already.

    Args:
        url: from `run_url`.
        may_be_begun: whether a run may be there that was killed before it had a checkpoint.

    Raises:
        ValueError: if so.
        OSError: if the store cannot be reached or written.
    """
    if found := list_remote(url, "run_dir"):
        pointer = read_pointer(url, "run_dir") if may_be_begun else None
        if pointer is not None and pointer.checkpoint is None:
            return
        way_out = f"go on with it: `seqae fit --resume {url}`" if POINTER in found else "move it"
        raise ValueError(
            f"`run_dir` must be a new or empty folder, but {url} holds something ({found[0]}). "
            f"Name another one, or {way_out}."
        )


def bring_home(url: str, key: str) -> Path:
    """Fetch a run, unless this machine has written to it last, or has that state already.

    Args:
        url: of the run, from `run_url`.
        key: what it was given as, for messages.

    Returns:
        The folder that stands for it; there may be nothing yet, neither there nor here.

    Raises:
        ValueError: if what is there is damaged.
        OSError: if it cannot be fetched, or this disk is full.
    """
    folder = home_of(url)
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        pointer, state = read_pointer(url, key), read_state(folder, url)
        if pointer is None:
            return folder
        digest = hashlib.sha256(pointer.to_bytes()).hexdigest()
        if digest != state.fetched and pointer.writer not in state.writers:
            with reporting(folder):
                folder.mkdir(exist_ok=True)
            with _alone(folder, url, key):
                _fetch(url, pointer, folder, key)
                HomeState(url, fetched=digest).write(folder)
    return folder


@contextmanager
def _alone(folder: Path, url: str, key: str) -> Iterator[None]:
    """Keep trainings of this machine out of a folder; refuse if one is in it."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except NotImplementedError:  # a file system without locks
        yield
    except Timeout:
        raise ValueError(
            f"`{key}` must be a run that no training of this machine goes on with, but one writes "
            f"to {folder}, and another machine has taken {url} over. End it first."
        ) from None


def _fetch(url: str, pointer: RunPointer, folder: Path, key: str) -> None:
    """Replace what a folder has by what the pointer of a run names, its checkpoint last."""
    saved = folder / "checkpoints"
    if pointer.checkpoint is not None and not is_intact(saved / pointer.checkpoint):
        remove_checkpoint(saved / pointer.checkpoint)  # left by a fetch that was cut
    for name, size in {**pointer.records, **pointer.files}.items():
        path = folder / name
        if name in pointer.files and path.exists():
            continue  # of a checkpoint that is here, and intact
        with reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(f"{url}/{name}", path, key)
        if name in pointer.files and path.stat().st_size != size:
            path.unlink()
            raise ValueError(
                f"`{key}` must be a run as it was sent, but {url}/{name} has another size than "
                f"{POINTER} says. Choose another run."
            )
    _fetch_bundle(url, pointer, folder / "bundle", key)
    for old in checkpoints(saved):
        if old.name != pointer.checkpoint:
            remove_checkpoint(old)
    if pointer.checkpoint is not None:
        atomic_symlink(saved / LAST, pointer.checkpoint)


def _fetch_bundle(url: str, pointer: RunPointer, folder: Path, key: str) -> None:
    if pointer.bundle is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    names = list_remote(f"{url}/{pointer.bundle}", key)
    with TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as scratch:
        contents = {
            name: Path(scratch) / name
            for name in names
            if "/" not in name and any(fnmatch(name, pattern) for pattern in PATTERNS)
        }
        for name, path in contents.items():
            fetch_file(f"{url}/{pointer.bundle}/{name}", path, key)
        with reporting(folder):
            replace_folder(folder, contents)
