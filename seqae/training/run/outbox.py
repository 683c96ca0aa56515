"""The outbox of a run elsewhere: links to what waits to be sent, and how long is waited for it."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seqae.bundle.manifest import CARD, EVALUATION, FILES, MANIFEST, is_prior_file

SECONDS = "SEQAE_UPLOAD_SECONDS"  # how long a training that was stopped waits for its uploads
DEFAULT_SECONDS = 120.0


@dataclass(frozen=True)
class Waiting:
    """What waits to be sent: links in the outbox.

    Attributes:
        checkpoint: a file, or a folder of shards.
        bundle: a folder, named by the hash of its manifest.
    """

    checkpoint: Path | None = None
    bundle: Path | None = None


def seconds_for_a_stop() -> float:
    """Return how long a training that was stopped waits for its uploads.

    Raises:
        ValueError: if the environment says something else.
    """
    text = os.environ.get(SECONDS, str(DEFAULT_SECONDS))
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= threading.TIMEOUT_MAX:
            return seconds
    raise ValueError(
        f"`{SECONDS}` must be a number of seconds, at least 0, but it is {text!r} instead. Set "
        f"the environment variable to {DEFAULT_SECONDS:g}, or leave it out."
    )


def link_to(source: Path, target: Path) -> None:
    """Give a file, or the files of a folder, a second name; or copy them where that cannot be."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in source.iterdir():
            if path.is_file() and not path.is_symlink():
                link_to(path, target / path.name)
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def files_of(checkpoint: Path) -> list[Path]:
    """List the files of a checkpoint: one, or those of a folder of shards."""
    return sorted(checkpoint.iterdir()) if checkpoint.is_dir() else [checkpoint]


def bundle_order(folder: Path) -> list[Path]:
    """List the files of a bundle, its manifest last."""
    known = {*FILES, CARD, EVALUATION}
    names = sorted(
        path.name for path in folder.iterdir() if path.name in known or is_prior_file(path.name)
    )
    return [folder / name for name in [*names, MANIFEST]]
