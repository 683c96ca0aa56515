"""Figures of lines: trainings, and a measure over noise, length or the size of the latent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqae.extras import extra
from seqae.metrics.definitions import METRICS, unit_of
from seqae.tasks.plot.figure_style import (
    COLORS,
    COLUMN,
    FAINT,
    Look,
    add_legend,
    looks,
    new_figure,
    styled,
)
from seqae.web.payload import Curve, LengthGroup, RunCurves, Series

if TYPE_CHECKING:
    with extra("plot"):
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure

DEFAULT_KEYS = ("train/loss", "val/loss", "val/exact_match")
ASPECT = 0.68
NOISY = 60  # points from which on the curve of a training is also averaged


class Rate(NamedTuple):
    """What one model costs and gives.

    Attributes:
        name: of the model.
        latent_dim: numbers of its latent, Z.
        exact_match: share of sentences, 0 to 1.
        bleu: 0 to 100.
        rate: KL in nats per sentence; None without a posterior.
        distortion: -log p(x|z) in nats per sentence; None without a posterior.
    """

    name: str
    latent_dim: int
    exact_match: float | None
    bleu: float | None
    rate: float | None
    distortion: float | None


def curves_figure(
    runs: Sequence[RunCurves], keys: Sequence[str] | None = None, width: float = COLUMN
) -> Figure:
    """Draw curves of trainings over their steps, one panel for each metric.

    What is measured at every few steps of a training varies from batch to batch, and is drawn
    faintly under its moving average over a twentieth of the points. Validations are drawn as they
    are.

    Args:
        runs: what to draw; `read_curves` reads one.
        keys: log keys, such as `train/loss` and `val/bleu`; by default loss and exact match.
        width: in mm; 85 is a column of most papers, 178 a page of two.

    Raises:
        ValueError: if a key is in none of the runs, or there is no run.
    """
    known = {key for run in runs for key in run["series"]}
    chosen = [key for key in DEFAULT_KEYS if key in known] if keys is None else list(keys)
    missing = [key for key in chosen if key not in known]
    if missing or not chosen:
        raise ValueError(
            f"`keys` must be of what the runs have logged, but none has "
            f"{missing[0] if missing else ' or '.join(DEFAULT_KEYS)}. Choose of "
            f"{', '.join(sorted(known)) or 'other runs'}."
        )
    names = list(dict.fromkeys(_measure(key) for key in chosen))
    with styled():
        figure, panels = new_figure(width, len(names), ASPECT)
        for axes, name in zip(panels, names, strict=True):
            own = [key for key in chosen if _measure(key) == name]
            for run, look in zip(runs, looks(len(runs)), strict=True):
                for key in own:
                    if key in run["series"]:
                        _draw_run(axes, key, run["series"][key], look)
            unit = unit_of(own[0])
            axes.set_ylabel(_axis_name(name, unit))
            axes.set_xlabel("optimizer steps")
            _count_in_thousands(axes)
            last = max(
                (
                    run["series"][key]["steps"][-1]
                    for key in own
                    for run in runs
                    if key in run["series"]
                ),
                default=1.0,
            )
            axes.set_xlim(0, 1.02 * last)
            if unit == "%":
                axes.set_ylim(0, 100)
        figure.align_ylabels()
        handles = [
            _line(look.color, label=run["name"])
            for run, look in zip(runs, looks(len(runs)), strict=True)
        ]
        handles = handles if len(runs) > 1 else []
        color = FAINT if handles else COLORS[0]
        is_train = {key.startswith("train/") for key in chosen}
        if is_train == {True, False}:
            handles += [
                _line(color, linestyle="--", label="training"),
                _line(color, marker="o", label="validation"),
            ]
        add_legend(figure, handles, width)
        return figure


def panels_figure(curves: Sequence[Curve], width: float = COLUMN) -> Figure:
    """Draw measures over something else than steps, one panel for each: robustness, collapse.

    Args:
        curves: their lines have the same names, in the same order; `read_robustness` reads them.
        width: in mm.
    """
    names = list(dict.fromkeys(name for curve in curves for name in curve["lines"]))
    with styled():
        figure, panels = new_figure(width, len(curves), ASPECT)
        chosen = dict(zip(names, looks(len(names)), strict=True))
        for axes, curve in zip(panels, curves, strict=True):
            for name, series in curve["lines"].items():
                look = chosen[name]
                x, y = _points(series)
                axes.plot(x, y, color=look.color, marker=look.marker, clip_on=False)
            axes.locator_params("x", nbins=5)
            axes.set_xlabel(curve["x_label"])
            axes.set_ylabel(curve["y_label"])
            if curve["y_label"].endswith(("(%)", "BLEU")):
                axes.set_ylim(0, 100)
        handles = [_line(look.color, look.marker, label=name) for name, look in chosen.items()]
        add_legend(figure, handles if len(names) > 1 else [], width)
        return figure


def lengths_figure(
    groups: Mapping[str, Sequence[LengthGroup]], unit: str = "words", width: float = COLUMN
) -> Figure:
    """Draw how many sentences of each length come back without any difference.

    Args:
        groups: for each model its lengths, from short to long; `read_lengths` reads those of one.
        unit: what lengths count, for the axis.
        width: in mm.

    Raises:
        ValueError: if there is no length.
    """
    ranges = sorted({(own["low"], own["high"]) for rows in groups.values() for own in rows})
    if not ranges:
        raise ValueError("`groups` must hold lengths, but there are none. Measure some sentences.")
    counts = {(own["low"], own["high"]): own["count"] for rows in groups.values() for own in rows}
    with styled():
        figure, (axes,) = new_figure(width, 1, ASPECT * min(1.0, 2 * COLUMN / (width + COLUMN)))
        chosen = dict(zip(groups, looks(len(groups)), strict=True))
        for name, rows in groups.items():
            positions = [ranges.index((own["low"], own["high"])) for own in rows]
            values = [100 * own["exact_match"] for own in rows]
            look = chosen[name]
            axes.plot(positions, values, color=look.color, marker=look.marker, clip_on=False)
        shown = [f"{low or 1}–{high}" if high < 10**6 else f"{low}+" for low, high in ranges]
        # What few sentences say is to be read with care, so their number stands below.
        sizes = [f"n = {counts[own]:,}" if counts[own] else "" for own in ranges]
        ticks = [f"{a}\n{b}" if b else a for a, b in zip(shown, sizes, strict=True)]
        axes.set_xticks(range(len(ranges)), ticks)
        axes.set_xlim(-0.3, len(ranges) - 0.7)
        axes.set_ylim(0, 100)
        axes.set_xlabel(f"{unit} of the sentence")
        axes.set_ylabel("exact match (%)")
        handles = [_line(look.color, look.marker, label=name) for name, look in chosen.items()]
        add_legend(figure, handles if len(groups) > 1 else [], width)
        return figure


def rate_figure(rates: Sequence[Rate], width: float = COLUMN) -> Figure:
    """Draw what models give over what their latents cost.

    If all have a posterior and a likelihood, that is the plane of rate and distortion (Alemi et
    al. 2018, arXiv:1711.00464): KL and -log p(x|z), with lines of equal ELBO. Otherwise it is exact
    match and BLEU over the numbers of a latent.

    Args:
        rates: the models; `read_rates` reads them.
        width: in mm.

    Raises:
        ValueError: if there is none.
    """
    if not rates:
        raise ValueError("`rates` must hold models, but there are none. Give some.")
    with styled():
        figure, (axes,) = new_figure(width, 1, ASPECT)
        if all(own.rate is not None and own.distortion is not None for own in rates):
            _draw_plane(axes, rates)
        else:
            add_legend(figure, _draw_sizes(axes, rates), width)
        return figure


def _draw_sizes(axes: Axes, rates: Sequence[Rate]) -> list[Any]:
    """Draw measures over sizes on a logarithmic axis, whose ticks are the sizes."""
    ordered = sorted(rates, key=lambda own: own.latent_dim)
    sizes = sorted({own.latent_dim for own in rates})
    measures = {
        "exact match (%)": [(r.latent_dim, r.exact_match, 100.0) for r in ordered],
        "BLEU": [(r.latent_dim, r.bleu, 1.0) for r in ordered],
    }
    handles = []
    for (name, rows), look in zip(measures.items(), looks(2), strict=True):
        points = [(size, value * scale) for size, value, scale in rows if value is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=look.color, marker=look.marker)
            handles.append(_line(look.color, look.marker, label=name))
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel("numbers of the latent")
    axes.set_ylabel("reconstruction")
    return handles


def _draw_plane(axes: Axes, rates: Sequence[Rate]) -> None:
    """Draw rate and distortion; a diagonal joins what has the same ELBO."""
    ordered = sorted(rates, key=lambda own: own.rate or 0.0)
    x = [own.rate or 0.0 for own in ordered]
    y = [own.distortion or 0.0 for own in ordered]
    axes.plot(x, y, color=COLORS[0], marker="o")
    for own, left, below in zip(ordered, x, y, strict=True):
        axes.annotate(
            own.name, (left, below), (4, 4), textcoords="offset points", fontsize=7, color="black"
        )
    axes.margins(x=0.2, y=0.15)
    (low_x, high_x), (low_y, high_y) = axes.get_xlim(), axes.get_ylim()
    low_x, low_y = max(0.0, low_x), max(0.0, low_y)
    axes.set_xlim(low_x, high_x)
    axes.set_ylim(low_y, high_y)
    for total in np.linspace(low_x + low_y, high_x + high_y, 8)[1:-1]:
        axes.axline(
            (low_x, total - low_x), slope=-1, color=FAINT, linewidth=0.5, alpha=0.5, zorder=0
        )
    axes.grid(visible=False)
    axes.set_xlabel("rate: KL (nats per sentence)")
    axes.set_ylabel("distortion: −log p(x|z)\n(nats per sentence)")


def _draw_run(axes: Axes, key: str, series: Series, look: Look) -> None:
    x, y = _points(series)
    if unit_of(key) == "%":
        y = 100 * y
    if not key.startswith("train/"):
        marker = look.marker if len(x) <= NOISY // 2 else ""
        axes.plot(x, y, color=look.color, marker=marker, clip_on=False)
        return
    if len(x) <= NOISY:
        axes.plot(x, y, color=look.color, linestyle="--", linewidth=1)
        return
    axes.plot(x, y, color=look.color, linewidth=0.4, alpha=0.35)
    axes.plot(x, moving_average(y, len(y) // 20), color=look.color, linestyle="--", linewidth=1)


def moving_average(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Average each value with those around it: up to half a window on each side, as many on both.

    Args:
        values: (n,).
        window: how many are averaged in the middle; at the ends fewer are.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(np.minimum(index, len(values) - 1 - index), window // 2)
    averages: NDArray[np.float64] = (sums[index + reach + 1] - sums[index - reach]) / (
        2 * reach + 1
    )
    return averages


def _points(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(series["steps"], float), np.asarray(series["values"], float)


def _measure(key: str) -> str:
    """Return what a key measures, in whatever stage: `val/loss` is a loss."""
    stage, _, name = key.partition("/")
    return name if stage in ("train", "val", "test") else key


def _axis_name(name: str, unit: str) -> str:
    label = METRICS[name].label if name in METRICS else name.replace("_", " ")
    return label if unit in ("", "0 to 100", "0 to 1", "-1 to 1") else f"{label} ({unit})"


def _count_in_thousands(axes: Axes) -> None:
    """Write 12,000 steps as 12k, which is read at a glance."""
    with extra("plot"):
        from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _line(color: str, marker: str = "", linestyle: str = "-", label: str = "") -> Any:
    """Make an entry of a legend."""
    with extra("plot"):
        from matplotlib.lines import Line2D

    how: dict[str, Any] = {"color": color, "marker": marker, "linestyle": linestyle}
    return Line2D([], [], **how, label=label)
