"""Resume a run: find it and its newest checkpoint, and say what may differ from before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any

from seqae.data.config import DataConfig
from seqae.data.sources.memory import SCHEME as IN_MEMORY
from seqae.remote.url import is_url
from seqae.synonyms import RENAMED
from seqae.training.checkpoints.callback import LAST, checkpoints, newest_checkpoint
from seqae.training.checkpoints.integrity import is_intact
from seqae.training.optimization.finite import first_non_finite
from seqae.untrusted import load_yaml, read_capped

# A change of one of these changes the order of the sentences, or the model.
FIXED_KEYS = ("data", "model.autoencoder", "model.seed", "seed_everything")

# Exceptions below `data`: they change only the speed, or where files are.
EXEMPT_KEYS = ("data.cache_dir", "data.num_workers", "data.prepare_workers", "data.pin_memory")

# `--resume auto` ignores these when it compares a run's configuration with its own.
IGNORED_KEYS = ("trainer.max_time", "budget_minutes", "threads", "name")

log = logging.getLogger(__name__)


def resume_arguments(
    args: list[str], find_home: Callable[[str], Path] = Path
) -> tuple[Path | None, list[str]]:
    """Replace `--resume RUN` with the run's configuration, folder and newest checkpoint.

    Args:
        args: of the command line.
        find_home: returns the folder of this machine for what names a run.

    Returns:
        The run's folder, and the arguments; `--resume auto` names no folder, and stays.

    Raises:
        ValueError: if there is no such run, or it has no intact checkpoint.
    """
    args = list(args)
    given = [arg for arg in args if arg.partition("=")[0] == "--resume"]
    if len(given) > 1:
        raise ValueError(
            f"`resume` must be given once, but it is given {len(given)} times instead. Name one."
        )
    for index, arg in enumerate(args):
        if arg == "--resume" and index + 1 < len(args):
            named, rest = args[index + 1], args[:index] + args[index + 2 :]
            break
        if arg.startswith("--resume="):
            named, rest = arg.partition("=")[2], args[:index] + args[index + 1 :]
            break
    else:
        raise ValueError("`resume` must name the folder of a run. Write `--resume runs/NAME/TIME`.")
    if named == "auto":
        return None, args
    run_dir = find_home(named)
    config, newest = run_dir / "config.yaml", newest_checkpoint(run_dir / "checkpoints")
    if newest is None or not config.is_file():
        missing = "intact checkpoint" if config.is_file() else "config.yaml"
        raise ValueError(
            f"`resume` must be the folder of a run with a checkpoint, but there is no {missing} in "
            f"{named}. Choose another run, or leave out `--resume` to start a new one."
        )
    where = named if is_url(named) else str(run_dir)
    return run_dir, ["-c", str(config), "--run_dir", where, "--ckpt_path", str(newest), *rest]


def find_run(config: Mapping[str, Any], runs: list[Path]) -> tuple[Path, Path | None] | None:
    """Find the newest run that has this configuration and an intact checkpoint.

    Args:
        config: resolved, as in a run's `config.yaml`.
        runs: the folders to search.

    Returns:
        The run's folder and its newest intact checkpoint, if there is such a run.
    """
    candidates = []
    for run_dir in runs:
        try:
            changes = list(differences(read_config(run_dir), config))
        except (OSError, ValueError):
            continue
        if any(not key.startswith(IGNORED_KEYS) for key, _, _ in changes):
            continue
        if (newest := newest_checkpoint(run_dir / "checkpoints")) is not None:
            candidates.append((newest.stat().st_mtime, run_dir, newest))
    return max(candidates)[1:] if candidates else None


def run_of_folder(run_dir: Path) -> tuple[Path, Path | None] | None:
    """Find the run that was started in a folder, if one was.

    Returns:
        The folder and its newest intact checkpoint; None instead of the checkpoint if the run was
        killed before its first save.

    Raises:
        ValueError: if there are checkpoints, but all are damaged.
    """
    if not (run_dir / "config.yaml").is_file():
        return None
    folder = run_dir / "checkpoints"
    newest = newest_checkpoint(folder)
    if newest is None and (damaged := checkpoints(folder)):
        raise ValueError(
            f"`resume` must find an intact checkpoint, but all {len(damaged)} in {folder} are "
            f"damaged. Remove {folder} to start again, or name another `--run_dir`."
        )
    return run_dir, newest


def read_config(run_dir: Path) -> dict[str, Any]:
    """Read a run's configuration; what an older version had no setting for has its default.

    Raises:
        ValueError: if it is damaged.
    """
    path = run_dir / "config.yaml"
    try:
        config = load_yaml(read_capped(path))
    except ValueError as error:
        raise ValueError(f"{path} must be YAML, but: {error}. Choose another run.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a run's settings, but it does not. Choose another run.")
    config = {RENAMED.get(key, key): value for key, value in config.items()}
    defaults = asdict(DataConfig())
    del defaults["revisions"]  # no setting: the run's data report has them
    return _completed(config, {"data": defaults})


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting that differs, as its key and both values; a missing one is None."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def check_changes(before: Mapping[str, Any], now: Mapping[str, Any], is_allowed: bool) -> None:
    """Log each setting that has changed since a run began; refuse changes of its data or model.

    Args:
        before: the run's configuration.
        now: the configuration to resume it with.
        is_allowed: whether the user allows every change.

    Raises:
        ValueError: if the order of the data or the model would change.
    """
    for key, old, new in differences(before, now):
        is_fixed = _is_below(key, FIXED_KEYS) and not _is_below(key, EXEMPT_KEYS)
        if is_fixed and not is_allowed:
            fault = f"be {old} as in the resumed run, but it is {new}"
            if all(str(value).startswith(IN_MEMORY) for value in (old, new)):  # names are hashes
                fault = "be the sentences of the resumed run, but others are given"
            raise ValueError(
                f"`{key}` must {fault} instead. Leave it out, start a new run, or write "
                f"`--resume_changed true`."
            )
        log.info(f"changed since the run began: {key} was {old}, is {new}")


def check_checkpoint(path: Path) -> None:
    """Refuse a path without an intact checkpoint, a file or a folder of shards.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    if not is_intact(path):
        reason = "is cut short, changed or none" if path.exists() else "does not exist"
        raise ValueError(
            f"`ckpt_path` must be a checkpoint of this package, but {path} {reason}. Choose "
            f"another one, such as RUN/checkpoints/{LAST}."
        )


def unusable_checkpoint(path: str, error: Exception) -> ValueError:
    """Make the error that names a checkpoint which cannot be restored.

    Args:
        path: of the checkpoint.
        error: what was raised while it was restored.
    """
    reason = shorten(f"{type(error).__name__}: {error}", 300)
    return ValueError(
        f"`ckpt_path` must be a checkpoint of the model that is configured, but {path} is not "
        f"({reason}). Give it the configuration that it was trained with."
    )


def _completed(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings that a configuration lacks, section by section."""
    filled = {**defaults, **config}
    for key, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _completed(filled[key], default)
    return filled


def _is_below(key: str, parents: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def check_weights(checkpoint: Mapping[str, Any], tokenizer_sha256: str) -> None:
    """Refuse weights that are not finite, and those of another tokenizer, whose ids differ.

    Args:
        checkpoint: as Lightning has read it.
        tokenizer_sha256: fingerprint of the tokenizer that prepared this data.

    Raises:
        ValueError: naming the weight, or what changed.
    """
    if (name := first_non_finite(checkpoint.get("state_dict", {}).items())) is not None:
        raise ValueError(
            f"`{name}` must be finite to be loaded, but it has NaN or infinity in the checkpoint. "
            f"Go on from an earlier one with `--ckpt_path`."
        )
    check_tokenizer(checkpoint.get("tokenizer_sha256"), tokenizer_sha256)


def check_tokenizer(saved: object, found: str) -> None:
    """Refuse data of another tokenizer than a checkpoint's.

    Args:
        saved: fingerprint in the checkpoint.
        found: fingerprint of the tokenizer that prepared this data.

    Raises:
        ValueError: if they differ.
    """
    if saved != found:
        raise ValueError(
            "`data` must be what the checkpoint was trained on, but its tokenizer comes out "
            "another one: the training text, the split or `data.tokenizer` has changed. Put it "
            "back, or train anew."
        )
