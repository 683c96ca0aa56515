"""Refuse an output folder before any work is done for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def check_output_folder(
    folder: Path,
    mark: str,
    is_known: Callable[[str], bool],
    key: str = "output",
    wanted: str = "a new folder, an empty one or an earlier export of this format",
) -> None:
    """Refuse to replace what is no earlier export of the same format.

    Args:
        folder: to write; folders above it need not exist.
        mark: name of a file that every export of this format has.
        is_known: whether an export may have a file or folder of a name; others would be lost.
        key: what the folder was given as, for the message.
        wanted: what it must be, for the message.

    Raises:
        ValueError: if it is a file, holds something else, or cannot be written.
    """
    if folder.exists():
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
        others = [name for name in found if name != mark and not is_known(name)]
        if found and (others or mark not in found):
            raise ValueError(
                f"`{key}` must be {wanted}, but {folder} has {(others or found)[0]} instead. "
                f"Choose another one."
            )
    above = folder.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(
            f"`{key}` must lie in a folder that can be written, but {above} cannot be. Choose "
            f"another one."
        )
