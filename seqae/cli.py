"""The console command `seqae`: a thin dispatcher, so that help needs no import of torch.

`fit`, `validate`, `test` and `predict` go to LightningCLI; every other command is a typed function
of seqae.tasks, whose signature and docstring are its options and help. `recipes` needs neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from textwrap import shorten, wrap

import seqae
from seqae import synonyms
from seqae.terminal import fail

HELP_PAGES = Path(__file__).parent / "help_pages"

MAX_MESSAGE = 600  # characters of an error of a library, of which some go on for pages

TRAINING = {
    "fit": "Train a model:  seqae fit -c gru --train my.txt",
    "prepare": "Tokenise the text that `fit` would train on, and report on it",
    "validate": "Measure a run's newest checkpoint on its validation split",
    "test": "Measure a run's newest checkpoint on its test split",
    "predict": "Write the reconstructions of a run's test split to a file",
}
RECIPES = {"recipes": "List the recipes for `-c NAME`; `recipes show NAME` prints one"}
COMPLETION = {"completion": "Print a script that completes commands and options in bash or zsh"}
# Commands that import torchmetrics: trainings through Lightning, `evaluate` for its own metrics.
WITH_TORCHMETRICS = {*TRAINING, "evaluate"}
TASKS = {
    "reconstruct": ("seqae.tasks.encode_decode", "Encode texts and decode them again"),
    "encode": ("seqae.tasks.encode_decode", "Encode texts as .npy, .parquet or JSON lines"),
    "decode": ("seqae.tasks.encode_decode", "Decode latents to texts"),
    "evaluate": (
        "seqae.tasks.evaluate.command",
        "Measure a bundle on unseen sentences, beside baselines",
    ),
    "data report": ("seqae.tasks.data_report", "Report on a corpus before training on it"),
    "serve": (
        "seqae.tasks.serve.serve_command",
        "Open a page with a model behind it; a JSON API, too",
    ),
    "compare": ("seqae.tasks.compare", "Compare the settings and metrics of several runs"),
    "report": (
        "seqae.tasks.report.report_command",
        "Make a page of a model: measures, curves, examples and its map",
    ),
    "plot": (
        "seqae.tasks.plot.plot_command",
        "Draw a figure for a paper: map, curves, robustness, lengths, rate",
    ),
    "sample": (
        "seqae.tasks.sampling",
        "Generate new sentences from random latents",
    ),
    "interpolate": ("seqae.tasks.latent_space", "Decode the latents between two sentences"),
    "arithmetic": ("seqae.tasks.latent_space", "Decode a - b + c, given three sentences"),
    "neighbours": (
        "seqae.tasks.latent_space",
        "Find the training sentences with the nearest latents",
    ),
    "transfer": (
        "seqae.tasks.latent_space",
        "Change an attribute of sentences, learnt from two files",
    ),
    "prior": (
        "seqae.tasks.sampling",
        "Fit what `sample` draws from; add it to a bundle",
    ),
    "summarize": (
        "seqae.tasks.summarize.write_summaries",
        "Shorten documents, with the evidence of each sentence",
    ),
    "summarize-eval": (
        "seqae.tasks.summarize.score_summaries",
        "Compare summaries of all methods with those of people",
    ),
    "pull": ("seqae.tasks.sharing.pull", "Fetch a bundle from the Hugging Face hub or from W&B"),
    "push": ("seqae.tasks.sharing.push", "Check a bundle, and send it to the Hugging Face hub"),
    "card": (
        "seqae.tasks.sharing.show_card",
        "Show a bundle's model card, or write it: licence, language, metrics",
    ),
    "upgrade": ("seqae.tasks.sharing.upgrade", "Write an old bundle in today's form"),
    "check": (
        "seqae.tasks.sharing.check",
        "Check that a bundle is intact and works as when it was written",
    ),
    "export": (
        "seqae.tasks.sharing.export",
        "Write a bundle in the form of another library",
    ),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        args: the command line without the program's name; by default the process's own.

    Returns:
        The exit status: 0, or 1 if the command failed. Wrong usage exits with 2.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments and arguments[0] == "help":  # as of git: `help fit` is `fit --help`
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0 if arguments else 2
    if arguments[0] in ("--version", "version"):
        print(f"seqae {seqae.__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if subcommands := [name for name in TASKS if name.startswith(f"{command} ")]:
        if not rest or rest[0] in ("-h", "--help"):
            print(*map(help_page, subcommands), sep="\n", end="")
            return 0 if rest else 2
        command, rest = f"{command} {rest[0]}", rest[1:]
    command = synonyms.COMMANDS.get(command, command)
    debug = "--debug" in rest
    rest = [argument for argument in rest if argument != "--debug"]
    if command not in {**TRAINING, **RECIPES, **TASKS, **COMPLETION}:
        known = subcommands or [*TRAINING, *RECIPES, *TASKS, *COMPLETION]
        close = get_close_matches(command, known, n=1)
        way_out = f"Did you mean `seqae {close[0]}`?" if close else "See `seqae --help`."
        fail(f"`command` must be one of {', '.join(known)}, but it is {command}. {way_out}", 2)
    topic = None if command in RECIPES else help_topic(rest)
    if topic == "":
        print(help_page(command), end="")
        return 0
    try:
        if args is None and command in WITH_TORCHMETRICS:
            import_module("seqae.lean_torchmetrics").import_torchmetrics(command, rest)
        if command in TRAINING:
            import_module("seqae.training.command.commands").run(command, rest, topic)
        elif command in RECIPES:
            import_module("seqae.recipes").run(rest)
        elif command in COMPLETION:
            import_module("seqae.completion").run(rest, [*TRAINING], TASKS)
        else:
            import_module("seqae.tasks.runner").run(TASKS[command][0], command, rest, topic)
        _flush_output()
    except KeyboardInterrupt:
        if debug:
            raise
        fail("interrupted", status=1)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError) as error:
        if debug:
            raise
        fail(str(error) or type(error).__name__, status=1)
    except Exception as error:  # of a library, of a class that the user brings, or a fault of ours
        if debug:
            raise
        text = shorten(str(error), MAX_MESSAGE, placeholder=" …").rstrip(".")
        fail(f"{type(error).__name__}: {text}. `--debug` shows the traceback.", status=1)
    return 0


def _flush_output() -> None:
    """Write what is printed; at the end of the process an error would not be reported in a line."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"standard output cannot be written: {error.strerror}") from error


def help_topic(args: Sequence[str]) -> str | None:
    """Return the word after `--help`, an empty one if there is none, or None without `--help`.

    Args:
        args: what follows the command; after `--` all are its arguments.
    """
    options = [*args[: args.index("--") if "--" in args else None], ""]
    for option, following in zip(options, options[1:], strict=False):
        if option in ("-h", "--help"):
            return "" if following.startswith("-") else following
        if option.startswith("--help="):
            return option.removeprefix("--help=")
    return None


def help_page(command: str) -> str:
    """Return the options of a command that matter most; tests hold the page to the whole help.

    Args:
        command: whose page, a file in help_pages/. It needs no import of torch.
    """
    return (HELP_PAGES / f"{command}.txt").read_text(encoding="utf-8")


def overview() -> str:
    """Return the text of `seqae --help`."""
    tasks = {name: text for name, (_, text) in TASKS.items()}
    shown = {**TRAINING, **RECIPES, **tasks, **COMPLETION}
    width = max(map(len, shown))
    others = ", ".join(f"{other} for {name}" for other, name in synonyms.COMMANDS.items())
    lines = [
        "usage: seqae COMMAND ...",
        "",
        "Compress sentences into vectors and reconstruct them.",
        "",
        *(f"  {name:{width}}  {text}" for name, text in shown.items()),
        "",
        "seqae COMMAND -h shows the options that matter, `--help all` every one.",
        "--version prints the version; --debug after any command shows a traceback.",
        *wrap(f"Other names: {others}.", 80),
    ]
    return "\n".join(lines)
