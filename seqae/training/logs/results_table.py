"""The table of `seqae validate` and `seqae test`: metrics by log key, with their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from seqae.metrics.definitions import unit_of
from seqae.terminal import table_console
from seqae.units import format_value


def show_results(results: Sequence[Mapping[str, Any]], stage: str) -> None:
    """Print the metrics of one evaluation.

    Args:
        results: metrics by log key, of each loader.
        stage: validate or test.
    """
    table = Table(stage, "unit", Column("value", justify="right"))
    for key, value in sorted((key, value) for result in results for key, value in result.items()):
        unit = unit_of(key)
        table.add_row(Text(key), unit, format_value(float(value), unit))
    table_console().print(table)
