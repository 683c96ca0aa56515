"""The commands that need Lightning: fit, prepare, validate, test and predict."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from seqae.bundle.find_bundle import find_folder
from seqae.bundle.manifest import MANIFEST
from seqae.bundle.sharing.address import is_address
from seqae.remote.url import is_url
from seqae.synonyms import expand
from seqae.training.callbacks.preemption import Preempted, stopping_at_once
from seqae.training.checkpoints.callback import LAST, newest_checkpoint
from seqae.training.checkpoints.resume import resume_arguments
from seqae.training.command.cli_options import Command
from seqae.training.command.lightning_cli import TrainingCLI
from seqae.training.command.prepare_cli import PrepareCLI
from seqae.training.command.trust import check_trust
from seqae.training.distributed.exit_status import prevent_restart, reported_status
from seqae.training.distributed.launchers import ending_with_rank_zero, wait_for_rank_zero
from seqae.training.optimization.denormals import flushing_denormals
from seqae.training.run.remote_run import bring_home, run_url
from seqae.training.starting.bundle_settings import init_arguments
from seqae.training.starting.given_tokenizer import name_tokenizer_files

Trained = TypeVar("Trained", bound=TrainingCLI)

# Warnings of Lightning and torch that do not apply, as regular expressions.
IGNORED_WARNINGS = (
    ".*does not have many workers.*",  # they cost more than they bring here
    ".*is smaller than the logging interval.*",  # a short epoch is no mistake
    ".*your dataloader is not resumable.*",  # the batch sampler is
    ".*isinstance.treespec, LeafSpec.*",
    ".*`srun` command is available.*",  # on a SLURM cluster, whether it is used or not
    ".*callbacks used to create the checkpoint.*",  # only training needs these callbacks
    ".*Couldn't infer the batch indices.*",  # the batches of a prediction are planned beforehand
    # A Transformer block returns keys and values that are views; nothing writes to them.
    "FSDP2-wrapped module .* returned a view tensor",
    # torch's compiler looks at gradients that do not exist.
    "The .grad attribute of a Tensor that is not a leaf.*",
    ".*Total length of `list` across ranks is zero.*",  # the user wants no validation split
)


def run(command: Command | Literal["prepare"], args: list[str], topic: str | None = None) -> None:
    """Run one of the commands, or show a part of its help.

    Args:
        command: which.
        args: what follows the command on the command line.
        topic: which part, instead of the run.

    Raises:
        ValueError: if an option or a checkpoint cannot be used.
    """
    if reported_status() is not None:
        raise SystemExit(0)  # torchrun has restarted this process, but the training has ended
    if topic is not None:
        TrainingCLI("fit" if command == "prepare" else command, [], topic)
    show_log()
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    args = expand_run(command, expand(args))
    with reporting_in_one_line():
        if command == "prepare":
            if has_resume(args):
                raise ValueError(
                    "`resume` must not be given: `seqae prepare` continues automatically. Leave it "
                    "out."
                )
            PrepareCLI(args)
        elif command == "fit":
            with stopping_at_once():
                train(args)
        else:
            with ending_with_rank_zero():
                TrainingCLI(command, args)
            shutdown_process_group()


@contextmanager
def reporting_in_one_line() -> Iterator[None]:
    """Turn errors of Lightning and torch that a user can cause into a ValueError of one line."""
    try:
        yield
    except MisconfigurationException as error:
        raise ValueError(f"`trainer` cannot be used like this here: {error}") from error


def has_resume(args: list[str]) -> bool:
    """Return whether `--resume` is among the arguments."""
    return any(arg.partition("=")[0] == "--resume" for arg in args)


def expand_run(command: str, args: list[str]) -> list[str]:
    """Replace the name of a run by the options that it means: its configuration and checkpoint.

    Args:
        command: one of the commands.
        args: what follows the command: `--resume RUN` for fit, `RUN` for validate and the like.
    """
    is_trusted = "--trust" in args
    args = name_tokenizer_files([arg for arg in args if arg != "--trust"])
    if command == "fit":
        args = init_arguments(args)
    if command == "fit" and has_resume(args):
        run_dir, expanded = resume_arguments(args, lambda named: _home(named, "resume"))
    elif command not in ("fit", "prepare") and args and not args[0].startswith("-"):
        check_is_no_bundle(command, args[0])
        run_dir = _home(args[0], "run")
        folder = run_dir / "checkpoints"
        check_run(command, run_dir)
        newest = newest_checkpoint(folder) or folder / LAST
        config = str(run_dir / "config.yaml")
        expanded = ["-c", config, "--ckpt_path", str(newest), *args[1:]]
    else:
        run_dir, expanded = None, args
        given = {arg.partition("=")[0] for arg in args}
        if command not in ("fit", "prepare") and not given & {"-c", "--config", "-h", "--help"}:
            raise ValueError(f"`RUN` must be given. Write `seqae {command} RUN`.")
    if run_dir is not None:
        check_trust(run_dir, is_trusted, named_url(args))
    elif is_trusted:
        raise ValueError(
            "`trust` must be given for the folder of a run, but none is named. Leave it out: what "
            "you name with `-c` is trusted."
        )
    return expanded


def _home(named: str, key: str) -> Path:
    """Return the folder of a run; of one elsewhere that of this machine, after fetching it."""
    return Path(named) if (url := run_url(named, key)) is None else bring_home(url, key)


def named_url(args: list[str]) -> str | None:
    """Return the address of the run that the command line names, if it is elsewhere.

    Args:
        args: as for `expand_run`; what other options name is no run.
    """
    named = "" if not args or args[0].startswith("-") else args[0]
    for index, arg in enumerate(args):
        if arg == "--resume":
            named = "".join(args[index + 1 : index + 2])
        elif arg.startswith("--resume="):
            named = arg.partition("=")[2]
    return named if is_url(named) else None


def check_is_no_bundle(command: str, where: str) -> None:
    """Refuse a bundle where a run is needed, and say what can be done with it.

    Args:
        command: which needs a run.
        where: what it was given.
    """
    is_far = is_address(where) and not is_url(where)
    if is_far or (not is_url(where) and (find_folder(where) / MANIFEST).is_file()):
        task = "reconstruct MODEL --input FILE" if command == "predict" else "evaluate MODEL"
        raise ValueError(
            f"`RUN` must be the folder of a run, which has checkpoints and data, but {where} is a "
            f"bundle instead. Write `seqae {task.replace('MODEL', where)}`."
        )


def check_run(command: str, folder: Path) -> None:
    """Refuse a folder that is no run.

    Args:
        command: which needs a run.
        folder: of this machine.
    """
    if not (folder / "config.yaml").is_file():
        what = "no config.yaml is in" if folder.is_dir() else "there is no folder"
        raise ValueError(f"`RUN` must be the folder of a run, but {what} {folder}. Check the path.")


def train(args: list[str], cli: type[Trained] = TrainingCLI) -> Trained:  # type: ignore[assignment]
    """Run `seqae fit`; only one of several processes reports an error.

    Args:
        args: what follows `fit` on the command line.
        cli: runs it.

    Returns:
        What has run it.
    """
    stopped: Preempted | None = None
    with ending_with_rank_zero():
        try:
            with flushing_denormals():
                trained = cli("fit", args)
        except Preempted as preempted:
            stopped = preempted
        except Exception as error:
            wait_for_rank_zero()
            if isinstance(error, ValueError):
                prevent_restart(1)
            raise
    shutdown_process_group()
    if stopped is not None:
        raise stopped
    return trained


def shutdown_process_group() -> None:
    """Wait for the other processes, and leave the process group together.

    A process that ends early takes down the store that the others still need, and gloo's threads
    abort a process that has not shut them down.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def show_log() -> None:
    """Print the log of seqae, and only the warnings of Lightning."""

    class ToStandardOutput(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(record.getMessage(), flush=True)  # print: the progress bar replaces sys.stdout

    logger = logging.getLogger("seqae")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(ToStandardOutput())
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # This one says which process has died before it ends the others.
    logging.getLogger("lightning.fabric.strategies.launchers").setLevel(logging.INFO)
    for name in ("pytorch", "fabric"):  # these modules set their own level on import
        logging.getLogger(f"lightning.{name}.utilities.rank_zero").setLevel(logging.WARNING)
        logging.getLogger(f"lightning.{name}.utilities.seed").setLevel(logging.WARNING)
