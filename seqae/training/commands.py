"""The Lightning half of the command line: fit, validate, test, predict, and preparing the data."""

from __future__ import annotations

import logging
import pickle
import warnings
from pathlib import Path
from typing import Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from seqae.training.callbacks.preemption import Preempted, stopping_at_once
from seqae.training.checkpoints.callback import LAST, newest_checkpoint
from seqae.training.checkpoints.resume import resume_arguments
from seqae.training.cli_options import Command
from seqae.training.distributed.exit_status import prevent_restart, reported_status
from seqae.training.distributed.launchers import ending_with_rank_zero, wait_for_rank_zero
from seqae.training.lightning_cli import PrepareCLI, TrainingCLI

# How torch begins when a file is no checkpoint, or one of another model.
UNLOADABLE = ("Error(s) in loading state_dict", "PytorchStreamReader", "Weights only load failed")


def run(command: Command | Literal["prepare"], args: list[str]) -> None:
    """Run one of Lightning's subcommands, or prepare the data of one.

    Args:
        command: fit, validate, test, predict or prepare.
        args: what follows it on the command line.
    """
    if reported_status() is not None:
        raise SystemExit(0)  # torchrun has started this process again, but all is over
    show_log()
    # Advice of Lightning's that does not fit: workers cost more than they bring here, the batch
    # sampler knows where it was, and a short epoch is no mistake.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # where SLURM is
    # What is measured needs nothing of the training's callbacks, and the batches of a prediction
    # are planned beforehand.
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    warnings.filterwarnings("ignore", message=".*Couldn't infer the batch indices.*")
    # Keys and values that a Transformer's block hands on are views, which nothing writes to.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    # torch's compiler looks at gradients that there are not.
    warnings.filterwarnings(
        "ignore", message="The .grad attribute of a Tensor that is not a leaf.*"
    )
    # Training without a validation split is what the user asked for.
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")
    if command == "fit" and any(a == "--resume" or a.startswith("--resume=") for a in args):
        args = resume_arguments(args)
    if command not in ("fit", "prepare") and args and (Path(args[0]) / "config.yaml").is_file():
        run_dir = Path(args[0])  # `seqae test RUN`
        newest = newest_checkpoint(run_dir / "checkpoints") or run_dir / "checkpoints" / LAST
        args = ["-c", str(run_dir / "config.yaml"), "--ckpt_path", str(newest), *args[1:]]
    try:
        if command == "prepare":
            if any(arg.partition("=")[0] == "--resume" for arg in args):
                raise ValueError(
                    "`resume` must not be given: `seqae prepare` goes on where it was by itself. "
                    "Leave it out."
                )
            PrepareCLI(args)
        elif command == "fit":
            with stopping_at_once():
                train(args)
        else:
            TrainingCLI(command, args)
            shutdown_process_group()
    except MisconfigurationException as error:
        raise ValueError(f"`trainer` cannot be used like this here: {error}") from error
    except (RuntimeError, pickle.UnpicklingError) as error:
        if not str(error).startswith(UNLOADABLE):
            raise
        raise ValueError(
            f"`ckpt_path` must be a checkpoint of the model that is configured, but it is not: "
            f"{str(error)[:300]}. Give it the configuration that it was trained with."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"`config` must be UTF-8 text, but it is not: {error}.") from error


def train(args: list[str]) -> None:
    """Run `seqae fit`; of several processes one tells of an error.

    Args:
        args: what follows `fit` on the command line.
    """
    stopped: Preempted | None = None
    with ending_with_rank_zero():
        try:
            TrainingCLI("fit", args)
        except Preempted as told:
            stopped = told
        except Exception as error:
            wait_for_rank_zero()
            if isinstance(error, ValueError):
                prevent_restart(1)
            raise
    shutdown_process_group()
    if stopped is not None:
        raise stopped


def shutdown_process_group() -> None:
    """Wait for the other processes, and take leave of them.

    A process that ends while another still works takes the store with it that they meet at, and
    gloo's threads abort the process where nobody has ended them.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def show_log() -> None:
    """Print what seqae has to say, and of Lightning only warnings."""

    class ToStandardOutput(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(record.getMessage(), flush=True)  # by name: the progress bar redirects stdout

    logger = logging.getLogger("seqae")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(ToStandardOutput())
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It says which process has died before it ends all others.
    logging.getLogger("lightning.fabric.strategies.launchers").setLevel(logging.INFO)
    for name in ("pytorch", "fabric"):  # these set their own level when they are imported
        logging.getLogger(f"lightning.{name}.utilities.rank_zero").setLevel(logging.WARNING)
        logging.getLogger(f"lightning.{name}.utilities.seed").setLevel(logging.WARNING)
