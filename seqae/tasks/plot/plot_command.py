"""`seqae plot`: figures for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqae.bundle.find_bundle import find_folder
from seqae.data.sources.records import ReadOptions
from seqae.extras import extra
from seqae.files import check_output
from seqae.tasks.compare import EVALUATION
from seqae.tasks.inputs import READING
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
from seqae.tasks.plot.map_figure import map_figure
from seqae.tasks.plot.map_inputs import ERROR, read_map
from seqae.web.projection import Method

if TYPE_CHECKING:
    with extra("plot"):
        from matplotlib.figure import Figure

Kind = Literal["map", "curves", "robustness", "lengths", "rate"]


def plot(
    kind: Kind,
    runs: list[str],
    output: str | None = None,
    width: float = 85.0,
    names: list[str] | None = None,
    keys: list[str] | None = None,
    input: str | None = None,  # noqa: A002 - the name of the option
    labels: str | None = None,
    color: str | None = None,
    method: Method = "pca",
    limit: int = 2000,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
) -> None:
    """Draw a figure for a paper.

    Example:
        seqae plot map demo --output map.pdf --color length
        seqae plot curves runs/a runs/b --output curves.pdf --width 178
        seqae plot robustness runs/mine --output robustness.svg

    Args:
        kind: what to draw: a `map` of latents; `curves` of trainings; `robustness` to noise in the
            latents; how well sentences of different `lengths` come back; or what comes back at
            which `rate`, the size or the cost of the latents.
        runs: folders of runs or bundles, or .json files of `evaluate`; for `map` one model.
        output: a .svg, .pdf or .png file; the same data gives the same bytes.
        width: of the figure in mm; 85 is a column of most papers, 178 a page of two.
        names: of the runs, for the legend; by default the parts of their paths that differ.
        keys: for `curves`, the log keys to draw, such as train/loss val/bleu; by default loss and
            exact match.
        input: for `map`, the sentences: a file, or anything else that `data.train` accepts; by
            default the test split of the data that the model was trained on.
        labels: for `map`, a .tsv or .jsonl file of text, label instead.
        color: for `map`, what colours the points: label, cluster, length, error or none; by default
            label if there are labels, or else cluster.
        method: for `map`, how latents become two coordinates: pca; tsne, with the extra `map`; umap
            if umap-learn is installed.
        limit: for `map`, the number of sentences, drawn at random; 0 takes all.
        seed: for `map`, of draw, projection and clusters.
        device: for `map`, where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is
            one.
        reading: for `map`, how the file is read; by default as those of the training.
    """
    if output is None:
        raise ValueError(f"`output` must be given. Write `--output {kind}.svg`.")
    read = [f"{find_folder(run)}/{name}" for run in runs for name in (METRICS_FILE, EVALUATION)]
    check_output(output, ENDINGS, [*runs, *read, input, labels])
    if names is not None and len(names) != len(runs):
        raise ValueError(
            f"`names` must be as many as `runs`, {len(runs)}, but there are {len(names)} instead. "
            f"Give one for each."
        )
    if kind != "curves":
        _check_unused({"keys": (keys, None)}, kind, "curves")
    if kind == "map":
        _check_unused({"names": (names, None)}, kind, "curves")
        if len(runs) > 1:
            raise ValueError(
                f"`runs` must be one model for `map`, but there are {len(runs)} instead. Draw one "
                f"figure for each."
            )
        found = read_map(
            *(runs[0], input, labels, method, limit, seed, device, reading),
            with_errors=color == ERROR,
        )
        save_figure(map_figure(found, color, width), output)
        return
    given: dict[str, tuple[Any, Any]] = {
        "input": (input, None),
        "labels": (labels, None),
        "color": (color, None),
    }
    given |= {"method": (method, "pca"), "limit": (limit, 2000), "seed": (seed, 0)}
    given |= {"device": (device, "auto"), "reading": (reading, READING)}
    _check_unused(given, kind, "map")
    save_figure(_draw(kind, runs, names or names_of(runs), keys, width), Path(output))


def _check_unused(options: dict[str, tuple[Any, Any]], kind: Kind, other: Kind) -> None:
    """Refuse options that are not at their default, since a kind of figure does not heed them."""
    for name, (value, default) in options.items():
        if value != default:
            shown = " ".join(value) if isinstance(value, list) else value
            shown = "given" if isinstance(value, ReadOptions) else f"{shown} instead"
            raise ValueError(
                f"`{name}` must be left out for `{kind}`, but it is {shown}. Leave it out, or draw "
                f"`{other}`."
            )


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
