"""Print the table of `seqae evaluate`, and sentences beside their reconstructions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import fill

from rich.table import Table
from rich.text import Text

from seqae.metrics.definitions import BY_LENGTH, COLUMNS, METRICS
from seqae.metrics.metric import GROUPS, Group, Scores
from seqae.terminal import WIDTH, table_console, visible
from seqae.units import format_value

NARROW = (26, 8, 7, 7, 7, 8)  # of the columns of a table with three baselines, in 80 columns


def show(title: str, scores: Scores, notes: Mapping[str, str], explain: bool) -> None:
    """Print the table.

    Args:
        title: what was measured.
        scores: the metrics.
        notes: remarks by group, printed below the table.
        explain: whether to define each row and column.
    """
    console = table_console()
    console.print(Text(visible(title)))
    shown: list[str] = []
    for group in GROUPS:
        keys = list(rows_of(scores, group))
        if not keys:
            continue
        columns = [name for name, column in scores.items() if any(key in column for key in keys)]
        shown += keys + columns
        is_narrow = console.width < WIDTH
        # Of the longest label, indented, the longest unit, and the longest word of a heading: rich
        # would cut what it cannot wrap.
        widths = (28, 13, 6, 11, 8, 8) if len(columns) < 4 or not is_narrow else NARROW
        table = Table(show_edge=False)
        headings = [
            group,
            "unit",
            *(fill(column, 11 if is_narrow else WIDTH) for column in columns),
        ]
        for index, (heading, width) in enumerate(zip(headings, widths, strict=False)):
            is_value = index > 1
            table.add_column(
                heading,
                min_width=width,
                no_wrap=not is_value,
                justify="right" if is_value else "left",
            )
        for key in keys:
            metric = METRICS[key]
            cells = [
                format_value(scores[c][key], metric.unit) if key in scores[c] else ""
                for c in columns
            ]
            table.add_row(f"  {metric.label}", metric.unit, *cells)
        console.print(table)
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
    table_console().print(table)


def show_generated(samples: Sequence[str], midpoints: Sequence[tuple[str, str, str]]) -> None:
    """Print samples, and texts half way between two sentences."""
    if samples:
        table = Table("sample")
        for text in samples:
            table.add_row(Text(visible(text)))
        table_console().print(table)
    if midpoints:
        table = Table("sentence", "half way to", "the other")
        for row in midpoints:
            table.add_row(*(Text(visible(text)) for text in row))
        table_console().print(table)
