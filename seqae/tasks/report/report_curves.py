"""The curves of a report: what runs have logged, thin enough for a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from seqae.tasks.plot.figure_inputs import read_curves
from seqae.web.payload import Curve, RunCurves, Series

POINTS = 500  # of a curve at most: there are not many more pixels


class Told(NamedTuple):
    """A log key that tells of a collapse, its axis, and how to read it."""

    label: str
    meaning: str


COLLAPSE = {
    "val/active_units": Told(
        "active units",
        "Dimensions of the latent that vary from sentence to sentence. If they fall to zero, "
        "the decoder no longer uses the latent: raise free_bits, or warm the KL term up longer.",
    ),
    "val/shuffle_gap": Told(
        "shuffle gap (nats per token)",
        "What the decoder loses with the latent of another sentence. Near zero it ignores the "
        "latent.",
    ),
    "val/mutual_information": Told(
        "mutual information (nats)",
        "What a latent tells about its sentence, as far as the sentences measured can show.",
    ),
}


def curves_of(run: str, name: str) -> RunCurves:
    """Read the curves of a run, each of at most 500 points.

    Args:
        run: its folder.
        name: for the page.

    Raises:
        ValueError: if it is no run, or its metrics are damaged.
    """
    read = read_curves(run, name)
    return {"name": name, "series": {key: thinned(own) for key, own in read["series"].items()}}


def thinned(series: Series, points: int = POINTS) -> Series:
    """Leave out points, but of each stretch neither the lowest nor the highest.

    So spikes stay: a curve of means would hide them. The first and the last point stay too.

    Args:
        series: a curve.
        points: how many may be left.
    """
    steps, values = series["steps"], series["values"]
    if len(values) <= points:
        return series
    stretches = max(1, (points - 2) // 2)
    inner = range(1, len(values) - 1)
    kept = {0, len(values) - 1}
    for number in range(stretches):
        start = 1 + number * len(inner) // stretches
        end = 1 + (number + 1) * len(inner) // stretches
        if start < end:
            stretch = range(start, end)
            kept |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    rows = sorted(kept)
    return {"steps": [steps[row] for row in rows], "values": [values[row] for row in rows]}


def collapse_curves(curves: Mapping[str, Series]) -> list[Curve]:
    """Draw how much of the latent was used over the training, as far as the run has measured it.

    Args:
        curves: of a run.
    """
    return [
        {
            "title": "Use of the latent",
            "x_label": "step",
            "y_label": told.label,
            "lines": {told.label: curves[key]},
            "meaning": told.meaning,
        }
        for key, told in COLLAPSE.items()
        if key in curves
    ]
