"""The columns that Embedding Atlas draws, https://apple.github.io/embedding-atlas.

    embedding-atlas a.parquet --text text --x projection_x --y projection_y --neighbors neighbors

The names are those of its own documentation. A value of `neighbors` is {"ids": [...], "distances":
[...]}: numbers of rows from 0, nearest first and a row itself among them, as in what it computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqae.bundle.operations.latent_ops import Latents, nearest
from seqae.web.projection import Method, plane

NEIGHBOURS = 15  # as many as Embedding Atlas computes itself
MOST = 50_000  # rows whose neighbours are searched: exact search takes their square, then a minute


def check_projection(projection: Method | None, output: str | None) -> None:
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


def columns_for_atlas(latents: Latents, method: Method = "pca") -> dict[str, Any]:
    """Make the columns of coordinates and neighbours.

    Args:
        latents: (n, Z).
        method: of the projection.

    Returns:
        `projection_x` and `projection_y`, (n,) float32, and up to 50,000 rows `neighbors`, a list
        of n, by cosine.
    """
    x, y = plane(latents, method).points.T if len(latents) else np.zeros((2, 0), np.float32)
    columns: dict[str, Any] = {"projection_x": x, "projection_y": y}
    if 0 < len(latents) <= MOST:
        similarities, rows = nearest(latents, latents, NEIGHBOURS)
        distances = np.maximum(1 - similarities, 0.0)  # rounding makes a row's own -1e-7
        columns["neighbors"] = [
            {"ids": ids, "distances": own}
            for ids, own in zip(rows.tolist(), distances.tolist(), strict=True)
        ]
    return columns
