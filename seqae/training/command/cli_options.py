"""Options of the training commands that are not Trainer's or a constructor's, and checks of all."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined] # public, but not in __all__
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from seqae.component import check_choice, check_range
from seqae.data.sentences.split import SPLITS
from seqae.files import check_output
from seqae.model.latents import StochasticLatent
from seqae.parser import OneLineParser
from seqae.recipes import find_config
from seqae.synonyms import with_new_names
from seqae.training.callbacks.collapse import CollapseMonitor
from seqae.training.command.check_trainer import check_trainer
from seqae.training.distributed.exit_status import prevent_restart
from seqae.training.distributed.launchers import wait_for_rank_zero
from seqae.training.logs.wandb_options import WandbOptions, check_wandb_options
from seqae.training.module import AutoencoderModule
from seqae.training.run.bundle_record import CardOptions
from seqae.untrusted import load_yaml, read_capped

Command = Literal["fit", "validate", "test", "predict"]

# Metrics that may choose the model of the bundle, and which values are better.
MONITORED: dict[str, Literal["max", "min"]] = {
    "val/token_accuracy": "max",
    "val/exact_match": "max",
    "val/bleu": "max",
    "val/loss": "min",
    "val/reconstruction": "min",
    "val/teacher_forced_accuracy": "max",
    "val/noisy_reconstruction": "min",
    "val/robust_reconstruction": "min",
    "val/negative_elbo": "min",
    "val/mutual_information": "max",
    "val/active_units": "max",
    "val/shuffle_gap": "max",
}

NOISY = ("noisy_reconstruction", "robust_reconstruction")  # of models with `latent_noise` alone


@dataclass
class Checkpoints:
    """How the state of training is saved, for `--resume`.

    Args:
        every_n_steps: optimizer steps between saves; 0 saves only when the training is stopped.
        keep: how many of the latest are kept.
        asynchronous: write while the training continues, from a copy in main memory.
    """

    every_n_steps: int = 500
    keep: int = 2
    asynchronous: bool = False


@dataclass(frozen=True)
class Option:
    """An option of the command line, or a group of options.

    Args:
        type: what the value must be; a dataclass makes a group, with defaults and help of its own.
        default: the value if it is not given.
        help: one line.
    """

    type: Any
    default: Any = None
    help: str = ""


OF_EVERY_COMMAND = {
    "threads": Option(
        int | Literal["auto"],
        "auto",
        "CPU threads; auto times the first steps of each epoch and takes the fastest",
    ),
    "tf32": Option(
        bool, False, "multiply float32 numbers in TF32, with 10 bits of each, on a GPU that has it"
    ),
    "trust": Option(
        bool,
        False,
        "a flag: the run named is your own, or you have read its config.yaml, which is a program; "
        "OF A STRANGER TAKE THE BUNDLE, NEVER THE RUN'S FOLDER",
    ),
}

OF_PREDICT = {
    "output": Option(
        str | None,
        None,
        "file for the predictions, a JSON object on each line; by default predictions.jsonl in the "
        "run's folder, if there is none yet",
    ),
}

OF_RESUMING = {
    "resume": Option(
        str | None,
        None,
        "folder of a run to continue: its configuration, from its newest checkpoint; or auto: the "
        "run in --run_dir, or else the newest run of the given configuration, or else a new one",
    ),
    "resume_changed": Option(
        bool, False, "continue even if the order of the data or the model has changed"
    ),
}

# A run's config.yaml holds these, so that the other commands accept them, but ignore them.
OF_FIT = {
    "init": Option(
        str | None,
        None,
        "a bundle to start from, instead of weights and a tokenizer of its own: a folder, a run, "
        "demo, hf:OWNER/NAME or wandb:PROJECT/NAME; its parts, tokenizer and settings hold where "
        "nothing else is given",
    ),
    "init_parts": Option(
        list[str] | None,
        None,
        "take only these parts of that bundle: encoder, embedding, latent, decoder, head",
    ),
    "word_vectors": Option(
        str | None,
        None,
        "file of word2vec (text or .bin), GloVe or fastText (.vec), also .gz: the embedding begins "
        "with its vectors where a token is one of its words; `model.autoencoder.train_embedding: "
        "false` keeps them",
    ),
    "name": Option(str, "seqae", "the run's folder is runs/NAME/TIME"),
    "run_dir": Option(str | None, None, "the run's folder, instead of that, or its s3:// address"),
    "budget_minutes": Option(
        float | None,
        None,
        "minutes to train for: the first steps are timed, and the training and its schedule are "
        "shortened so that they end in time; trainer.max_time would cut the schedule off",
    ),
    "checkpoint": Option(Checkpoints),
    "card": Option(CardOptions),
    "wandb": Option(WandbOptions),
    "samples": Option(int, 4, "sentences shown after each validation"),
    "report": Option(bool, True, "write report.html at the end; never where SEQAE_REPORT is 0"),
    "prior_sentences": Option(
        int,
        10_000,
        "most training sentences to fit the bundle's priors to, and no more than were trained on, "
        "or 1,000; 0: no priors",
    ),
    "collapse_sentences": Option(
        int, 256, "validation sentences on which to watch for posterior collapse; 0: do not watch"
    ),
    "monitor": Option(
        str | None,
        None,
        "metric whose best model becomes the bundle; by default val/negative_elbo under "
        "Variational, val/robust_reconstruction with latent_noise, else val/token_accuracy",
    ),
}


class TrainingParser(OneLineParser, LightningArgumentParser):
    """The parser of `fit` and its like: one of several processes reports the error."""

    @override
    def exit_with(self, line: str) -> NoReturn:
        wait_for_rank_zero()
        prevent_restart(2)
        super().exit_with(line)


class RecipeOrFile(ActionConfigFile):
    """The option `-c`: a YAML file, or the name of a shipped recipe."""

    @override
    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        try:
            path = find_config(values)
        except ValueError as error:
            parser.exit_with(str(error))
        if os.path.isfile(path):
            text = check_yaml(path, parser)
            path = path if (renamed := with_new_names(text)) == text else renamed
        super().__call__(parser, cfg, path, option_string)  # type: ignore[no-untyped-call]


def check_yaml(path: str, parser: TrainingParser) -> str:
    """Refuse a file that is not YAML, by its name, which jsonargparse would not mention.

    Args:
        path: the file.
        parser: reports what is wrong with it.

    Returns:
        The file's text.

    Raises:
        ValueError: if it is not UTF-8 text.
    """
    try:
        load_yaml(data := read_capped(Path(path)))
    except UnicodeDecodeError as error:
        raise ValueError(f"`config` must be UTF-8 text, but {path} is not: {error}.") from error
    except ValueError as error:
        parser.exit_with(f"`config` must be YAML, but {path} is not: {error}. Check that line.")
    return data.decode()


def make_parser(
    parser_class: type[TrainingParser] = TrainingParser, **kwargs: Any
) -> LightningArgumentParser:
    """Make a parser with one-line errors that takes configuration files."""
    # No abbreviations: `--trainer.max_step` is a misspelt key, not `--trainer.max_steps`.
    parser = parser_class(allow_abbrev=False, **kwargs)
    parser.add_argument(
        "-c",
        "--config",
        action=RecipeOrFile,
        help="a YAML file, or the name of a recipe that ships (`seqae recipes` lists them); a file "
        "of that name wins; may be given several times",
    )
    return parser


def add_options(parser: LightningArgumentParser, command: Command) -> None:
    """Add the options that are not those of Trainer, module or data module."""
    options = dict(OF_EVERY_COMMAND)
    if command == "predict":
        options |= OF_PREDICT
    if command == "fit":
        options |= OF_RESUMING | OF_FIT
    for name, option in options.items():
        if is_dataclass(option.type):
            parser.add_class_arguments(option.type, name)
        else:
            parser.add_argument(
                f"--{name}", type=option.type, default=option.default, help=option.help
            )
    for name in [name for name in OF_FIT if name not in options]:
        parser.add_argument(f"--{name}", type=Any, default=None, help=argparse.SUPPRESS)


def check_options(command: Command, options: Any) -> None:
    """Check what can be checked before anything is built.

    Args:
        command: the command that they are for.
        options: all of its options.

    Raises:
        ValueError: if an option has a value that cannot work, or would be ignored.
    """
    check_trainer(options.trainer)
    if options.trust:
        raise ValueError(
            "`trust` must be a flag on the command line, but it is true in a file or has a value. "
            "Write `--trust` alone."
        )
    if command == "predict":
        named = [options.data[split] or [] for split in SPLITS]
        sources = [name for n in named for name in ([n] if isinstance(n, str) else n)]
        check_output(options.output, (".jsonl",), sources)
    if command != "fit":
        return
    check_range("samples", options.samples, 0, 1000)
    check_wandb_options(options)
    check_range("prior_sentences", options.prior_sentences, 0, 10**7)
    if options.monitor is not None:
        check_choice("monitor", options.monitor, tuple(MONITORED))
    if options.init_parts and options.init is None:
        raise ValueError(
            f"`init_parts` must be given beside `init`, whose parts they are, but they are "
            f"{', '.join(options.init_parts)} alone. Name a bundle: `--init BUNDLE`."
        )
    parts = options.init_parts or ["embedding"]
    if options.word_vectors is not None and options.init is not None and "embedding" in parts:
        raise ValueError(
            f"`word_vectors` must not be given beside `init`, whose embedding is taken, but they "
            f"are {options.word_vectors} and {options.init} instead. Leave out one, or name other "
            f"`init_parts`."
        )
    check_resume(options)


def check_resume(options: Any) -> None:
    """Refuse options of `fit` that contradict each other, or would be ignored.

    Args:
        options: all options of `fit`.
    """
    if options.resume not in (None, "auto"):  # on the command line, a run's name is replaced
        raise ValueError(
            f"`resume` must be given on the command line, or be auto, but a file has it as "
            f"{options.resume} instead. Write `seqae fit --resume {options.resume}`."
        )
    if options.resume is not None and options.ckpt_path is not None:
        raise ValueError(
            "`ckpt_path` must not be given beside `--resume auto`, which finds the newest "
            "checkpoint itself. Leave one of them out."
        )
    if options.trainer.default_root_dir is not None:
        raise ValueError(
            f"`trainer.default_root_dir` must not be given, but it is "
            f"{options.trainer.default_root_dir}. Name the run's folder with `--run_dir`."
        )
    if options.trainer.enable_checkpointing is False and options.trainer.max_time is not None:
        raise ValueError(
            "`trainer.max_time` must not be given where nothing is saved when the time is up, "
            "but `trainer.enable_checkpointing` is false. Leave one of them out."
        )


def check_monitor(options: Any, model: AutoencoderModule) -> None:
    """Refuse a metric that this model does not have.

    Args:
        options: all options of `fit`.
        model: which measures it.
    """
    name = monitored(options, model).removeprefix("val/")
    of_posterior = name in CollapseMonitor.METRICS
    if name == "negative_elbo" and name not in model.objective.sentence_means:
        missing = f"under {type(model.objective).__name__}"
    elif name in NOISY and model.autoencoder.latent_noise is None:
        missing = "for a model without `latent_noise`"
    elif of_posterior and not isinstance(model.autoencoder.latent, StochasticLatent):
        missing = f"for a {type(model.autoencoder.latent).__name__}"
    elif of_posterior and not options.collapse_sentences:
        missing = "with `collapse_sentences` at 0"
    else:
        return
    raise ValueError(
        f"`monitor` must be a metric that is measured, but there is no val/{name} "
        f"{missing}. Choose another one, such as val/token_accuracy."
    )


def monitored(options: Any, model: AutoencoderModule) -> str:
    """Return the metric whose best model becomes the bundle."""
    return options.monitor or model.objective.monitored_for(model.autoencoder)
