"""Going on with a run: which one, from where, and what may differ."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from seqae.training.checkpoints.callback import LAST, checkpoints, newest_checkpoint
from seqae.training.checkpoints.integrity import is_intact

# Other values of these give another order of the sentences, or another model.
FIXED = ("data", "model.autoencoder", "model.seed", "seed_everything")

# Except these, which say how fast and from where.
FREE = ("data.cache_dir", "data.num_workers", "data.prepare_workers", "data.pin_memory")

# A run is the same one whatever these are.
NOT_OF_THE_RUN = ("trainer.max_time", "threads", "name")

log = logging.getLogger(__name__)


def resume_arguments(args: list[str]) -> list[str]:
    """Replace `--resume RUN` by the run's configuration, folder and newest checkpoint.

    Raises:
        ValueError: if there is no such run, or it has no checkpoint.
    """
    args = list(args)
    given = [arg for arg in args if arg.partition("=")[0] == "--resume"]
    if len(given) > 1:
        raise ValueError(
            f"`resume` must be given once, but it is given {len(given)} times instead. Name one."
        )
    for index, arg in enumerate(args):
        if arg == "--resume" and index + 1 < len(args):
            run_dir, rest = Path(args[index + 1]), args[:index] + args[index + 2 :]
            break
        if arg.startswith("--resume="):
            run_dir, rest = Path(arg.partition("=")[2]), args[:index] + args[index + 1 :]
            break
    else:
        raise ValueError("`resume` must name the folder of a run. Write `--resume runs/NAME/TIME`.")
    if str(run_dir) == "auto":
        return args
    config, newest = run_dir / "config.yaml", newest_checkpoint(run_dir / "checkpoints")
    if newest is None or not config.is_file():
        missing = "whole checkpoint" if config.is_file() else "config.yaml"
        raise ValueError(
            f"`resume` must be the folder of a run with a checkpoint, but there is no {missing} in "
            f"{run_dir}. Choose another run, or start anew without `--resume`."
        )
    return ["-c", str(config), "--run_dir", str(run_dir), "--ckpt_path", str(newest), *rest]


def find_run(config: Mapping[str, Any], runs: list[Path]) -> tuple[Path, Path | None] | None:
    """The newest run of a configuration that can go on.

    Args:
        config: resolved, as a run's `config.yaml` has it.
        runs: folders to look at.

    Returns:
        The run's folder and its newest whole checkpoint.
    """
    found = []
    for run_dir in runs:
        try:
            differing = list(differences(read_config(run_dir), config))
        except (OSError, ValueError):
            continue
        if any(not key.startswith(NOT_OF_THE_RUN) for key, _, _ in differing):
            continue
        if (newest := newest_checkpoint(run_dir / "checkpoints")) is not None:
            found.append((newest.stat().st_mtime, run_dir, newest))
    return max(found)[1:] if found else None


def run_of_folder(run_dir: Path) -> tuple[Path, Path | None] | None:
    """The run that was begun in a folder, if one was.

    Returns:
        The folder and its newest whole checkpoint; None for one that was killed before its first.

    Raises:
        ValueError: if there are checkpoints, but all are damaged.
    """
    if not (run_dir / "config.yaml").is_file():
        return None
    folder = run_dir / "checkpoints"
    newest = newest_checkpoint(folder)
    if newest is None and (damaged := checkpoints(folder)):
        raise ValueError(
            f"`resume` must find a whole checkpoint, but all {len(damaged)} in {folder} are "
            f"damaged. Remove {folder} to begin anew, or name another `--run_dir`."
        )
    return run_dir, newest


def read_config(run_dir: Path) -> dict[str, Any]:
    """A run's configuration.

    Raises:
        ValueError: if it is damaged.
    """
    path = run_dir / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be YAML, but it is damaged. Choose another run.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a run's settings, but it does not. Choose another run.")
    return config


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], place: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Each setting that differs, as its key and both values; None where it is missing."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{place}{key}.")
        elif old != new:
            yield f"{place}{key}", old, new


def check_changes(before: Mapping[str, Any], now: Mapping[str, Any], is_allowed: bool) -> None:
    """Say what has changed since a run began, a line each; refuse what makes another run of it.

    Args:
        before: the run's configuration.
        now: that with which it is to go on.
        is_allowed: whether the user asked for it.

    Raises:
        ValueError: if the order of the data or the model would be another one.
    """
    for key, old, new in differences(before, now):
        is_fixed = _is_in(key, FIXED) and not _is_in(key, FREE)
        if is_fixed and not is_allowed:
            raise ValueError(
                f"`{key}` must be {old} as in the run that goes on, but it is {new} instead. Leave "
                f"it out, start anew, or write `--resume_changed true`."
            )
        log.info(f"changed since the run began: {key} was {old}, is {new}")


def check_checkpoint(path: Path) -> None:
    """Refuse what is no checkpoint; a folder is one of a sharded training.

    Raises:
        ValueError: in one line, with the way out.
    """
    if not is_intact(path):
        reason = "is cut short, changed or none" if path.exists() else "is not there"
        raise ValueError(
            f"`ckpt_path` must be a checkpoint of this package's, but {path} {reason}. Choose "
            f"another one, such as RUN/checkpoints/{LAST}."
        )


def _is_in(key: str, places: tuple[str, ...]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
