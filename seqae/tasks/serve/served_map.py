"""The map that is served: its texts, their latents, and the way between places and latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.tasks.serve.api_shapes import Near, Point
from seqae.web.latent_map import latent_map
from seqae.web.payload import LatentMap
from seqae.web.projection import Method, Plane, sample_rows

NEIGHBOURS = 8


@dataclass(frozen=True)
class ServedMap:
    """Texts on a plane.

    Attributes:
        texts: n.
        latents: (n, Z), whole ones, which can be decoded.
        compared: the numbers of a latent by which neighbours are found.
        plane: leads from latents to places and back.
        drawn: for the page.
    """

    texts: Sequence[str]
    latents: Latents
    compared: slice
    plane: Plane
    drawn: LatentMap

    def places(self, latents: Latents) -> list[list[float]]:
        """Place latents (m, Z) on the map."""
        return [[float(x), float(y)] for x, y in self.plane.project(latents)]

    def latents_at(self, points: Sequence[Point]) -> Latents:
        """Return the latents (m, Z) of places."""
        return self.plane.latents_at(np.array([[point["x"], point["y"]] for point in points]))

    def nearest(
        self, latents: Latents, count: int = 1
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest texts by the cosine of whole latents.

        Returns:
            Cosines (m, count) and indices of texts, the nearest first.
        """
        return _nearest(latents, self._unit, count)

    def neighbours(self, latents: Latents) -> list[list[Near]]:
        """List the texts with the nearest latents, for each of (m, Z)."""
        found = _nearest(latents[:, self.compared], self._unit_compared, NEIGHBOURS)
        similarities = found[0].astype(np.float64).round(5).tolist()
        return [
            [
                {"index": row, "text": self.texts[row], "similarity": similarity}
                for similarity, row in zip(*pair, strict=True)
            ]
            for pair in zip(similarities, found[1].tolist(), strict=True)
        ]

    @cached_property
    def _unit(self) -> Latents:
        return _normalized(self.latents)

    @cached_property
    def _unit_compared(self) -> Latents:
        is_whole = self.compared == slice(None)
        return self._unit if is_whole else _normalized(self.latents[:, self.compared])


def served_map(
    model: TextAutoencoder, texts: Sequence[str], method: Method, points: int, seed: int
) -> ServedMap:
    """Encode texts and draw their map.

    Args:
        model: encodes them; those that are too long are cut.
        texts: at least one.
        method: of the projection.
        points: at most so many texts, drawn at random.
        seed: of all random draws.
    """
    kept = [texts[row] for row in sample_rows(len(texts), points, seed).tolist()]
    latents = model.encode(kept, "truncate", show_progress_bar=True)
    drawn, plane = latent_map(latents, kept, method=method, seed=seed, total=len(texts))
    columns = model.columns(model.compared_part)
    return ServedMap(kept, latents, columns, plane, drawn)


def _normalized(latents: Latents) -> Latents:
    unit: Latents = latents / np.maximum(np.linalg.norm(latents, axis=1, keepdims=True), 1e-12)
    return unit


def _nearest(
    latents: Latents, unit: Latents, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    similarities = _normalized(latents) @ unit.T
    count = min(count, len(unit))
    rows = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
    own = np.take_along_axis(similarities, rows, axis=1)
    order = np.argsort(-own, axis=1, kind="stable")
    return np.take_along_axis(own, order, axis=1), np.take_along_axis(rows, order, axis=1)
