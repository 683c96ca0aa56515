"""The reference of commands: the page of each, and every option that its parser has."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from generators.write import write_if_changed
from seqae.cli import COMPLETION, RECIPES, TASKS, TRAINING, help_page, main

KINDS = (
    ("Train", [*TRAINING, *RECIPES]),
    ("Use", ["reconstruct", "encode", "decode", "summarize"]),
    ("Explore", ["sample", "interpolate", "arithmetic", "neighbours", "transfer", "prior"]),
    ("Measure", ["evaluate", "compare", "summarize-eval", "data report"]),
    ("See", ["report", "serve", "plot"]),
    ("Share", ["check", "card", "push", "pull", "export", "upgrade"]),
)
WIDTH = 88  # columns of the help


def write_command_reference(folder: Path) -> None:
    """Write `commands.md`.

    Args:
        folder: of what is generated.
    """
    write_if_changed(folder / "commands.md", command_reference())


def command_reference() -> str:
    """Return the page: each command by kind, those of no kind at the end."""
    summaries = {**TRAINING, **RECIPES, **{k: text for k, (_, text) in TASKS.items()}, **COMPLETION}
    named = {name for _, names in KINDS for name in names}
    kinds = [*KINDS, ("Others", [name for name in summaries if name not in named])]
    lines = [
        "# Commands",
        "",
        "What `seqae COMMAND -h` prints, and all that `--help all` adds.",
        "",
    ]
    for title, names in kinds:
        lines += [f"## {title}", ""]
        for name in (name for name in names if name in summaries):
            lines += [f"### seqae {name}", "", f"{summaries[name].rstrip('.')}.", ""]
            lines += entry(name)
    return "\n".join(lines).rstrip() + "\n"


def entry(name: str) -> list[str]:
    """Describe a command: its page, and its whole help, folded.

    Args:
        name: of the command.
    """
    if name in RECIPES:
        return [*block(said("recipes")), ""]
    lines = [*block(help_page(name)), ""]
    if name in COMPLETION:
        return lines
    folded = ["<details><summary>Every option</summary>", "", *block(said(name, "--help", "all"))]
    return [*lines, *folded, "", "</details>", ""]


def block(text: str) -> list[str]:
    """Fence a text that is shown as it is printed."""
    return ["````text", text.strip("\n"), "````"]


def said(*words: str) -> str:
    """Return what a command prints.

    Args:
        words: the command, in one or two words, and what follows.
    """
    output = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main([part for word in words for part in word.split()])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return output.getvalue()
