"""The columns that Embedding Atlas draws, https://apple.github.io/embedding-atlas.

    embedding-atlas a.parquet --text text --x projection_x --y projection_y --neighbors neighbors

The names are those of its own documentation. A value of `neighbors` is {"ids": [...], "distances":
[...]}: numbers of rows from 0, nearest first and a row itself among them, as in what it computes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents, nearest

AtlasProjection = Literal["pca"]

NEIGHBOURS = 15  # as many as Embedding Atlas computes itself
MOST = 50_000  # rows whose neighbours are searched: exact search takes their square, then a minute
BLOCK = 2**16  # rows at a time


def check_projection(projection: AtlasProjection | None, output: str | None) -> None:
    """Refuse a projection that the file cannot hold.

    Raises:
        ValueError: if the file is none of Parquet.
    """
    if projection is not None and not (output or "").endswith(".parquet"):
        raise ValueError(
            f"`output` must end in .parquet with `projection`, whose columns others have no place "
            f"for, but it is {output or 'left out, which prints JSON lines,'} instead. Name such a "
            f"file, or leave out `projection`."
        )


def columns_for_atlas(latents: Latents) -> dict[str, Any]:
    """Make the columns of coordinates and neighbours.

    Args:
        latents: (n, Z).

    Returns:
        `projection_x` and `projection_y`, (n,) float32, and up to 50,000 rows `neighbors`, a list
        of n, by cosine.
    """
    x, y = principal_plane(latents).T
    columns: dict[str, Any] = {"projection_x": x, "projection_y": y}
    if 0 < len(latents) <= MOST:
        similarities, rows = nearest(latents, latents, NEIGHBOURS)
        distances = np.maximum(1 - similarities, 0.0)  # rounding makes a row's own -1e-7
        columns["neighbors"] = [
            {"ids": ids, "distances": own}
            for ids, own in zip(rows.tolist(), distances.tolist(), strict=True)
        ]
    return columns


def principal_plane(latents: Latents) -> NDArray[np.float32]:
    """Project latents onto their first two principal components.

    The sign of a component, which is arbitrary, makes its largest number positive.

    Args:
        latents: (n, Z).

    Returns:
        (n, 2) float32; with a single dimension, zeros in the second column.
    """
    size = latents.shape[1]
    mean = latents.mean(axis=0, dtype=np.float64) if len(latents) else np.zeros(size)
    products = np.zeros((size, size))
    for start in range(0, len(latents), BLOCK):
        block = latents[start : start + BLOCK] - mean
        products += block.T @ block
    _, vectors = np.linalg.eigh(products)  # ascending
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    plane = np.zeros((len(latents), 2), np.float32)
    for start in range(0, len(latents), BLOCK):
        block = latents[start : start + BLOCK] - mean
        plane[start : start + BLOCK, : axes.shape[1]] = block @ axes
    return plane
