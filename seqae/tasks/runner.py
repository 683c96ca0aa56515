"""Run a task from the command line: its signature is its options, its docstring their help."""

from __future__ import annotations

import inspect
from dataclasses import fields
from importlib import import_module
from typing import Any

from jsonargparse import DefaultHelpFormatter

from seqae.generation import DecodingOptions
from seqae.parser import OneLineParser, choices, options_of, type_of
from seqae.tasks.evaluate.table import Group

# Arguments that jsonargparse would not make of a signature what is wanted. Texts are words as they
# stand, not YAML ("null" and "[a]" are sentences); what may be left out would become an option.
WORDS: dict[str, dict[str, Any]] = {
    "file": {"nargs": "?", "default": None, "help": "sentences that the model has not seen"},
    "files": {"nargs": "+", "help": "what to train on: anything that `data.train` may name"},
    "runs": {"nargs": "+", "help": "folders of runs or bundles, or .json files of `evaluate`"},
    "texts": {"nargs": "*", "default": [], "help": "sentences; - reads them from the input"},
}

# Options of several words, as the shell parts them.
LISTS: dict[str, dict[str, Any]] = {
    "metrics": {
        "type": Group,
        "default": None,
        "metavar": "GROUP",
        "help": "groups of figures; by default reconstruction, likelihood and latent, and "
        "embedding where pairs or labels are given; generation trains language models, for minutes",
    },
    "banned_words": {
        "type": str,
        "action": "extend",  # twice the option is both times the words
        "default": [],
        "metavar": "WORD",
        "help": "words that are not written, as the tokenizer spells them, also inside a longer "
        "word",
    },
    "forced_words": {
        "type": str,
        "action": "extend",  # twice the option is both times the words
        "default": [],
        "metavar": "WORD",
        "help": "words that are written in any case, by a beam search, as the tokenizer spells "
        "them, also inside a longer word: heat has he",
    },
}

# What a shell user may write behind `--explain`, which may also stand alone.
TRUTHS = ("true", "false", "yes", "no")

# Tasks that write one text of each latent, for which `num_return_sequences` is no option.
ONE_TEXT = ("interpolate", "arithmetic", "transfer")


class KeepLines(DefaultHelpFormatter):
    """Help whose examples stay on lines of their own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))


def examples(documentation: str | None) -> str:
    """The part of a docstring under `Example:`."""
    _, _, behind = inspect.cleandoc(documentation or "").partition("Example:\n")
    return f"example:\n{behind.split(chr(10) * 2)[0]}" if behind else ""


def spell_out(args: list[str], flags: set[str]) -> list[str]:
    """Give each flag that stands alone its value; argparse would take the next argument for it.

    Args:
        args: the command line.
        flags: options that are true or false.
    """
    behind = [*args, ""][1:]
    return [
        f"{arg}=true" if arg in flags and after.lower() not in TRUTHS else arg
        for arg, after in zip(args, behind, strict=True)
    ]


def run(module: str, name: str, args: list[str]) -> None:
    """Parse the arguments of a task and call it.

    Args:
        module: where the task's function is.
        name: the command; its last word is the function.
        args: what follows the command.
    """
    function = getattr(import_module(module), name.split()[-1])
    parser = OneLineParser(
        prog=f"seqae {name}",
        description=function.__doc__.splitlines()[0],
        epilog=examples(function.__doc__),
        formatter_class=KeepLines,
        allow_abbrev=False,
    )
    is_decoding = "decoding" in function.__annotations__
    options = [f.name for f in fields(DecodingOptions)] if is_decoding else []
    not_taken = {"num_return_sequences"} if name in ONE_TEXT else set()
    options = [option for option in options if option not in not_taken]
    taken = {*function.__annotations__, *options}
    by_hand = [argument for argument in {**WORDS, **LISTS} if argument in taken]
    skip: set[str | int] = {*by_hand, *(["decoding"] if is_decoding else [])}
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=skip)
    if is_decoding:  # each option under its own name: --num_beams
        parser.add_class_arguments(DecodingOptions, skip=(skip & set(options)) | not_taken)
    flags: set[str] = set()
    for action in options_of(parser):
        hint = type_of(action)
        if hint is bool:  # `--explain` as well as `--explain true`
            action.nargs = "?"
            flags.update(action.option_strings)
        elif words := choices(hint):  # those that may be left out, too, which argparse knows not
            action.metavar = f"{{{','.join(words)}}}"
    for argument in by_hand:
        if argument in LISTS:
            parser.add_argument(f"--{argument}", nargs="+", **LISTS[argument])
        else:
            parser.add_argument(argument, type=str, **WORDS[argument])
    values: dict[str, Any] = parser.instantiate_classes(
        parser.parse_args(spell_out(args, flags))
    ).as_dict()
    if is_decoding:
        values["decoding"] = DecodingOptions(**{name: values.pop(name) for name in options})
    function(**values)
