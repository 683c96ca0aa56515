"""fit: train from Python, by the code of the command `seqae fit`."""

from __future__ import annotations

import json
import operator
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from seqae.bundle.io import load
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import Component, is_whole, type_in_words
from seqae.data.sources.memory import PAIR_COLUMN, Sentences, are_names, hold
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import ByteTokenizer, Tokenizer
from seqae.recipes import find_config
from seqae.synonyms import expand
from seqae.training.callbacks.preemption import TIME_IS_UP, Preempted
from seqae.training.command.choose_run import RUN_TIME
from seqae.training.command.cli_options import Command, TrainingParser, make_parser
from seqae.training.command.commands import (
    IGNORED_WARNINGS,
    expand_run,
    reporting_in_one_line,
    show_log,
)
from seqae.training.command.commands import train as run_training
from seqae.training.command.lightning_cli import TrainingCLI


def fit(
    train: Any = ...,
    recipe: str | Path | Sequence[str | Path] | None = None,
    *,
    val: Any = None,
    test: Any = None,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    init: str | Path | None = None,
    **options: Any,
) -> TextAutoencoder:
    """Train a model, as the command `seqae fit` does: the same run folder, progress and resume.

        model = seqae.fit(sentences, max_steps=2000, run_dir="runs/mine")
        model = seqae.fit(resume="runs/mine")
        model = seqae.fit("my.txt", "vae", lr=1e-3, trainer={"accelerator": "cpu"}, threads=2)

    Args:
        train: sentences or pairs in memory, a table, the name of a source or a list of these, as
            TextDataModule takes them; left out, what the recipe says.
        recipe: name of a recipe, a YAML file, or a list of these, of which later ones win; by
            default `gru`.
        val: the same as `train` for validation; by default some of the training sentences.
        test: the same for the test.
        run_dir: the run's folder, new or empty; by default `runs/NAME/TIME`.
        resume: folder of a run to continue, by its own configuration; or `auto`, as for the
            command.
        init: a bundle to start from, as `seqae.load` takes it, instead of new weights and a new
            tokenizer; then no recipe is needed.
        options: all other options of the command, under its names: short ones (`max_steps`,
            `lr`, `epochs`, `threads`), sections as dicts (`data={"max_length": 64}`), or full
            keys (`**{"model.learning_rate": 1e-3}`). A part may be given as an object.

    Returns:
        The best model of the run, on the CPU.

    Raises:
        ValueError: if an option is unknown or out of range, or the text cannot be used.
        FileNotFoundError: if there is no such source.
        KeyboardInterrupt: after Ctrl-C, when the state is saved.
    """
    is_continued = resume is not None and str(resume) != "auto"
    for name, value in (("recipe", recipe), ("run_dir", run_dir)):
        if is_continued and value is not None:
            raise ValueError(
                f"`{name}` must not be given beside `resume`, whose run has one, but it is {value} "
                f"instead. Leave it out."
            )
    recipes = [recipe or "gru"] if recipe is None or isinstance(recipe, (str, Path)) else recipe
    if init is not None and recipe is None:
        recipes = []  # the bundle says it all
    configs = [] if is_continued else [find_config(os.fspath(name), "recipe") for name in recipes]
    args = [arg for config in configs for arg in ("-c", config)]
    settings = _flatten(options)
    # A `train` that is None is a mistake, such as a variable that was never set.
    held = [
        _hold_text(key, text, settings)
        for key, text, left_out in (("train", train, ...), ("val", val, None), ("test", test, None))
        if text is not left_out
    ]
    settings |= {"resume": resume} if resume is not None else {}
    settings |= {"run_dir": run_dir} if run_dir is not None else {}
    settings |= {"init": init} if init is not None else {}
    args += [f"--{key}={_to_text(key, value)}" for key, value in settings.items()]
    with _as_the_command(), reporting_in_one_line():
        cli = run_training(expand_run("fit", expand(args)), FunctionCLI)
    del held  # until here, the names of these sentences had to be found
    if cli.stopped is not None and cli.stopped.reason == "SIGINT":
        raise KeyboardInterrupt
    if cli.stopped is not None and cli.stopped.reason != TIME_IS_UP:
        raise cli.stopped
    return load(cli.run_dir)


class FunctionParser(TrainingParser):
    """The parser of `seqae.fit`: it raises what the command prints."""

    @override
    def exit_with(self, line: str) -> NoReturn:
        raise ValueError(line)


class FunctionCLI(TrainingCLI):
    """What `seqae.fit` runs.

    Attributes:
        stopped: why the training ended early, if it did.
    """

    stopped: Preempted | None = None

    def __init__(self, command: Command, args: list[str], topic: str | None = None) -> None:
        self._argv = sys.argv
        super().__init__(command, args, topic)

    @override
    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        return make_parser(FunctionParser, **kwargs)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        sys.argv = self._argv  # with these Lightning starts this program for other ranks

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except Preempted as stopped:
            self.stopped = stopped


@contextmanager
def _as_the_command() -> Iterator[None]:
    """Print what the command prints, and leave the process as it was."""
    is_named = RUN_TIME in os.environ  # by the process that Lightning has started this one from
    argv = sys.argv
    with warnings.catch_warnings():
        show_log()
        for message in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        finally:
            sys.argv = argv
            if not is_named:
                os.environ.pop(RUN_TIME, None)  # the next run has a time of its own


def _flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn sections into full keys; what has a class path is one value."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and "class_path" not in value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _hold_text(key: str, text: Any, settings: dict[str, Any]) -> Sentences | None:
    """Set the sources of a split; give sentences a name, which lasts as long as what is returned.

    Args:
        key: train, val or test.
        text: its sentences or names.
        settings: of the training by key, to add to.
    """
    if are_names(key, text):
        is_one = isinstance(text, (str, os.PathLike))
        settings[f"data.{key}"] = os.fspath(text) if is_one else [*map(os.fspath, text)]
        return None
    reading = {
        name: value
        for name in ("column", "target_column")
        if (value := settings.get(f"data.reading.{name}")) is not None
    }
    held = hold(key, text, ReadOptions(**reading))
    settings[f"data.{key}"] = held.name
    if held.targets is not None:
        settings.setdefault("data.reading.target_column", PAIR_COLUMN)
    return held


def _to_text(key: str, value: Any) -> str:
    """Write a value as the command line has it.

    Raises:
        ValueError: if it is no plain data.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, Tokenizer) and value.is_trained and not isinstance(value, ByteTokenizer):
        raise ValueError(
            f"`{key}` must be an untrained tokenizer, since a configuration cannot hold what one "
            f"has learnt, but it is trained. Give TextDataModule and a Trainer the trained one."
        )
    try:
        return json.dumps(value, default=_to_plain)
    except TypeError as error:
        raise ValueError(
            f"`{key}` must be plain data or a part, such as an encoder, but it is "
            f"{type_in_words(value)} instead ({error}). Give its name as `class_path`."
        ) from error


def _to_plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.config()
    return operator.index(value) if is_whole(value) else float(value)
