"""Print the table of `seqae evaluate`, and sentences beside their reconstructions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import fill

from rich.table import Table
from rich.text import Text

from seqae.metrics.definitions import BY_LENGTH, COLUMNS, GROUPS, METRICS, Group, Scores
from seqae.terminal import WIDTH, table_console, visible
from seqae.units import format_value


def show(title: str, scores: Scores, notes: Mapping[str, str], explain: bool) -> None:
    """Print the table.

    Args:
        title: what was measured.
        scores: the metrics.
        notes: remarks by group, printed below the table.
        explain: whether to define each row and column.
    """
    console = table_console()
    # Text instead of str: rich would interpret square brackets as markup.
    table = Table(
        title=Text(visible(title)),
        title_justify="left",
        show_header=False,
        show_edge=False,  # with the widths below, it fits into 80 columns
    )
    for width in (28, 13):  # of the longest label, indented, and the longest unit
        table.add_column(min_width=width, no_wrap=True)
    for width in (6, 11, 8):  # of the longest word of a heading
        table.add_column(justify="right", min_width=width)
    heading_width = 11 if console.width < WIDTH else WIDTH  # rich would cut what it cannot wrap
    shown: list[str] = []
    for group in GROUPS:
        keys = list(rows_of(scores, group))
        if not keys:
            continue
        columns = [name for name, column in scores.items() if any(key in column for key in keys)]
        shown += keys + columns
        table.add_section()
        headings = [fill(column, heading_width) for column in columns]
        table.add_row(group, "unit", *headings, style="bold")
        for key in keys:
            metric = METRICS[key]
            cells = [
                format_value(scores[c][key], metric.unit) if key in scores[c] else ""
                for c in columns
            ]
            table.add_row(f"  {metric.label}", metric.unit, *cells)
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
    table_console().print(table)
