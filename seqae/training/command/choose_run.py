"""choose_run: which folder `fit` writes to, and on a resume which checkpoint it continues from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from seqae.training.checkpoints.resume import (
    check_changes,
    find_run,
    read_config,
    run_of_folder,
)
from seqae.training.distributed.launchers import find_launcher
from seqae.training.run.remote_run import bring_home, check_new, home_of, run_url
from seqae.training.run.run_folder import check_run_dir

RUN_TIME = "SEQAE_RUN_TIME"  # environment variable: when the run began, which names its folder


def choose_run(options: Any, resolved: dict[str, Any]) -> tuple[Path, bool]:
    """Choose the run's folder, and set `ckpt_path` if `--resume auto` finds a checkpoint.

    Args:
        options: all options of `fit`.
        resolved: the configuration, without what names one run.

    Returns:
        The folder, and whether its run is resumed.

    Raises:
        ValueError: if the folder cannot be used, or has a run of another configuration.
    """
    url = run_url(options.run_dir)
    run_dir, is_resumed = _new_folder(options), False
    if options.resume == "auto":
        if url is not None:
            bring_home(url, "run_dir")
        if options.run_dir is None:
            run = find_run(resolved, sorted((Path("runs") / options.name).glob("*/")))
        else:
            run = run_of_folder(run_dir)
        if run is not None:
            is_resumed = True
            run_dir = _continue_run(options, *run)
    elif options.ckpt_path is not None:
        is_resumed = Path(options.ckpt_path).resolve().is_relative_to(run_dir.resolve())
    if url is not None and not is_resumed:
        _check_new(url, options.resume == "auto")
    _check_run(run_dir, is_resumed, resolved, options.resume_changed)
    return run_dir, is_resumed


def _new_folder(options: Any) -> Path:
    launcher = find_launcher()
    is_alone = launcher is None or launcher.world_size == 1
    if not is_alone and options.run_dir is None and RUN_TIME not in os.environ:
        raise ValueError(
            "`run_dir` must be given where torchrun or SLURM starts the processes, since each "
            "would name another one. Write `--run_dir runs/NAME`."
        )
    # Processes that Lightning starts inherit the time, and so the folder.
    now = os.environ.setdefault(RUN_TIME, time.strftime("%Y-%m-%dT%H-%M-%S"))
    if (url := run_url(options.run_dir)) is not None:
        return home_of(url)
    return Path(options.run_dir or Path("runs") / options.name / now)


def _continue_run(options: Any, run_dir: Path, newest: Path | None) -> Path:
    url = run_url(options.run_dir)
    options.run_dir = url or str(run_dir)
    if newest is not None:
        options.ckpt_path = str(newest)
        print_once(f"going on with {url or run_dir} from {newest.name}")
    else:
        print_once(f"{url or run_dir} has no checkpoint yet: it begins anew")
    return run_dir


@rank_zero_only
def _check_run(run_dir: Path, is_resumed: bool, resolved: dict[str, Any], may_change: bool) -> None:
    """Check the folder on the first process; the others start when it has been made."""
    check_run_dir(run_dir, is_resumed)
    if is_resumed:
        check_changes(read_config(run_dir), resolved, may_change)


@rank_zero_only
def _check_new(url: str, may_be_begun: bool) -> None:
    """Check on the first process that nothing is at the address of a new run."""
    check_new(url, may_be_begun)


@rank_zero_only
def print_once(text: str) -> None:
    """Print a line on the first process only."""
    print(text, flush=True)
