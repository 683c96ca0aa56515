"""The map that is served: its texts, their latents, and the way between places and latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents, nearest
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
        return nearest(latents, self.latents, count)

    def neighbours(self, latents: Latents) -> list[list[Near]]:
        """List the texts with the nearest latents, for each of (m, Z)."""
        compared = latents[:, self.compared], self.latents[:, self.compared]
        similarities, rows = nearest(*compared, NEIGHBOURS)
        return [
            [
                {"index": row, "text": self.texts[row], "similarity": round(similarity, 5)}
                for similarity, row in zip(*pair, strict=True)
            ]
            for pair in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


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
