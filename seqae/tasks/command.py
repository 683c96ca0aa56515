"""Run a task from the command line: its signature is its options, its docstring their help."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from seqae.terminal import fail
from seqae.usage import explain

# Arguments that jsonargparse would not make of a signature what is wanted. Texts are words as they
# stand, not YAML ("null" and "[a]" are sentences); what may be left out would become an option.
WORDS: dict[str, dict[str, Any]] = {
    "file": {"nargs": "?", "default": None, "help": "sentences that the model has not seen"},
    "files": {"nargs": "+", "help": "what to train on: anything that `data.train` may name"},
    "texts": {"nargs": "*", "default": [], "help": "sentences; - reads them from the input"},
}


class OneLineParser(ArgumentParser):
    """A parser that says what is wrong in one line, and ends with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit."""
        line = explain(self, message)
        if line.endswith("`--help` lists the options."):
            line += " Options stand before the other arguments or after them."
        fail(line, status=2)


def run(module: str, name: str, args: list[str]) -> None:
    """Parse the arguments of a task and call it.

    Args:
        module: where the task's function is.
        name: the command; its last word is the function.
        args: what follows the command.
    """
    function = getattr(import_module(module), name.split()[-1])
    parser = OneLineParser(
        prog=f"seqae {name}", description=function.__doc__.splitlines()[0], allow_abbrev=False
    )
    by_hand = [argument for argument in WORDS if argument in function.__annotations__]
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip={*by_hand})
    for argument in by_hand:
        parser.add_argument(argument, type=str, **WORDS[argument])
    values: dict[str, Any] = parser.instantiate_classes(parser.parse_args(args)).as_dict()
    function(**values)
