"""From latents to a plane and back: PCA, t-SNE or UMAP, and how far the plane can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqae.extras import extra

Method = Literal["pca", "tsne", "umap"]
Points = NDArray[np.float32]

BLOCK = 2**16  # rows at a time
NEAREST = 8  # points that a latent off the plane is made of
TRUST_NEIGHBOURS = 12
TRUST_SAMPLE = 2_000  # the measure takes the square of it: 0.4 s


@dataclass(frozen=True)
class Plane:
    """Latents on a plane.

    Attributes:
        method: how they came there.
        seed: of t-SNE and UMAP.
        latents: (n, Z).
        points: (n, 2), their places.
        mean: (Z,), and
        axes: (2, Z), orthonormal, for PCA alone.
        explained: the share of the variance that the plane keeps, for PCA alone.
    """

    method: Method
    seed: int
    latents: Points
    points: Points
    mean: NDArray[np.float64] | None = None
    axes: NDArray[np.float64] | None = None
    explained: float | None = None

    @property
    def invertible(self) -> bool:
        """Whether each point of the plane is a latent by itself."""
        return self.axes is not None

    def project(self, latents: NDArray[Any]) -> Points:
        """Place more latents: by PCA, or else between the nearest ones that have a place.

        Args:
            latents: (m, Z).

        Returns:
            (m, 2).
        """
        if self.mean is not None and self.axes is not None:
            return _project(np.asarray(latents), self.mean, self.axes)
        return _between(np.asarray(latents, np.float32), self.latents, self.points)

    def inverse(self, points: NDArray[Any]) -> Points:
        """Return the latents of the plane itself, which of all dimensions has but two.

        Args:
            points: (m, 2).

        Returns:
            (m, Z).

        Raises:
            ValueError: if the plane is none of PCA.
        """
        if self.mean is None or self.axes is None:
            raise ValueError(
                f"`method` must be pca for an inverse, but it is {self.method} instead. Call "
                f"`latents_at`, which takes any."
            )
        return (self.mean + np.asarray(points) @ self.axes).astype(np.float32)

    def latents_at(self, points: NDArray[Any]) -> Points:
        """Make latents for places on the plane, such that the place of a latent gives that latent.

        Between the places they are means of the nearest latents, weighted by the inverse square of
        the distance (Shepard, 1968). By PCA this holds of the part off the plane alone: the part
        on it is exact, and `project` gives the points back.

        Args:
            points: (m, 2).

        Returns:
            (m, Z).
        """
        points = np.asarray(points, np.float32)
        if self.mean is None or self.axes is None:
            return _between(points, self.points, self.latents)
        residuals = self.latents - self.inverse(self.points)
        return self.inverse(points) + _between(points, self.points, residuals)

    def distances(self, points: NDArray[Any]) -> NDArray[np.float32]:
        """Measure how far places are from the nearest latent's place.

        Args:
            points: (m, 2).

        Returns:
            (m,), in units of the plane.
        """
        return _nearest(np.asarray(points, np.float32), self.points, 1)[0][:, 0]


def plane(latents: NDArray[Any], method: Method = "pca", seed: int = 0) -> Plane:
    """Project latents onto a plane.

    Args:
        latents: (n, Z).
        method: `pca`, which is instant, linear and invertible; `tsne`, which keeps neighbours
            together and needs the extra `map`; or `umap`, if umap-learn is installed.
        seed: of t-SNE and UMAP.

    Raises:
        ValueError: if there are no latents, or some are not finite.
        ModuleNotFoundError: if the method is not installed.
    """
    own = np.ascontiguousarray(latents, np.float32)
    if own.ndim != 2 or not len(own) or not np.isfinite(own).all():
        raise ValueError(
            f"`latents` must be finite numbers of shape (n, Z), n at least 1, but the shape is "
            f"{own.shape} or some are not finite instead. Check what encoded them."
        )
    if method == "pca" or len(own) < 5:  # the others need neighbours
        mean, axes, explained = principal_axes(own)
        return Plane("pca", seed, own, _project(own, mean, axes), mean, axes, explained)
    points = _tsne(own, seed) if method == "tsne" else _umap(own, seed)
    return Plane(method, seed, own, np.ascontiguousarray(points, np.float32))


def principal_axes(
    latents: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Find the plane of the greatest variance.

    The sign of a component, which is arbitrary, makes its largest number positive.

    Args:
        latents: (n, Z).

    Returns:
        The mean, (Z,); two orthonormal axes, (2, Z), the second of zeros if Z is 1; and the share
        of the variance on the plane.
    """
    size = latents.shape[1]
    mean = latents.mean(axis=0, dtype=np.float64) if len(latents) else np.zeros(size)
    products = np.zeros((size, size))
    for start in range(0, len(latents), BLOCK):
        block = latents[start : start + BLOCK] - mean
        products += block.T @ block
    values, vectors = np.linalg.eigh(products)  # ascending
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    both = np.zeros((2, size))
    both[: axes.shape[1]] = axes.T
    total = float(values.sum())
    return mean, both, float(values[-2:].sum()) / total if total > 0 else 1.0


def trustworthiness(
    latents: NDArray[Any], points: NDArray[Any], neighbours: int = TRUST_NEIGHBOURS, seed: int = 0
) -> tuple[float | None, int]:
    """Measure whether neighbours on the plane are neighbours among the latents.

    It is exact, by Euclidean distances (Venna and Kaski, 2001; as scikit-learn's), on at most 2,000
    rows, which are drawn if there are more.

    Args:
        latents: (n, Z).
        points: (n, 2).
        neighbours: how many; fewer than half of the rows.
        seed: of the draw.

    Returns:
        Up to 1, which is perfect, or None for fewer than 4 rows; and the neighbours it is over.
    """
    rows = sample_rows(len(latents), TRUST_SAMPLE, seed)
    count = len(rows)
    neighbours = min(neighbours, (count - 1) // 2)
    if neighbours < 1:
        return None, 0
    far = _square_distances(np.asarray(latents, np.float64)[rows])
    near = _square_distances(np.asarray(points, np.float64)[rows])
    chosen = np.argpartition(near, neighbours, axis=1)[:, : neighbours + 1]
    excess = np.empty(chosen.shape)
    for place in range(neighbours + 1):  # of a row itself the rank is 0
        own = np.take_along_axis(far, chosen[:, place : place + 1], axis=1)
        excess[:, place] = (far < own).sum(axis=1) - neighbours
    penalty = float(excess[excess > 0].sum())
    worst = count * neighbours * (2 * count - 3 * neighbours - 1)
    return 1 - penalty * 2 / worst, neighbours


def sample_rows(total: int, most: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw rows without repetition, in their order; all of them if there are few enough.

    Args:
        total: number of rows.
        most: number to draw.
        seed: of the draw.
    """
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


def _project(latents: NDArray[Any], mean: NDArray[Any], axes: NDArray[Any]) -> Points:
    points = np.zeros((len(latents), 2), np.float32)
    for start in range(0, len(latents), BLOCK):
        points[start : start + BLOCK] = (latents[start : start + BLOCK] - mean) @ axes.T
    return points


def _square_distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (rows**2).sum(axis=1)
    distances: NDArray[np.float64] = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distances, -1.0)  # rounding must not put another row before itself
    return distances


def _nearest(
    queries: Points, rows: Points, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the distances and indices of the nearest rows, (m, count) each, nearest first."""
    count = min(count, len(rows))
    all_distances, indices = [np.zeros((0, count), np.float32)], [np.zeros((0, count), np.int64)]
    step = max(1, 2**24 // (len(rows) * rows.shape[1]))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        squares = ((block[:, None] - rows[None]) ** 2).sum(axis=2)
        nearest = np.argpartition(squares, count - 1, axis=1)[:, :count]
        own = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(own, axis=1, kind="stable")
        all_distances.append(np.sqrt(np.take_along_axis(own, order, axis=1)))
        indices.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(all_distances), np.concatenate(indices)


def _between(queries: Points, rows: Points, values: Points) -> Points:
    """Interpolate the values of rows at queries by inverse square distances."""
    distances, indices = _nearest(queries, rows, NEAREST)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (distances[:, :1] / distances) ** 2  # against overflow: the nearest has 1
    weights = np.nan_to_num(weights, nan=1.0)  # 0 / 0: on a row
    weights /= weights.sum(axis=1, keepdims=True)
    made: Points = np.einsum("mk,mkz->mz", weights, values[indices]).astype(np.float32)
    return made


def _tsne(latents: Points, seed: int) -> NDArray[Any]:
    """Belkina et al. (2019) for the rate, Kobak and Berens (2019) for the start: openTSNE's own."""
    with extra("map"):
        from openTSNE import TSNE  # type: ignore[import-untyped]
    perplexity = min(30.0, (len(latents) - 1) / 3)
    return np.asarray(
        TSNE(perplexity=perplexity, metric="cosine", random_state=seed, n_jobs=1).fit(latents)
    )


def _umap(latents: Points, seed: int) -> NDArray[Any]:
    try:
        from umap import UMAP  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "`method` must be pca or tsne without umap-learn, but it is umap instead. Choose one "
            "of them, or install it: pip install umap-learn",
            name="umap",
        ) from None
    neighbours = min(15, len(latents) - 1)
    made = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(latents))
