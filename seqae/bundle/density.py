"""A density of the training latents, from which `sample` draws if a model has no prior.

One matrix carries the latents' covariance (Ledoit and Wolf 2004: shrunk, so that it has full rank
for any number of sentences). In the coordinates that it whitens, a mixture of Gaussians with
diagonal covariances (scikit-learn) models the rest. A bundle stores both in `density.safetensors`:
float32 tensors, whose shapes follow from the model and the limits below.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from seqae.bundle.weights import read_weights, weights_to_bytes
from seqae.component import check_choice, check_seed
from seqae.extras import extra

DENSITY = "density.safetensors"

MAX_DIM = 2**11  # of a latent: the matrix then takes 16 MiB
MAX_COMPONENTS = 10
SENTENCES_PER_COMPONENT = 50  # at least; with fewer, a component's scales are noise
MIN_SENTENCES = 2

DensityKind = Literal["gaussian", "mixture"]


@dataclass(frozen=True)
class Density:
    """A Gaussian, and a mixture of Gaussians in the coordinates that make the former standard.

    Attributes:
        mean: (Z,), of the Gaussian.
        factor: (Z, Z), lower triangular: the covariance is this matrix times its transpose.
        weights: (MAX_COMPONENTS,), the components' probabilities; unused ones are 0.
        means: (MAX_COMPONENTS, Z), the components' means.
        scales: (MAX_COMPONENTS, Z), the components' standard deviations.
    """

    mean: Tensor
    factor: Tensor
    weights: Tensor
    means: Tensor
    scales: Tensor

    def sample(self, count: int, kind: DensityKind, generator: Generator) -> NDArray[np.float32]:
        """Draw latents.

        Args:
            count: number of latents.
            kind: the Gaussian or the mixture.
            generator: on the CPU.

        Returns:
            (count, Z) float32.
        """
        check_choice("source", kind, ("gaussian", "mixture"))
        white = torch.randn(count, len(self.mean), generator=generator)
        if kind == "mixture":
            # multinomial refuses to draw none
            component = torch.multinomial(self.weights, max(1, count), True, generator=generator)
            component = component[:count]
            white = self.means[component] + self.scales[component] * white
        latents: NDArray[np.float32] = (self.mean + white @ self.factor.T).numpy()
        return latents


def can_fit(latents: NDArray[np.float32]) -> bool:
    """Whether latents (n, Z) are enough, and not too large, to fit a density."""
    return len(latents) >= MIN_SENTENCES and latents.shape[1] <= MAX_DIM


def fit_density(latents: NDArray[np.float32], seed: int = 0) -> Density:
    """Fit the Gaussian and the mixture.

    Args:
        latents: (n, Z), of training sentences; `can_fit` must hold for them.
        seed: of the mixture's initial means.
    """
    # Imported here: it takes a second, and most programs that load a bundle fit nothing.
    with extra("eval"):
        from sklearn.covariance import ledoit_wolf
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

    assert can_fit(latents)
    check_seed(seed)
    rows = latents.astype(np.float64)
    mean = rows.mean(axis=0)
    covariance, _ = ledoit_wolf(rows)
    # The floor keeps the matrix positive definite if all latents are equal.
    floor = 1e-6 * max(float(np.trace(covariance)) / len(mean), 1e-6)
    factor = np.linalg.cholesky(covariance + floor * np.eye(len(mean)))
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
    with warnings.catch_warnings():
        # A mixture that still moves a little after 50 iterations is as good to sample from.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(white)
    weights[:count], means[:count] = mixture.weights_, mixture.means_
    scales[:count] = np.sqrt(mixture.covariances_)
    parts = (torch.from_numpy(part).float() for part in (mean, factor, weights, means, scales))
    return Density(*parts)


def density_to_bytes(density: Density) -> bytes:
    """Serialise a density as safetensors.

    Raises:
        ValueError: if a value is not finite.
    """
    return weights_to_bytes({f.name: getattr(density, f.name) for f in fields(Density)})


def read_density(path: Path, latent_dim: int) -> Density | None:
    """Read the density of a bundle; None if it has none.

    Args:
        path: the file, which may be missing.
        latent_dim: Z of the bundle's model.

    Raises:
        ValueError: if the file is damaged, or holds no density of such latents.
    """
    if not path.exists():
        return None
    if latent_dim > MAX_DIM:
        raise ValueError(
            f"{path} must be of latents of at most {MAX_DIM:,} dimensions, but the model's have "
            f"{latent_dim:,}. Get the bundle again."
        )
    shapes = {
        "mean": (latent_dim,),
        "factor": (latent_dim, latent_dim),
        "weights": (MAX_COMPONENTS,),
        "means": (MAX_COMPONENTS, latent_dim),
        "scales": (MAX_COMPONENTS, latent_dim),
    }
    expected = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    density = Density(**read_weights(path, expected))
    total = float(density.weights.sum())
    is_valid = (
        bool((density.weights >= 0).all())
        and math.isclose(total, 1.0, abs_tol=1e-3)
        and bool((density.scales >= 0).all())
        and bool((density.factor == density.factor.tril()).all())
    )
    if not is_valid:
        raise ValueError(
            f"{path} must hold probabilities that sum to 1, scales from 0 and a lower triangular "
            f"matrix, but it does not. Get the bundle again."
        )
    return density
