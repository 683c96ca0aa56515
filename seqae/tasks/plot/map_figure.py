"""The map of latents as a figure: points, their colours, and the words of clusters."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqae.extras import extra
from seqae.tasks.plot.figure_style import COLORS, COLUMN, FAINT, INCH, styled
from seqae.web.columns import numbers
from seqae.web.payload import LatentMap, Projection

if TYPE_CHECKING:
    with extra("plot"):
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure

MOST_VECTORS = 2000  # points; of more, the points of an SVG or PDF are an image at 300 dots an inch
MOST_LABELS = len(COLORS)  # with a colour of their own; the rest are grey
LEGEND = 21  # letters of a label: two columns are as wide as one of a paper
OTHERS = "#c3c8cf"
UNITS = {"length": "length (words)", "error": "error (edits per word)"}
AXES = {"pca": "PC", "tsne": "t-SNE", "umap": "UMAP"}
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def map_figure(found: LatentMap, color: str | None = None, width: float = COLUMN) -> Figure:
    """Draw a map of latents, with what is needed to judge it written below.

    Args:
        found: the map, as `seqae.web.latent_map` makes it.
        color: the name of its column to colour by, such as `length`, `error` or `label`; `none`
            for one colour; by default labels if there are any, or else clusters.
        width: in mm.

    Raises:
        ValueError: if the map has no such column.
    """
    name = choose_color(found, color)
    x, y = numbers(found["x"]), numbers(found["y"])
    with styled():
        with extra("plot"):
            from matplotlib.figure import Figure

        share = 0.86 if width < 2 * COLUMN else 0.7
        figure = Figure(figsize=(width / INCH, width * share / INCH))
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.set_aspect("equal", adjustable="datalim")
        area = float(np.clip(4000 / max(len(x), 1), 0.6, 14)) * (width / COLUMN)
        how: dict[str, Any] = {
            "s": area,
            "linewidths": 0,
            "alpha": 0.9 if len(x) < 500 else 0.6,
            "rasterized": len(x) > MOST_VECTORS,
        }
        if name is None:
            axes.scatter(x, y, color=COLORS[0], **how)
        elif name in found["categories"]:
            values = numbers(found["colours"][name]).astype(int)
            _draw_labels(figure, axes, (x, y), values, found["categories"][name], how, width)
        else:
            values = numbers(found["colours"][name])
            # A few very long sentences would leave all others one colour.
            most = float(np.percentile(values, 99)) if len(values) else 1.0
            how |= {"c": values, "cmap": "viridis", "vmax": most}
            points = axes.scatter(x, y, **how)
            is_cut = bool((values > most).any())
            shape: dict[str, Any] = {"shrink": 0.7, "aspect": 25, "pad": 0.02}
            bar: Any = figure.colorbar(
                points, ax=axes, extend="max" if is_cut else "neither", **shape
            )
            bar.solids.set_alpha(1)
            bar.outline.set_visible(False)
            bar.set_label(UNITS.get(name, name))
        if color is None or name == "cluster":
            _write_clusters(axes, found)
        _name_axes(axes, found["projection"])
        said = fill(describe(found["projection"]), int(width / 1.25))
        figure.supxlabel(said, fontsize=6.5, color=FAINT, x=0.02, ha="left")
        return figure


def choose_color(found: LatentMap, color: str | None) -> str | None:
    """Choose the column to colour a map by; None: one colour for all points.

    Raises:
        ValueError: if the map has no such column.
    """
    known = list(found["colours"])
    if color == "none":
        return None
    if color is None:
        return next(
            (name for name in ("label", "cluster", *found["categories"]) if name in known), None
        )
    if color not in known:
        raise ValueError(
            f"`color` must be one of {', '.join([*known, 'none'])}, but it is {color} instead. "
            f"Choose one of these; `label` needs labels."
        )
    return color


def describe(projection: Projection) -> str:
    """Say in a line how the plane was made, and how far it can be trusted."""
    said = METHODS[projection["method"]]
    if projection["part"] is not None:
        said += f" of the {projection['part']}"
    if projection["method"] != "pca":
        said += f", seed {projection['seed']}"
    if (explained := projection["explained"]) is not None:
        said += f", {100 * explained:.0f} % of the variance"
    if (trust := projection["trustworthiness"]) is not None:
        said += f", trustworthiness {trust:.2f} (k = {projection['neighbours']})"
    shown, total = projection["shown"], projection["total"]
    of_all = "" if shown == total else f" of {total:,}"
    return f"{said}; {shown:,}{of_all} texts"


def _draw_labels(
    figure: Figure,
    axes: Axes,
    points: tuple[NDArray[Any], NDArray[Any]],
    values: NDArray[Any],
    labels: list[str],
    how: dict[str, Any],
    width: float,
) -> None:
    """Draw the most frequent labels in colours and the rest in grey, below them."""
    counts = np.bincount(values, minlength=len(labels))
    order = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    # A legend of more than these says nothing that colours can still tell.
    chosen = order if len(order) <= MOST_LABELS else order[: MOST_LABELS - 1]
    rest = ~np.isin(values, chosen)
    x, y = points
    handles = []
    if rest.any():
        axes.scatter(x[rest], y[rest], color=OTHERS, **how)
    # Drawn point by point in the order of rows, so that no label hides another.
    colors = dict(zip(chosen, COLORS, strict=False))
    axes.scatter(x[~rest], y[~rest], c=[colors[int(value)] for value in values[~rest]], **how)
    how = {"linestyle": "", "marker": "o", "markersize": 4}
    with extra("plot"):
        from matplotlib.lines import Line2D

    named = [(labels[label], colors[label]) for label in chosen]
    named += [("others", OTHERS)] if rest.any() else []
    handles = [
        Line2D([], [], color=color, label=_cut(name, LEGEND), **how) for name, color in named
    ]
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(width // (longest * 1.5 + 7))))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 4 * rows / INCH)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, handletextpad=0.2, columnspacing=1
    )


def _write_clusters(axes: Axes, found: LatentMap) -> None:
    """Write the words of clusters at their places, the largest first, where there is room."""
    with extra("plot"):
        from matplotlib.patheffects import withStroke

    x, y = numbers(found["x"]), numbers(found["y"])
    if not len(x):
        return
    extent = max(np.ptp(x), np.ptp(y)) or 1.0
    # In the units of the axes: two thirds of the figure's height are as much as the points take.
    height = axes.figure.get_figheight() * INCH  # type: ignore[union-attr] # of no subfigure
    letter, line = (extent / (0.66 * height) * size for size in (1.3, 3.4))
    taken: list[tuple[float, float, float]] = []
    for cluster in sorted(found["clusters"], key=lambda own: -own["count"]):
        text = _cut(", ".join(cluster["words"][:3]), 30)
        reach = len(text) * letter / 2
        left = cluster["x"], cluster["y"]
        is_free = all(
            abs(left[0] - other[0]) > reach + other[2] or abs(left[1] - other[1]) > line
            for other in taken
        )
        if text and is_free:
            taken.append((*left, reach))
            halo = [withStroke(linewidth=1.8, foreground="white")]
            axes.text(*left, text, ha="center", va="center", fontsize=6.5, path_effects=halo)


def _name_axes(axes: Axes, projection: Projection) -> None:
    name = AXES[projection["method"]]
    axes.set_xlabel(f"{name} 1")
    axes.set_ylabel(f"{name} 2")
    if projection["method"] != "pca":  # their scale means nothing
        axes.set_xticks([])
        axes.set_yticks([])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip(" ·,") + "…"
