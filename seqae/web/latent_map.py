"""The map of a latent space: places, neighbours, colours and named groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqae.web.clusters import CLUSTERS, cluster_words, clusters
from seqae.web.columns import column
from seqae.web.payload import Cluster, Column, LatentMap
from seqae.web.projection import Method, Plane, plane, trustworthiness

NEIGHBOURS = 8
MOST_NEIGHBOURS = 20_000  # rows of which neighbours are searched: exact search takes their square
MAX_CATEGORIES = 255

CLUSTER = "cluster"


def latent_map(
    latents: NDArray[np.float32],
    texts: Sequence[str],
    labels: Mapping[str, Sequence[str]] | None = None,
    colours: Mapping[str, Sequence[float] | NDArray[np.float32]] | None = None,
    predictions: Sequence[str] | None = None,
    method: Method = "pca",
    seed: int = 0,
    part: str | None = None,
    total: int | None = None,
    groups: int = CLUSTERS,
) -> tuple[LatentMap, Plane]:
    """Draw the map of texts.

    Args:
        latents: (n, Z), of all texts, or the part of them that is called `part`.
        texts: n.
        labels: columns of n labels each, to colour by; the 254 most frequent ones keep their name.
        colours: columns of n numbers each, to colour by; the number of words is always there.
        predictions: n, what came back.
        method: of the projection; see `plane`.
        seed: of projection, groups and sample.
        part: the name of the part of the latent.
        total: of how many texts these are a sample; by default of no more.
        groups: number of clusters, 0 for none.

    Returns:
        The map, and the plane that maps latents to points and back.

    Raises:
        ValueError: if there are no texts, or a column has another length.
    """
    own = np.ascontiguousarray(latents, np.float32)
    columns = {"texts": texts, **(labels or {}), **(colours or {})}
    columns |= {} if predictions is None else {"predictions": predictions}
    for name, values in columns.items():
        if len(values) != len(own):
            raise ValueError(
                f"`{name}` must have one value for each of the {len(own):,} latents, but has "
                f"{len(values):,} instead. Give both in the same order."
            )
    made = plane(own, method, seed)
    trust, over = trustworthiness(own, made.points, seed=seed)
    lengths = np.asarray([len(text.split()) for text in texts], np.uint32)
    drawn = {"length": column(lengths)}
    drawn |= {name: column(np.asarray(values)) for name, values in (colours or {}).items()}
    categories: dict[str, list[str]] = {}
    for name, values in (labels or {}).items():
        categories[name], drawn[name] = _categories(values)
    found: list[Cluster] = []
    if groups > 0:
        rows = clusters(own, groups, seed)
        found = _named(rows, texts, made)
        drawn[CLUSTER] = column(rows)
        categories[CLUSTER] = [" · ".join(group["words"]) for group in found]
    x, y = made.points.T
    nearest = neighbours(own) if len(own) <= MOST_NEIGHBOURS else None
    return {
        "projection": {
            "method": made.method,
            "part": part,
            "seed": seed,
            "invertible": made.invertible,
            "trustworthiness": trust,
            "neighbours": over,
            "explained": made.explained,
            "shown": len(own),
            "total": len(own) if total is None else total,
        },
        "x": column(x, steps=True),
        "y": column(y, steps=True),
        "texts": list(texts),
        "predictions": None if predictions is None else list(predictions),
        "colours": drawn,
        "categories": categories,
        "clusters": found,
        "neighbour_count": 0 if nearest is None else nearest.shape[1],
        "neighbours": None if nearest is None else column(nearest),
    }, made


def neighbours(latents: NDArray[np.float32], count: int = NEIGHBOURS) -> NDArray[np.int64]:
    """Find the nearest rows of each row by cosine, without itself.

    Args:
        latents: (n, Z).
        count: of neighbours; fewer if there are not as many rows.

    Returns:
        (n, count), the nearest first.
    """
    norms = np.linalg.norm(latents, axis=1, keepdims=True)
    unit = latents / np.maximum(norms, np.finfo(np.float32).tiny)
    count = max(0, min(count, len(unit) - 1))
    found = np.zeros((len(unit), count), np.int64)
    if count == 0:
        return found
    step = max(1, 2**22 // len(unit))
    for start in range(0, len(unit), step):
        similarities = unit[start : start + step] @ unit.T
        rows = np.arange(len(similarities))
        similarities[rows, start + rows] = -np.inf
        best = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarities, best, axis=1), axis=1, kind="stable")
        found[start : start + step] = np.take_along_axis(best, order, axis=1)
    return found


def _categories(values: Sequence[str]) -> tuple[list[str], Column]:
    """Number the labels, the most frequent first; the rarest of too many are one, `other`."""
    names, rows, counts = np.unique(
        np.asarray(values, dtype=str), return_inverse=True, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    kept = [str(names[index]) for index in order]
    if len(kept) > MAX_CATEGORIES:
        kept = [*kept[: MAX_CATEGORIES - 1], "other"]
        places = np.minimum(places, MAX_CATEGORIES - 1)
    return kept, column(places[rows])


def _named(rows: NDArray[np.int64], texts: Sequence[str], made: Plane) -> list[Cluster]:
    found: list[Cluster] = []
    for group, words in enumerate(cluster_words(texts, rows)):
        x, y = np.median(made.points[rows == group], axis=0)
        size = int((rows == group).sum())
        found.append({"words": words, "count": size, "x": float(x), "y": float(y)})
    return found
