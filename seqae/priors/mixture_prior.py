"""MixturePrior: a mixture of Gaussians, where a single one is too coarse.

One matrix carries the latents' covariance, as in GaussianPrior. In the coordinates that it whitens,
a mixture of Gaussians with diagonal covariances (scikit-learn) models the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
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
from seqae.priors.gaussian_prior import check_triangular, fit_gaussian, to_float64
from seqae.terminal import working

MAX_COMPONENTS = 10
SENTENCES_PER_COMPONENT = 50  # at least; with fewer, a component's scales are noise


@final
class MixturePrior(Prior):
    """A mixture of up to ten Gaussians.

    Args:
        noise: the σ at which its draws are decoded by a model that is trained with `latent_noise`.
    """

    kind: ClassVar[str] = "mixture"
    options: ClassVar[tuple[str, ...]] = ("prior_temperature",)

    mean: Tensor  # (Z,)
    factor: Tensor  # (Z, Z), lower triangular, from white coordinates to those of latents
    weights: Tensor  # (MAX_COMPONENTS,), probabilities; those of unused components are 0
    means: Tensor  # (MAX_COMPONENTS, Z), white
    scales: Tensor  # (MAX_COMPONENTS, Z), standard deviations, white

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
        with extra("eval"):
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture

        check_fit(latents, seed)
        rows = to_float64(latents)
        mean, factor = fit_gaussian(rows)
        white = np.linalg.solve(factor, (rows - mean).T).T
        count = max(1, min(MAX_COMPONENTS, len(rows) // SENTENCES_PER_COMPONENT))
        mixture = GaussianMixture(
            count,
            covariance_type="diag",
            init_params="k-means++",  # scikit-learn's k-means takes ten times as long as the rest
            max_iter=50,
            tol=1e-2,
            random_state=seed,
        )
        weights = np.zeros(MAX_COMPONENTS)
        means, scales = np.zeros((2, MAX_COMPONENTS, len(mean)))
        with working("mixture"), warnings.catch_warnings():
            # A mixture that still moves a little after 50 iterations is as good to sample from.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(white)
        weights[:count], means[:count] = mixture.weights_, mixture.means_
        scales[:count] = np.sqrt(mixture.covariances_)
        parts = (torch.from_numpy(part).float() for part in (mean, factor, weights, means, scales))
        self.mean, self.factor, self.weights, self.means, self.scales = parts

    @override
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        white = torch.randn(count, len(self.mean), generator=generator)
        white = white * drawing.prior_temperature
        # multinomial refuses to draw none
        component = torch.multinomial(self.weights, max(1, count), True, generator=generator)
        component = component[:count]
        white = self.means[component] + self.scales[component] * white
        return self.mean + white @ self.factor.T

    @override
    def tensors(self) -> dict[str, Tensor]:
        return {
            "mean": self.mean,
            "factor": self.factor,
            "weights": self.weights,
            "means": self.means,
            "scales": self.scales,
        }

    @override
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        check_found(found, ())
        return {
            "mean": shaped(latent_dim),
            "factor": shaped(latent_dim, latent_dim),
            "weights": shaped(MAX_COMPONENTS),
            "means": shaped(MAX_COMPONENTS, latent_dim),
            "scales": shaped(MAX_COMPONENTS, latent_dim),
        }

    @override
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        check_triangular(tensors["factor"])
        weights, scales = tensors["weights"], tensors["scales"]
        is_valid = (
            bool((weights >= 0).all())
            and math.isclose(float(weights.sum()), 1.0, abs_tol=1e-3)
            and bool((scales >= 0).all())
        )
        if not is_valid:
            raise ValueError(
                "`weights` and `scales` must be probabilities that sum to 1, and scales from 0, "
                "but they are not."
            )
        self.mean, self.factor = tensors["mean"], tensors["factor"]
        self.weights, self.means, self.scales = weights, tensors["means"], scales
