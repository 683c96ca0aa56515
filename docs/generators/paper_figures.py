"""The figures of `seqae plot`, of the demo model, a training and a benchmark of this repository.

    python docs/generators/paper_figures.py FOLDER

draws them into a folder, to look at; the site has them in its gallery.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import seqae
from seqae.tasks.evaluate.robustness import NOISE, robustness
from seqae.tasks.evaluate.texts import read_split
from seqae.tasks.inputs import EVALUATE
from seqae.tasks.plot import (
    curves_figure,
    lengths_figure,
    map_figure,
    panels_figure,
    rate_figure,
    read_curves,
    read_lengths,
    read_map,
    read_robustness,
    save_figure,
)
from seqae.tasks.plot.figure_style import PAGE
from seqae.tasks.plot.line_figures import Rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
POINTS = 1000
SENTENCES = 100


def training() -> Figure:
    """Draw the curves of a training by the recipe `fluent`, as it has logged them."""
    return curves_figure([read_curves(ROOT / "docs" / "examples" / "fluent")], width=PAGE)


def noise() -> Figure:
    """Measure and draw how the demo fares with noise in its latents."""
    model = seqae.load("demo")
    texts = read_split(model, Path("demo"), "test", EVALUATE).sample(SENTENCES, 0).inputs
    told = {name: asdict(curve) for name, curve in robustness(model, texts, texts, 0).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evaluation.json"
        path.write_text(json.dumps({"robustness": {"noise": NOISE, **told}}), encoding="utf-8")
        return panels_figure(read_robustness([str(path)]), width=PAGE)


def lengths() -> Figure:
    """Draw the demo's own test by the length of sentences."""
    return lengths_figure({"demo": read_lengths("demo")})


def sizes() -> Figure:
    """Draw the benchmark of one recipe over sizes of the latent."""
    results = ROOT / "benchmarks" / "results" / "rate_distortion.json"
    runs = json.loads(results.read_text(encoding="utf-8"))["result"]["runs"]
    scores = {name: run["scores"]["model"] for name, run in runs.items()}
    return rate_figure(
        [
            Rate(name, int(name.rpartition("_z")[2]), own["exact_match"], own["bleu"], None, None)
            for name, own in scores.items()
        ]
    )


def by_length() -> Figure:
    """Map the demo's latents, coloured by length."""
    return map_figure(read_map("demo", limit=POINTS), "length")


def by_cluster() -> Figure:
    """Map the demo's latents by t-SNE, with the words of clusters."""
    return map_figure(read_map("demo", method="tsne", limit=POINTS), "cluster", PAGE)


FIGURES: dict[str, tuple[str, Callable[[], Figure]]] = {
    "map-length": ("`seqae plot map demo --color length`", by_length),
    "map-cluster": ("`seqae plot map demo --method tsne --width 178`", by_cluster),
    "curves": ("`seqae plot curves runs/fluent --width 178`", training),
    "robustness": ("`seqae plot robustness runs/demo --width 178`", noise),
    "lengths": ("`seqae plot lengths demo`", lengths),
    "rate": ("`seqae plot rate runs/z16 runs/z32 ...`, which differ in `latent_dim` alone", sizes),
}


def write_figures(folder: Path) -> str:
    """Draw all figures.

    Args:
        folder: of what is generated; it is made. A figure that is there already stays, because
            some take seconds.

    Returns:
        Markdown that shows them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for name, (command, draw) in FIGURES.items():
        path = folder / f"figure-{name}.svg"
        if not path.exists():
            save_figure(draw(), path)
        shown.append(f"{command}:\n\n![{draw.__doc__}]({path.name})\n")
    return "\n".join(shown)


if __name__ == "__main__":
    print(write_figures(Path(sys.argv[1])))
