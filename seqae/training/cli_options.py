"""Options of the training commands beside those of Trainer, module and data module."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined] # public, but not in __all__
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from seqae.component import check_range
from seqae.parser import explain
from seqae.recipes import find_config
from seqae.terminal import fail
from seqae.training.distributed.exit_status import prevent_restart
from seqae.training.distributed.launchers import wait_for_rank_zero

Command = Literal["fit", "validate", "test", "predict"]

# What may choose the bundle, and which way is better.
MONITORED: dict[str, Literal["max", "min"]] = {
    "val/token_accuracy": "max",
    "val/exact_match": "max",
    "val/bleu": "max",
    "val/loss": "min",
    "val/reconstruction": "min",
    "val/teacher_forced_accuracy": "max",
    "val/negative_elbo": "min",
    "val/mutual_information": "max",
    "val/active_units": "max",
    "val/shuffle_gap": "max",
}

FIT_ONLY = (
    "name",
    "run_dir",
    "checkpoint",
    "samples",
    "density_sentences",
    "collapse_sentences",
    "monitor",
)


@dataclass
class Checkpoints:
    """How the state of training is saved, for `--resume`.

    Args:
        every_n_steps: optimizer steps between saves; 0 saves only when the training is told to end.
        keep: how many of the latest are kept.
        asynchronous: write while the training goes on, from a copy in main memory.
    """

    every_n_steps: int = 500
    keep: int = 2
    asynchronous: bool = False


class OneLineParser(LightningArgumentParser):
    """A parser that says what is wrong in one line, and ends with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit."""
        wait_for_rank_zero()
        prevent_restart(2)
        fail(explain(self, message), status=2)


class RecipeOrFile(ActionConfigFile):
    """The option `-c`: a YAML file, or the name of a shipped recipe."""

    @override
    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        try:
            path = find_config(values)
        except ValueError as error:
            parser.error(str(error))
        super().__call__(parser, cfg, path, option_string)  # type: ignore[no-untyped-call]


def make_parser(**kwargs: Any) -> LightningArgumentParser:
    """A parser with one-line errors that takes configuration files."""
    # No abbreviations: `--trainer.max_step` is a misspelt key, not `--trainer.max_steps`.
    parser = OneLineParser(allow_abbrev=False, **kwargs)
    parser.add_argument(
        "-c",
        "--config",
        action=RecipeOrFile,
        help="a YAML file, or the name of a recipe that ships (`seqae recipes` lists them); a file "
        "of that name wins; may be given several times",
    )
    return parser


def add_options(parser: LightningArgumentParser, command: Command) -> None:
    """The options that are not of Trainer, module or data module."""
    parser.add_argument(
        "--threads",
        type=int | Literal["auto"],
        default="auto",
        help="CPU threads; auto times the first steps of each epoch and takes the fastest",
    )
    parser.add_argument(
        "--tf32",
        type=bool,
        default=False,
        help="multiply float32 numbers in TF32, with 10 bits of each, on a GPU that has it",
    )
    if command == "predict":
        parser.add_argument(
            "--output",
            type=str,
            default="predictions.jsonl",
            help="file for the predictions, a JSON object a line",
        )
    if command != "fit":
        for key in FIT_ONLY:  # a run's config.yaml has them; they say nothing here
            parser.add_argument(f"--{key}", type=Any, default=None, help=argparse.SUPPRESS)
        return
    parser.add_argument(
        "--resume",
        type=str | None,
        default=None,
        help="folder of a run to go on with: its configuration, from its newest checkpoint; "
        "or auto: the run in --run_dir, or else the newest run of the configuration that is "
        "given, or else a new one",
    )
    parser.add_argument(
        "--resume_changed",
        type=bool,
        default=False,
        help="go on even if the order of the data or the model has changed",
    )
    parser.add_argument(
        "--name", type=str, default="seqae", help="the run's folder is runs/NAME/TIME"
    )
    parser.add_argument(
        "--run_dir", type=str | None, default=None, help="the run's folder, instead of that"
    )
    parser.add_class_arguments(Checkpoints, "checkpoint")
    parser.add_argument(
        "--samples", type=int, default=4, help="sentences shown after each validation"
    )
    parser.add_argument(
        "--density_sentences",
        type=int,
        default=10_000,
        help="training sentences at most whose latents the bundle gets a density of; 0: none",
    )
    parser.add_argument(
        "--collapse_sentences",
        type=int,
        default=256,
        help="validation sentences that a posterior's collapse is watched on; 0 does not watch",
    )
    parser.add_argument(
        "--monitor",
        type=str | None,
        default=None,
        help="figure whose best model becomes the bundle; by default val/negative_elbo under "
        "Variational, else val/token_accuracy",
    )


def check_trainer(options: Any) -> None:
    """Refuse numbers that Lightning takes, and that mean nothing.

    Args:
        options: of the Trainer.

    Raises:
        ValueError: in one line.
    """
    check_range("trainer.accumulate_grad_batches", options.accumulate_grad_batches, 1, 10**9)
    for name in ("val_check_interval", "limit_train_batches"):
        if options[name] is not None and options[name] <= 0:
            raise ValueError(
                f"`trainer.{name}` must be above 0, but it is {options[name]} instead. Leave it "
                f"out, or give batches (10) or a share of an epoch (0.5)."
            )
