"""GaussianPrior: a normal distribution with the covariance of the training latents.

The covariance is shrunk (Ledoit and Wolf 2004), so that it has full rank for any number of
sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from typing_extensions import override

from seqae.extras import extra
from seqae.priors.base import (
    DEFAULT_NOISE,
    Drawing,
    Prior,
    check_fit,
    check_found,
    check_noise,
    shaped,
)
from seqae.terminal import working


@final
class GaussianPrior(Prior):
    """A normal distribution.

    Args:
        noise: the σ at which its draws are decoded by a model that is trained with `latent_noise`.
    """

    kind: ClassVar[str] = "gaussian"
    options: ClassVar[tuple[str, ...]] = ("prior_temperature",)

    mean: Tensor  # (Z,)
    factor: Tensor  # (Z, Z), lower triangular: the covariance is this times its transpose

    def __init__(self, noise: float = DEFAULT_NOISE) -> None:
        check_noise(noise)
        self.noise = noise

    @override
    def fit(
        self,
        latents: Tensor,
        lengths: Tensor | None = None,
        labels: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_fit(latents, seed)
        with working("gaussian"):
            mean, factor = fit_gaussian(to_float64(latents))
        self.mean, self.factor = torch.from_numpy(mean).float(), torch.from_numpy(factor).float()

    @override
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        white = torch.randn(count, len(self.mean), generator=generator)
        white = white * drawing.prior_temperature
        return self.mean + white @ self.factor.T

    @override
    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "factor": self.factor}

    @override
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        check_found(found, ())
        return {"mean": shaped(latent_dim), "factor": shaped(latent_dim, latent_dim)}

    @override
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        check_triangular(tensors["factor"])
        self.mean, self.factor = tensors["mean"], tensors["factor"]


def to_float64(latents: Tensor) -> NDArray[np.float64]:
    """Copy latents to an array of double precision."""
    rows: NDArray[np.float64] = latents.detach().cpu().numpy().astype(np.float64)
    return rows


def fit_gaussian(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a normal distribution to rows (n, Z): its mean, (Z,), and its factor, (Z, Z)."""
    # Imported here: it takes a second, and most programs that load a bundle fit nothing.
    with extra("eval"):
        from sklearn.covariance import ledoit_wolf

    mean = rows.mean(axis=0)
    covariance, _ = ledoit_wolf(rows)
    # The floor keeps the matrix positive definite if all latents are equal.
    floor = 1e-6 * max(float(np.trace(covariance)) / len(mean), 1e-6)
    return mean, np.linalg.cholesky(covariance + floor * np.eye(len(mean)))


def check_triangular(factor: Tensor) -> None:
    """Check that a matrix is lower triangular.

    Raises:
        ValueError: if it is not.
    """
    if not torch.equal(factor, factor.tril()):
        raise ValueError("`factor` must be a lower triangular matrix, but it is another instead.")
