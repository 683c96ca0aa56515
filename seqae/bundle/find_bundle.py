"""Find the folder of a bundle by what a user names: a bundle, a run that has one, or `demo`."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

# A trained model that ships with the package (scripts/make_demo), under a name of its own.
DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / DEMO

A_MODEL = "`model` must be the folder of a bundle or of a run that has one, an address, or demo"


def find_folder(where: str | Path) -> Path:
    """Return the folder that `where` names; `demo` is the shipped one, unless there is another.

    Raises:
        ValueError: if it is no path but another object, such as None.
    """
    if not isinstance(where, (str, os.PathLike)):
        raise ValueError(f"{A_MODEL}, but it is {where!r} instead. Give its path.")
    folder = Path(where)
    is_own = any((folder / name).exists() for name in ("config.json", "config.yaml"))
    return DEMO_FOLDER if str(where) == DEMO and not is_own else folder


def bundle_folder(where: str | Path) -> Path:
    """Find the folder of a bundle, given that folder, the folder of its run, or `demo`."""
    folder = find_folder(where)
    is_run = (folder / "bundle").is_dir() and not (folder / "config.json").exists()
    return folder / "bundle" if is_run else folder


def check_is_bundle(folder: Path, names: Sequence[str]) -> None:
    """Refuse what is no folder of a bundle, and say which one may be meant.

    Args:
        folder: as `bundle_folder` returns it.
        names: of the files that it must have.

    Raises:
        ValueError: if it is none.
    """
    if not folder.exists():
        is_like_a_name = not folder.is_absolute() and len(folder.parts) == 2
        way_out = f"; of the hub it is hf:{folder}" if is_like_a_name else ""
        raise ValueError(f"{A_MODEL}, but there is no folder {folder}. Check the path{way_out}.")
    if not folder.is_dir():
        raise ValueError(f"{A_MODEL}, but {folder} is a file. {_way_out(folder)}")
    if (folder / "config.yaml").is_file() and not (folder / "config.json").exists():
        way_out = f"Go on with it: `seqae fit --resume {folder}`."
        if not (folder / "checkpoints").is_dir():
            way_out = "It has no checkpoint either: train again."
        raise ValueError(
            f"{A_MODEL}, but {folder} has no bundle yet: its training stopped before the first "
            f"validation. {way_out}"
        )
    for name in names:
        path = folder / name
        if not path.exists() or not is_own_file(path):
            raise ValueError(f"{A_MODEL}, but {folder} has no file {name}. {_way_out(folder)}")


def is_own_file(path: Path) -> bool:
    """Whether something that exists is a regular file, or in the hub's cache a link to one.

    The cache has `snapshots/COMMIT/config.json`, which leads to `blobs/HASH` in the same
    repository. A link to anywhere else is none of a bundle.
    """
    if stat.S_ISREG(path.lstat().st_mode):
        return True
    snapshots = path.absolute().parent.parent
    blobs = snapshots.parent / "blobs"
    target = path.resolve()
    is_in_place = snapshots.name == "snapshots" and not blobs.is_symlink()
    return is_in_place and target.parent == blobs.resolve() and target.is_file()


def _way_out(path: Path) -> str:
    """Name the bundle or run that a path lies in, such as the folder RUN of RUN/checkpoints."""
    for parent in list(path.parents)[:2]:
        is_bundle = (parent / "config.json").is_file() and (parent / "model.safetensors").is_file()
        is_run = (parent / "config.yaml").is_file() and (parent / "checkpoints").is_dir()
        if is_bundle or (is_run and path != parent / "bundle"):
            return f"It is a part of a {'bundle' if is_bundle else 'run'}: give {parent} instead."
    return "Check the path, or get the bundle again."
