"""What can be done with sentences once they are vectors, given only `encode` and `decode`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from seqae.bundle.density import Density, DensityKind
from seqae.component import check_choice, check_range
from seqae.generation import DecodingOptions
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import DeterministicLatent, StochasticLatent

Latents = NDArray[np.float32]
TooLong = Literal["error", "truncate"]
Curve = Literal["spherical", "linear"]
Source = Literal["prior", "gaussian", "mixture"]
Similarity = Literal["cosine", "euclidean"]

ROWS, COLUMNS = 2**10, 2**12  # similarities that are held at a time: 16 MiB
GREEDY = DecodingOptions()
MAX_SEED = 2**32 - 1  # what torch's generator on the CPU tells apart


class Neighbour(NamedTuple):
    """A sentence that lies near another.

    Attributes:
        text: the sentence.
        similarity: the cosine of the latents, or minus their distance.
    """

    text: str
    similarity: float


class LatentSpace(ABC):
    """Sampling, interpolation, arithmetic, neighbours and transfer."""

    autoencoder: SequenceAutoencoder
    density: Density | None

    @abstractmethod
    def encode(self, texts: Sequence[str], too_long: TooLong = "error") -> Latents:
        """Texts to latents (n, Z)."""

    @abstractmethod
    def decode(
        self, latents: NDArray[Any], options: DecodingOptions = GREEDY, seed: int = 0
    ) -> list[str]:
        """Latents (n, Z) to texts."""

    def sample(
        self,
        count: int,
        source: Source | None = None,
        options: DecodingOptions = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Write new sentences.

        Args:
            count: how many.
            source: `prior`: the model's own, or a standard normal one where its latent is a plain
                vector (for objectives that draw the latents there); `gaussian` or `mixture`: a
                density of the training latents, which the bundle holds; by default the model's
                prior where it has one, or else the Gaussian.
            options: how latents become text.
            seed: of the latents and of tokens that are drawn.

        Raises:
            ValueError: if there is no such source.
        """
        return self.decode(self.sample_latents(count, source, seed), options, seed)

    def sample_latents(self, count: int, source: Source | None = None, seed: int = 0) -> Latents:
        """Draw latents, (count, Z); see `sample`."""
        check_range("count", count, 0, 10**7)
        check_range("seed", seed, 0, MAX_SEED)
        generator = Generator().manual_seed(seed)
        layer = self.autoencoder.latent
        if source is None:
            source = "prior" if isinstance(layer, StochasticLatent) else "gaussian"
        check_choice("source", source, ("prior", "gaussian", "mixture"))
        if source == "prior":
            return self._sample_prior(count, generator)
        if self.density is None:
            raise ValueError(
                f"`source` must be prior for a bundle without a density of its training latents, "
                f"but it is {source} instead. Train anew, or fit one: "
                f"`seqae density MODEL --input FILE`."
            )
        kind: DensityKind = source
        return self.density.sample(count, kind, generator)

    def _sample_prior(self, count: int, generator: Generator) -> Latents:
        layer = self.autoencoder.latent
        if isinstance(layer, StochasticLatent):
            with torch.inference_mode():
                return layer.sample_prior(count, generator).float().cpu().numpy()
        if not isinstance(layer, DeterministicLatent):
            raise ValueError(
                f"`source` must be gaussian or mixture for a {type(layer).__name__}, which has no "
                f"prior, but it is prior instead. Set `source: gaussian`."
            )
        drawn: Latents = torch.randn(count, layer.output_dim, generator=generator).numpy()
        return drawn

    def interpolate(
        self,
        start: str,
        end: str,
        steps: int = 5,
        path: Curve = "spherical",
        options: DecodingOptions = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> list[str]:
        """Write the sentences between two.

        Args:
            start: the first sentence.
            end: the last.
            steps: how many sentences, both reconstructions counted.
            path: see `between`.
            options: how latents become text.
            too_long: see `encode`.
            seed: of tokens that are drawn.
        """
        first, last = self.encode([start, end], too_long)
        return self.decode(between(first, last, steps, path), options, seed)

    def arithmetic(
        self,
        minuend: str,
        subtrahend: str,
        addend: str,
        options: DecodingOptions = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> str:
        """Write the sentence at a - b + c, as of words (Mikolov et al. 2013, arXiv:1301.3781).

        Args:
            minuend: a.
            subtrahend: b.
            addend: c.
            options: how latents become text.
            too_long: see `encode`.
            seed: of tokens that are drawn.
        """
        a, b, c = self.encode([minuend, subtrahend, addend], too_long)
        return self.decode((a - b + c)[None], options, seed)[0]

    def neighbours(
        self,
        texts: Sequence[str],
        corpus: Sequence[str],
        count: int = 5,
        similarity: Similarity = "cosine",
        too_long: TooLong = "error",
    ) -> list[list[Neighbour]]:
        """Find the sentences of a corpus whose latents are nearest, exactly.

        Args:
            texts: n sentences.
            corpus: where to look, for instance the training sentences.
            count: how many of each.
            similarity: `cosine` or `euclidean`.
            too_long: see `encode`; sentences of the corpus are always truncated.

        Returns:
            For each text its neighbours, the nearest first.
        """
        asked = self.encode(texts, too_long)
        values, places = nearest(asked, self.encode(corpus, "truncate"), count, similarity)
        return [
            [Neighbour(corpus[i], float(v)) for v, i in zip(row, found, strict=True)]
            for row, found in zip(values, places, strict=True)
        ]

    def attribute(self, source: Sequence[str], target: Sequence[str]) -> Latents:
        """The vector from one kind of sentence to another: the difference of their mean latents.

        As of faces (Larsen et al. 2016, arXiv:1512.09300) and of sentences (Shen et al. 2020,
        arXiv:1905.12777).

        Args:
            source: sentences without the attribute.
            target: sentences with it.

        Returns:
            (Z,) float32.
        """
        for name, texts in (("source", source), ("target", target)):
            if not len(texts):
                raise ValueError(f"`{name}` must have sentences, but it has none. Give some.")
        means = [
            self.encode(texts, "truncate").mean(axis=0, dtype=np.float64)
            for texts in (source, target)
        ]
        vector: Latents = (means[1] - means[0]).astype(np.float32)
        return vector

    def transfer(
        self,
        texts: Sequence[str],
        attribute: NDArray[Any],
        strength: float = 1.0,
        options: DecodingOptions = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> list[str]:
        """Write sentences again with an attribute added.

        Args:
            texts: n sentences.
            attribute: (Z,) from `attribute`.
            strength: what it is multiplied by; below 0 it is taken away.
            options: how latents become text.
            too_long: see `encode`.
            seed: of tokens that are drawn.
        """
        check_range("strength", strength, -1e6, 1e6)
        return self.decode(self.encode(texts, too_long) + strength * attribute, options, seed)


def between(
    start: NDArray[Any], end: NDArray[Any], steps: int, path: Curve = "spherical"
) -> Latents:
    """Points from one vector to another.

    Args:
        start: (Z,).
        end: (Z,).
        steps: how many points, both ends counted.
        path: `linear`, or `spherical`: along the arc between their directions (Shoemake 1985;
            White 2016, arXiv:1609.04468), the norm going evenly from one to the other; for vectors
            of one direction or of opposite ones, which have no such arc, the line.

    Returns:
        (steps, Z) float32; the first and the last are the ends to the bit.
    """
    check_range("steps", steps, 2, 10**6)
    check_choice("path", path, ("spherical", "linear"))
    a, b = (np.asarray(vector, dtype=np.float64) for vector in (start, end))
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


def nearest(
    asked: NDArray[Any], latents: NDArray[Any], count: int, similarity: Similarity = "cosine"
) -> tuple[Latents, NDArray[np.int64]]:
    """Search exactly, in blocks that bound the memory.

    Args:
        asked: (n, Z).
        latents: (m, Z), where to look.
        count: how many of each; fewer if m is less.
        similarity: `cosine`, or `euclidean` for minus the distance.

    Returns:
        Similarities (n, count), the highest first, and their places in `latents`.
    """
    check_range("count", count, 1, 10**6)
    check_choice("similarity", similarity, ("cosine", "euclidean"))
    left, right = (torch.from_numpy(np.asarray(part, np.float32)) for part in (asked, latents))
    if similarity == "cosine":
        left, right = (torch.nn.functional.normalize(part, dim=1) for part in (left, right))
    count = min(count, len(right))
    blocks = [left[first : first + ROWS] for first in range(0, max(1, len(left)), ROWS)]
    parts = [_nearest(block, right, count, similarity) for block in blocks]
    values, places = (torch.cat(side).numpy() for side in zip(*parts, strict=True))
    return values, places


def _nearest(
    left: Tensor, right: Tensor, count: int, similarity: Similarity
) -> tuple[Tensor, Tensor]:
    values = left.new_empty(len(left), 0)
    places = torch.empty(len(left), 0, dtype=torch.int64)
    for first in range(0, len(right), COLUMNS):
        block = right[first : first + COLUMNS]
        if similarity == "cosine":
            found = left @ block.T
        else:  # not through a product, which loses what tells near neighbours apart
            found = -torch.cdist(left, block, compute_mode="donot_use_mm_for_euclid_dist")
        values = torch.cat([values, found], dim=1)
        new = torch.arange(first, first + len(block)).expand(len(left), -1)
        values, order = values.topk(min(count, values.shape[1]), dim=1)
        places = torch.cat([places, new], dim=1).gather(1, order)
    return values, places
