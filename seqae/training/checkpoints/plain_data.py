"""Read the state of a training as plain data and tensors; say in one line if it is not that."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

# What Lightning reads of a checkpoint before anything is restored from it.
NEEDED = {"pytorch-lightning_version": str, "epoch": int, "global_step": int, "loops": dict}

# Older ones Lightning would rewrite; no checkpoint of this package is that old.
VERSION = re.compile(r"[2-9]\.[0-9]+\.[0-9]+[a-z0-9.+]*")


class CheckpointError(ValueError):
    """Says in one line why a checkpoint cannot be read."""


def read_plain(path: Path) -> dict[str, Any]:
    """Read a dictionary of plain data and tensors, into main memory.

    Raises:
        CheckpointError: if the file is damaged, would unpack to more than its own size, or holds
            anything else, such as code.
    """
    with reporting_unreadable(path):
        check_regular(path)
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"{type(content).__name__} instead of a dictionary")
        return content


def check_state(path: Path, state: Mapping[str, Any]) -> None:
    """Refuse a state that lacks what Lightning reads first, or that Lightning would rewrite.

    Args:
        path: of the checkpoint.
        state: as it was read.

    Raises:
        CheckpointError: if it is not that of a training with this package.
    """
    with reporting_unreadable(path):
        for name, kind in NEEDED.items():
            if not isinstance(state[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        if VERSION.fullmatch(state["pytorch-lightning_version"]) is None:
            raise ValueError("no version of Lightning that this package has used")


@contextmanager
def reporting_unreadable(path: Path) -> Iterator[None]:
    """Turn whatever the reading of a damaged or hostile checkpoint raises into one line.

    torch's own lines advise to read the file with `weights_only=False`, which would run its code.
    """
    try:
        yield
    except (OSError, CheckpointError):
        raise
    except Exception as error:  # torch and pickle raise almost every kind
        raise CheckpointError(
            f"`ckpt_path` must be a checkpoint of this package, but {path} is damaged, or holds "
            f"more than numbers and text ({type(error).__name__}). Choose another one."
        ) from error


def check_regular(path: Path) -> None:
    """Refuse a file of a checkpoint that is a pipe, a device or a link to one: it may never end."""
    if not path.is_file():
        raise CheckpointError(f"{path} must be a file, but it is none. Choose another checkpoint.")


def _check_archive(path: Path) -> None:
    """Refuse what torch.save does not write: other formats, and parts that would be unpacked."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    is_packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if is_packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise zipfile.BadZipFile("packed, or parts that overlap")
