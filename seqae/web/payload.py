"""What the page is given: plain data, written as JSON into the file or sent by the server.

Each part may be missing; the page leaves its section out. Texts are plain text: the page never
reads them as HTML. Columns of numbers are base64 (`Column`), so that 50,000 points stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal, TypedDict

from seqae.version import __version__

SCHEMA = 1

Door = Literal["report", "serve", "notebook"]
Verdict = Literal["good", "fair", "poor", "unknown"]


class Column(TypedDict):
    """Numbers in the order of rows: little-endian bytes in base64.

    `float32` as they are; `uint16` and `uint32` as they are, or, with `low` and `high`, steps from
    `low` to `high` (coordinates: 65,536 steps are finer than a screen).
    """

    dtype: Literal["float32", "uint8", "uint16", "uint32"]
    data: str
    low: float | None
    high: float | None


class Fact(TypedDict):
    """One line of the card at a glance, as `{"name": "latent", "value": "384 numbers, ..."}`."""

    name: str
    value: str


class Measure(TypedDict):
    """A measure beside its baseline, and what to think of it.

    `meaning` is one sentence for somebody who does not know the measure; `reason` says why the
    verdict is what it is.
    """

    group: str
    name: str
    value: float
    unit: str
    baseline: float | None
    baseline_name: str | None
    higher_is_better: bool
    verdict: Verdict
    meaning: str
    reason: str


class Series(TypedDict):
    """A curve: `values[i]` at `steps[i]`."""

    steps: list[float]
    values: list[float]


class RunCurves(TypedDict):
    """The curves of one run, by log key: `train/loss`, `val/exact_match`, `lr` ..."""

    name: str
    series: dict[str, Series]


class Piece(TypedDict):
    """A run of tokens with the same fate: read and written, only read, only written."""

    kind: Literal["same", "missing", "added"]
    text: str


class Reconstruction(TypedDict):
    """A sentence, what came back, and where they differ; `error` is edits for each word."""

    reference: str
    prediction: str
    pieces: list[Piece]
    error: float


class LengthGroup(TypedDict):
    """How well sentences of `low` to `high` words come back, as shares from 0 to 1.

    A `high` of 10⁹ has no end; `token_accuracy` is NaN, null in the file, if it was not measured.
    """

    low: int
    high: int
    count: int
    exact_match: float
    token_accuracy: float


class Path(TypedDict):
    """Sentences along a path between two; `positions` run from 0 to 1."""

    positions: list[float]
    texts: list[str]


class Sample(TypedDict):
    """A text drawn from the prior and the training sentence that is nearest to it."""

    text: str
    nearest: str | None
    similarity: float | None
    copied: bool


class Curve(TypedDict):
    """A named curve over something else than steps; robustness and collapse."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, Series]
    meaning: str


class Cluster(TypedDict):
    """A group of points and the words that tell it from the others."""

    words: list[str]
    count: int
    x: float
    y: float


class Projection(TypedDict):
    """How latents became two coordinates.

    `invertible` is True for PCA: a point of the plane is a latent. `trustworthiness` is that of
    Venna and Kaski (2001) over `neighbours` neighbours, 1 is perfect; `explained` the share of
    variance that the plane keeps. `shown` of `total` texts are on the map.
    """

    method: Literal["pca", "tsne", "umap"]
    part: str | None
    seed: int
    invertible: bool
    trustworthiness: float | None
    neighbours: int
    explained: float | None
    shown: int
    total: int


class LatentMap(TypedDict):
    """Points of the plane with their texts.

    `colours` names columns to colour by: numbers (`length`, `error`), or labels as indices into
    `categories[name]`. `neighbours` has, row by row, the `neighbour_count` nearest points in the
    latent space, nearest first.
    """

    projection: Projection
    x: Column
    y: Column
    texts: list[str]
    predictions: list[str] | None
    colours: dict[str, Column]
    categories: dict[str, list[str]]
    clusters: list[Cluster]
    neighbour_count: int
    neighbours: Column | None


class Model(TypedDict, total=False):
    """What is shown of one model; every part but `name` and `facts` may be missing.

    `notes` say what was not measured and why, or which command would.
    """

    name: str
    facts: list[Fact]
    measures: list[Measure]
    reconstructions: list[Reconstruction]
    lengths: list[LengthGroup]
    curves: list[Curve]
    paths: list[Path]
    samples: list[Sample]
    map: LatentMap
    notes: list[str]


class Payload(TypedDict, total=False):
    """The whole page.

    `door` says what is behind it: `report` and `notebook` have nothing behind them, `serve` a
    model that decodes points (seqae.tasks.serve describes its JSON API).
    """

    schema: int
    door: Door
    title: str
    made: str
    version: str
    models: list[Model]
    runs: list[RunCurves]


def payload_of(
    door: Door, title: str, models: Sequence[Model], runs: Sequence[RunCurves] = ()
) -> Payload:
    """Make what a page is given, with the version and the time of now.

    Args:
        door: what is behind the page.
        title: of the page.
        models: that it shows.
        runs: whose curves it shows.
    """
    return {
        "schema": SCHEMA,
        "door": door,
        "title": title,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "models": list(models),
        "runs": list(runs),
    }
