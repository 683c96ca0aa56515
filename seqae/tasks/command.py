"""Run a task from the command line: its signature is its options, its docstring their help."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from seqae.terminal import fail


class OneLineParser(ArgumentParser):
    """A parser that says what is wrong in one line, and ends with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit."""
        fail(message, status=2)


def run(module: str, name: str, args: list[str]) -> None:
    """Parse the arguments of a task and call it.

    Args:
        module: where the task's function is.
        name: the function, and the command.
        args: what follows the command.
    """
    function = getattr(import_module(module), name)
    parser = OneLineParser(prog=f"seqae {name}", description=function.__doc__.splitlines()[0])
    # Texts are words of the command line as they stand, not YAML: "null" and "[a]" are sentences.
    takes_texts = "texts" in function.__annotations__
    skip: set[str | int] = {"texts"} if takes_texts else set()
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=skip)
    if takes_texts:
        parser.add_argument(
            "texts", nargs="*", type=str, default=[], help="sentences; - reads them from the input"
        )
    values: dict[str, Any] = parser.parse_args(args).as_dict()
    function(**values)
