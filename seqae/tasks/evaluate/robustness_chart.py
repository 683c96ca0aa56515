"""The robustness curve, printed and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from seqae.tasks.charts import Line, Panel, draw
from seqae.tasks.evaluate.robustness import NOISE, TOLD, Curve
from seqae.terminal import table_console
from seqae.units import format_value

COLORS = {"model": "#0d3b66", TOLD: "#c8553d"}
NAMES = {"model": "", TOLD: "told"}
BARS = "▁▂▃▄▅▆▇█"

TICKS = [f"{noise:g}" for noise in NOISE]


def show_curves(curves: Mapping[str, Curve]) -> None:
    """Print the curves as numbers over bars."""
    if not curves:
        return
    table = Table(
        title="reconstruction from latents with noise, in standard deviations",
        title_justify="left",
        show_edge=False,
    )
    table.add_column("noise", no_wrap=True)
    for tick in TICKS:
        table.add_column(tick, justify="right", min_width=5)
    for name, curve in curves.items():
        suffix = f", {NAMES[name]}" if NAMES[name] else ""
        table.add_row(f"exact match, %{suffix}", *_cells([100 * x for x in curve.exact_match]))
        table.add_row(f"BLEU{suffix}", *_cells(curve.bleu))
    table_console().print(table)


def picture(curves: Mapping[str, Curve], caption: str) -> str:
    """Draw the curves: the text of an .svg file."""
    shares = {
        "Exact match, %": {n: [100 * x for x in curve.exact_match] for n, curve in curves.items()},
        "BLEU": {n: list(curve.bleu) for n, curve in curves.items()},
    }
    panels = [
        Panel(
            title,
            "noise of the latent, standard deviations",
            TICKS,
            [Line(NAMES[name], values, COLORS[name]) for name, values in lines.items()],
            show_values=len(lines) == 1,
        )
        for title, lines in shares.items()
    ]
    return draw(panels, caption)


def _cells(values: Sequence[float]) -> list[Text]:
    """Format values from 0 to 100, each over a bar as high."""
    bars = [BARS[min(int(value / 100 * len(BARS)), len(BARS) - 1)] for value in values]
    shown = [format_value(value, "0 to 100") for value in values]
    return [Text(f"{number}\n{bar}") for number, bar in zip(shown, bars, strict=True)]
