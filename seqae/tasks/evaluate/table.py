"""Print the table of `seqae evaluate`, and sentences beside their reconstructions."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqae.tasks.evaluate.definitions import BY_LENGTH, COLUMNS, GROUPS, METRICS, Group, Scores
from seqae.terminal import visible

WIDTH = 100  # of the output if it is no terminal


def show(title: str, scores: Scores, notes: Mapping[str, str], explain: bool) -> None:
    """Print the table.

    Args:
        title: what was measured.
        scores: the metrics.
        notes: remarks by group, printed below the table.
        explain: whether to define each row and column.
    """
    console = console_of_width()
    # Text instead of str: rich would interpret square brackets as markup.
    table = Table(title=Text(visible(title)), title_justify="left", show_header=False)
    table.add_column(min_width=34)
    for width in (8, 17, 22):  # so that the tables of several models align
        table.add_column(justify="right", min_width=width)
    shown: list[str] = []
    for group in GROUPS:
        keys = list(rows_of(scores, group))
        if not keys:
            continue
        columns = [name for name, column in scores.items() if any(key in column for key in keys)]
        shown += keys + columns
        table.add_section()
        table.add_row(group, *columns, style="bold")
        for key in keys:
            metric = METRICS[key]
            cells = [metric.format(scores[c][key]) if key in scores[c] else "" for c in columns]
            table.add_row(f"  {metric.label}", *cells)
    console.print(table if shown else Text(visible(title)))
    for name, note in notes.items():
        console.print(Text(f"{name}: {note}"))
    if explain:
        for line in explanations(shown):
            console.print(Text(line))


def rows_of(scores: Mapping[str, Mapping[str, float]], group: Group) -> Iterator[str]:
    """List the metrics of a group that at least one column has, in the order of the table."""
    for key, metric in METRICS.items():
        if metric.group == group and any(key in column for column in scores.values()):
            yield key


def explanations(names: Iterable[str]) -> Iterator[str]:
    """Define each row and column once; of the exact matches by length only the first."""
    repeated = list(BY_LENGTH)[1:]
    for name in dict.fromkeys(names):
        if name in METRICS and name not in repeated:
            yield f"{METRICS[name].label}: {METRICS[name].meaning}"
        elif name in COLUMNS:
            yield f"{name}: {COLUMNS[name]}"


def show_examples(pairs: Sequence[tuple[str, str]]) -> None:
    """Print sentences beside their reconstructions."""
    if not pairs:
        return
    table = Table("sentence", "written back", "", title_justify="left")
    for text, reconstruction in pairs:
        sides = Text(visible(text)), Text(visible(reconstruction))
        table.add_row(*sides, "=" if text == reconstruction else "≠")
    console_of_width().print(table)


def console_of_width() -> Console:
    """Make a console as wide as the terminal, or of a fixed width if there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
