"""Run a task from the command line: its signature is its options, its docstring their help."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from seqae.terminal import fail
from seqae.usage import explain


class OneLineParser(ArgumentParser):
    """A parser that says what is wrong in one line, and ends with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit."""
        line = explain(self, message)
        if line.endswith("`--help` lists the options."):
            line += " Options stand before MODEL or after the sentences."
        fail(line, status=2)


def run(module: str, name: str, args: list[str]) -> None:
    """Parse the arguments of a task and call it.

    Args:
        module: where the task's function is.
        name: the function, and the command.
        args: what follows the command.
    """
    function = getattr(import_module(module), name)
    parser = OneLineParser(
        prog=f"seqae {name}", description=function.__doc__.splitlines()[0], allow_abbrev=False
    )
    # Texts are words of the command line as they stand, not YAML: "null" and "[a]" are sentences.
    by_hand: set[str | int] = {
        name for name in ("texts", "file") if name in function.__annotations__
    }
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=by_hand)
    if "file" in by_hand:  # may be left out, and jsonargparse makes an option of such
        parser.add_argument(
            "file", nargs="?", type=str, default=None, help="sentences that the model has not seen"
        )
    if "texts" in by_hand:
        parser.add_argument(
            "texts", nargs="*", type=str, default=[], help="sentences; - reads them from the input"
        )
    values: dict[str, Any] = parser.parse_args(args).as_dict()
    function(**values)
