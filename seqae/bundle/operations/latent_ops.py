"""Operations on latents: paths, neighbours and directions. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqae.component import check_choice, check_whole
from seqae.data.containers import read_array
from seqae.model.latents.latent_noise import MAX_NOISE

Latents = NDArray[np.float32]
Curve = Literal["spherical", "linear"]
Similarity = Literal["cosine", "euclidean"]

ROWS, COLUMNS = 2**10, 2**12  # block of similarities in memory at a time: 16 MiB


def check_latents(latents: NDArray[Any], latent_dim: int) -> Latents:
    """Convert latents to float32.

    Args:
        latents: numbers of any type.
        latent_dim: Z.

    Returns:
        (n, Z) float32.

    Raises:
        ValueError: if the shape is not (n, Z), or a number is not finite.
    """
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite: refused below
        latents = np.asarray(latents, dtype=np.float32)
    if latents.ndim != 2 or latents.shape[1] != latent_dim:
        raise ValueError(
            f"`latents` must be of shape (n, {latent_dim}), but it is {latents.shape} instead. "
            f"Decode with the model that encoded them."
        )
    if not np.isfinite(latents).all():
        raise ValueError(
            "`latents` must be finite, but it holds NaN or infinity instead. Drop such rows."
        )
    return latents


def read_latents(latents: Any, latent_dim: int) -> tuple[Latents, bool]:
    """Read latents from an array, a tensor or lists.

    Args:
        latents: (n, Z), or one of (Z,): numbers of any type.
        latent_dim: Z.

    Returns:
        (n, Z) float32, and whether it was one.

    Raises:
        ValueError: as `check_latents`, or if it is a table.
    """
    array = read_array("latents", latents)
    if array.shape == (0,):
        array = array.reshape(0, latent_dim)
    is_one = array.shape == (latent_dim,)
    return check_latents(array[None] if is_one else array, latent_dim), is_one


def between(start: Any, end: Any, steps: SupportsIndex, path: Curve = "spherical") -> Latents:
    """Place points evenly on the path from one vector to another.

    Args:
        start: (Z,), an array or a tensor.
        end: (Z,).
        steps: number of points, both ends included.
        path: `linear`, or `spherical`: along the arc between the vectors' directions (Shoemake
            1985; White 2016, arXiv:1609.04468), while the norm changes linearly. Vectors of equal
            or opposite direction define no arc and are joined by a line.

    Returns:
        (steps, Z) float32; the first and the last row equal the ends to the bit.

    Raises:
        ValueError: if the ends are not two vectors of one size, or a parameter is out of range.
    """
    steps = check_whole("steps", steps, 2, 10**6)
    check_choice("path", path, ("spherical", "linear"))
    a = read_array("start", start).astype(np.float64)
    b = read_array("end", end).astype(np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"`start` and `end` must be two latents (Z,), but they are of shape {a.shape} and "
            f"{b.shape} instead. Give one of each, such as `latents[0]`."
        )
    share = np.linspace(0.0, 1.0, steps)[:, None]
    norms = np.linalg.norm(a), np.linalg.norm(b)
    points = (1 - share) * a + share * b
    if path == "spherical" and min(norms) > 0:
        u, v = a / norms[0], b / norms[1]
        angle = np.arccos(np.clip(u @ v, -1.0, 1.0))
        if np.sin(angle) > 1e-6:
            arc = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.sin(angle)
            points = ((1 - share) * norms[0] + share * norms[1]) * arc
    points[0], points[-1] = a, b
    return points.astype(np.float32)


def at_unit_scale(latents: Any) -> Latents:
    """Scale latents (n, Z) so that their numbers have a mean square of one; zeros stay zeros."""
    latents = read_array("latents", latents).astype(np.float32)
    # The squares of large ones do not fit 32 bits.
    norms = np.linalg.norm(latents.astype(np.float64), axis=-1, keepdims=True)
    factor = (latents.shape[-1] ** 0.5 / np.maximum(norms, 1e-12)).astype(np.float32)
    scaled: Latents = latents * factor
    return scaled


def implied_noise(latents: Any, sources: Sequence[Any]) -> Latents:
    """Compute the σ at which latents are decoded that were made from those of sentences.

    A latent that noise of standard deviation σ has perturbed is at an angle of arctan(σ) from the
    sentence's own. So a latent is decoded at the tangent of its angle to the nearest source: a
    source itself at 0, the midpoint of two unrelated sentences at 1.

    Args:
        latents: (n, Z).
        sources: what they were made from, arrays of shape (n, Z) or (Z,).

    Returns:
        (n,) float32, at most `MAX_NOISE`.
    """
    points = read_array("latents", latents).astype(np.float64)
    cosines = [_cosine(points, read_array("sources", source)) for source in sources]
    cosine = np.clip(np.max(cosines, axis=0), 0.0, 1.0)
    # What rounding leaves of the angle of a latent to itself is no noise.
    cosine = np.where(cosine > 1 - 1e-6, 1.0, cosine)
    with np.errstate(divide="ignore"):
        noise = np.sqrt(1 - cosine**2) / cosine
    bounded: Latents = np.minimum(noise, MAX_NOISE).astype(np.float32)
    return bounded


def _cosine(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the cosines of rows (n, Z) with rows of (n, Z) or with (Z,)."""
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    cosine: NDArray[np.float64] = (left * right).sum(axis=-1) / np.maximum(norms, 1e-12)
    return cosine


def nearest(
    queries: Any, latents: Any, count: SupportsIndex, similarity: Similarity = "cosine"
) -> tuple[Latents, NDArray[np.int64]]:
    """Find the nearest latents of each query, exactly.

    Blocks bound the memory. For 2,000 queries among 50,000 latents of 256 dimensions the cosines of
    scikit-learn's NearestNeighbors took 1.3 GiB and five times as long.

    Args:
        queries: (n, Z).
        latents: (m, Z), where to search.
        count: neighbours of each query; fewer if m is less.
        similarity: `cosine`, or `euclidean` for minus the distance.

    Returns:
        Similarities (n, count), the highest first, and the neighbours' indices into `latents`.
    """
    count = check_whole("count", count, 1, 10**6)
    check_choice("similarity", similarity, ("cosine", "euclidean"))
    left = torch.from_numpy(read_array("queries", queries).astype(np.float32))
    right = torch.from_numpy(read_array("latents", latents).astype(np.float32))
    if similarity == "cosine":
        left, right = (torch.nn.functional.normalize(part, dim=1) for part in (left, right))
    count = min(count, len(right))
    blocks = [_nearest(block, right, count, similarity) for block in torch.split(left, ROWS)]
    values, indices = (torch.cat(parts).numpy() for parts in zip(*blocks, strict=True))
    return values, indices


def _nearest(
    queries: Tensor, latents: Tensor, count: int, similarity: Similarity
) -> tuple[Tensor, Tensor]:
    values = queries.new_empty(len(queries), 0)
    indices = torch.empty(len(queries), 0, dtype=torch.int64)
    for first in range(0, len(latents), COLUMNS):
        block = latents[first : first + COLUMNS]
        if similarity == "cosine":
            similarities = queries @ block.T
        else:  # a matrix product would lose the digits that tell near neighbours apart
            similarities = -torch.cdist(queries, block, compute_mode="donot_use_mm_for_euclid_dist")
        candidates = torch.cat([values, similarities], dim=1)
        columns = torch.arange(first, first + len(block)).expand(len(queries), -1)
        values, order = candidates.topk(min(count, candidates.shape[1]), dim=1)
        indices = torch.cat([indices, columns], dim=1).gather(1, order)
    return values, indices


def mean_difference(source: Latents, target: Latents) -> Latents:
    """Subtract the mean of one set of latents from that of another.

    Args:
        source: (n, Z).
        target: (m, Z).

    Returns:
        (Z,) float32, the direction from `source` to `target`.

    Raises:
        ValueError: if one of the sets is empty.
    """
    for name, latents in (("source", source), ("target", target)):
        if not len(latents):
            raise ValueError(f"`{name}` must have sentences, but it has none. Give some.")
    means = [latents.mean(axis=0, dtype=np.float64) for latents in (source, target)]
    direction: Latents = (means[1] - means[0]).astype(np.float32)
    return direction
