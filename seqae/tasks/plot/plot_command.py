"""`seqae plot`: figures for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seqae.bundle.find_bundle import find_folder
from seqae.extras import extra
from seqae.files import check_output
from seqae.tasks.compare import EVALUATION
from seqae.tasks.plot.figure_inputs import (
    METRICS_FILE,
    names_of,
    read_curves,
    read_lengths,
    read_rates,
    read_robustness,
)
from seqae.tasks.plot.figure_style import ENDINGS, save_figure
from seqae.tasks.plot.line_figures import (
    curves_figure,
    lengths_figure,
    panels_figure,
    rate_figure,
)

if TYPE_CHECKING:
    with extra("plot"):
        from matplotlib.figure import Figure

Kind = Literal["curves", "robustness", "lengths", "rate"]


def plot(
    kind: Kind,
    runs: list[str],
    output: str | None = None,
    width: float = 85.0,
    names: list[str] | None = None,
    keys: list[str] | None = None,
) -> None:
    """Draw a figure for a paper.

    Example:
        seqae plot curves runs/a runs/b --output curves.pdf --width 178
        seqae plot robustness runs/mine --output robustness.svg

    Args:
        kind: what to draw: `curves` of trainings; `robustness` to noise in the latents; how well
            sentences of different `lengths` come back; or what comes back at which `rate`, the size
            or the cost of the latents.
        runs: folders of runs or bundles, or .json files of `evaluate`.
        output: a .svg, .pdf or .png file; the same data gives the same bytes.
        width: of the figure in mm; 85 is a column of most papers, 178 a page of two.
        names: of the runs, for the legend; by default the parts of their paths that differ.
        keys: for `curves`, the log keys to draw, such as train/loss val/bleu; by default loss and
            exact match.
    """
    if output is None:
        raise ValueError(f"`output` must be given. Write `--output {kind}.svg`.")
    read = [f"{find_folder(run)}/{name}" for run in runs for name in (METRICS_FILE, EVALUATION)]
    check_output(output, ENDINGS, [*runs, *read])
    if names is not None and len(names) != len(runs):
        raise ValueError(
            f"`names` must be as many as `runs`, {len(runs)}, but there are {len(names)} instead. "
            f"Give one for each."
        )
    if keys is not None and kind != "curves":
        raise ValueError(
            f"`keys` must be left out for `{kind}`, but it is {' '.join(keys)} instead. Leave it "
            f"out, or draw `curves`."
        )
    save_figure(_draw(kind, runs, names or names_of(runs), keys, width), Path(output))


def _draw(
    kind: Kind, runs: list[str], names: list[str], keys: list[str] | None, width: float
) -> Figure:
    if kind == "curves":
        curves = [read_curves(run, name) for run, name in zip(runs, names, strict=True)]
        return curves_figure(curves, keys, width)
    if kind == "robustness":
        return panels_figure(read_robustness(runs, names), width)
    if kind == "lengths":
        groups = {name: read_lengths(run) for run, name in zip(runs, names, strict=True)}
        return lengths_figure(groups, width=width)
    return rate_figure(read_rates(runs, names), width)
