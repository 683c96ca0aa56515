"""Run a task from the command line: its signature is its options, its docstring their help.

jsonargparse's `auto_cli` does this for a whole module, but parses sentences as YAML and gives the
options of decoding a prefix. Here texts are words and `--num_beams` is an option like any other.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from jsonargparse import DefaultHelpFormatter

from seqae.generation import Decoding
from seqae.metrics.definitions import Group
from seqae.parser import OneLineParser, choices, options_of, show_help, type_of

# Arguments that jsonargparse would derive wrongly from a signature. Sentences are words, not YAML
# ("null" and "[a]" are sentences); optional ones would become options; and a list would be YAML in
# one word instead of several words.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "file": {"nargs": "?", "type": str, "help": "sentences that the model has not seen"},
    "files": {"nargs": "+", "type": str, "help": "what to train on, as in `data.train`"},
    "runs": {
        "nargs": "+",
        "type": str,
        "help": "folders of runs or bundles, or .json files of `evaluate`",
    },
    "texts": {
        "nargs": "*",
        "type": str,
        "default": [],
        "help": "sentences; - reads them from standard input, one per line",
    },
    "models": {
        "nargs": "+",
        "type": str,
        "help": "one or two bundles, folders of runs, addresses, or `demo`",
    },
    "--names": {
        "nargs": "+",
        "type": str,
        "metavar": "NAME",
        "help": "of the runs, for the legend; by default the parts of their paths that differ",
    },
    "--keys": {
        "nargs": "+",
        "type": str,
        "metavar": "KEY",
        "help": "for `curves`, the log keys to draw, such as train/loss val/bleu; by default loss "
        "and exact match",
    },
    "--metrics": {
        "nargs": "+",
        "type": Group,
        "metavar": "GROUP",
        "help": "groups of metrics; by default all, embedding only if pairs or labels are given",
    },
    "--methods": {
        "nargs": "+",
        "type": str,
        "metavar": "NAME",
        "help": "methods, each as NAME for all its spaces or as NAME/SPACE; by default all",
    },
    "--banned_words": {
        "nargs": "+",
        "type": str,
        "action": "extend",  # the option may be repeated
        "default": [],
        "metavar": "WORD",
        "help": "words that are not generated, as the tokenizer encodes them, also inside a longer "
        "word",
    },
    "--forced_words": {
        "nargs": "+",
        "type": str,
        "action": "extend",  # the option may be repeated
        "default": [],
        "metavar": "WORD",
        "help": "words that a beam search must generate, as the tokenizer encodes them, also "
        "inside a longer word: heat contains he",
    },
}

# Values that may follow a flag, which may also be given alone: `--explain`, `--explain true`.
TRUTHS = ("true", "false", "yes", "no")

# Tasks that give one text for each latent, and so do not take `num_return_sequences`.
ONE_TEXT = ("interpolate", "arithmetic", "transfer", "evaluate")


class KeepLines(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help that keeps the line ends of the examples."""


def run(module: str, name: str, args: list[str], topic: str | None = None) -> None:
    """Parse the arguments of a task and call it, or show a part of its help.

    Args:
        module: the module of the task's function.
        name: the command; its last word is the function.
        args: what follows the command.
        topic: which part, instead of the call.
    """
    task = function_of(module, name)
    options = decoding_options(task)
    parser = make_parser(task, name, options)
    if topic is not None:
        show_help(parser, topic, {"decoding": options} if options else {})
        return
    defaults = vars(parser.get_defaults().as_flat())
    flags = {f"--{key}" for key, default in defaults.items() if isinstance(default, bool)}
    parsed = parser.parse_args(complete_flags(args, flags))
    values: dict[str, Any] = parser.instantiate_classes(parsed).as_dict()
    if options:
        values["decoding"] = Decoding(**{option: values.pop(option) for option in options})
    task(**values)


def function_of(module: str, name: str) -> Callable[..., None]:
    """Import the function of a task.

    Args:
        module: of the function.
        name: the command; its last word is the function, with `_` for `-`.
    """
    function: Callable[..., None] = getattr(
        import_module(module), name.split()[-1].replace("-", "_")
    )
    return function


def make_parser(task: Callable[..., None], name: str, options: Sequence[str]) -> OneLineParser:
    """Make the parser of a task from its signature and docstring.

    Args:
        task: the function.
        name: the command.
        options: the options of decoding that it takes.
    """
    documentation = inspect.getdoc(task) or ""
    parser = OneLineParser(
        prog=f"seqae {name}",
        description=documentation.splitlines()[0],
        epilog=examples(documentation),
        formatter_class=KeepLines,
        allow_abbrev=False,
    )
    arguments = own_arguments(task, options)
    skip: set[str | int] = {"decoding", *(flag.removeprefix("--") for flag in arguments)}
    parser.add_function_arguments(task, as_group=False, as_positional=True, skip=skip)
    if options:
        others = {field.name for field in fields(Decoding)}.difference(options)
        parser.add_class_arguments(Decoding, skip=skip | others)
    for action in options_of(parser):
        hint = type_of(action)
        if hint is bool:  # complete_flags allows it to be left out
            action.nargs = "?"
        elif words := choices(hint):  # argparse names no choices of an optional value
            action.metavar = f"{{{','.join(words)}}}"
    for flag, settings in arguments.items():
        parser.add_argument(flag, **settings)
    return parser


def own_arguments(task: Callable[..., None], options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return those of ARGUMENTS that a task has; `texts` as an option is a file, not sentences.

    Args:
        task: the function.
        options: the options of decoding that it takes.
    """
    parameters = inspect.signature(task).parameters
    found = {}
    for flag, settings in ARGUMENTS.items():
        name = flag.removeprefix("--")
        is_option = name == "texts" and name in parameters and parameters[name].default is None
        if (name in parameters or name in options) and not is_option:
            found[flag] = settings
    return found


def decoding_options(task: Callable[..., None]) -> list[str]:
    """List the options of decoding that a task takes, each under its own name: `--num_beams`."""
    if "decoding" not in inspect.signature(task).parameters:
        return []
    excluded = {"num_return_sequences"} if task.__name__ in ONE_TEXT else set()
    return [field.name for field in fields(Decoding) if field.name not in excluded]


def examples(documentation: str) -> str:
    """Extract the part of a docstring under `Example:`."""
    _, _, following = documentation.partition("Example:\n")
    return f"example:\n{following.split(chr(10) * 2)[0]}" if following else ""


def complete_flags(args: list[str], flags: set[str]) -> list[str]:
    """Give each flag without a value one; argparse would take the next argument as its value.

    Args:
        args: the command line.
        flags: options that are true or false.
    """
    following = [*args, ""][1:]
    return [
        f"{arg}=true" if arg in flags and value.lower() not in TRUTHS else arg
        for arg, value in zip(args, following, strict=True)
    ]
