"""A density of the training latents: what `sample` draws from where a model has no prior.

One matrix carries the latents' covariance (Ledoit and Wolf 2004: shrunk, so that it is of full rank
whatever the number of sentences); in the coordinates that it whitens, a mixture of Gaussians with
diagonal covariances (scikit-learn) says what is left. In a bundle it is `density.safetensors`:
float32 tensors under the caps of this file, of the shapes that the model leads to.
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
from seqae.component import check_choice, check_range

DENSITY = "density.safetensors"

MAX_DIM = 2**11  # of latents: the matrix takes 16 MiB then
MAX_COMPONENTS = 10
SENTENCES_PER_COMPONENT = 50  # at least, so that a component's scales are more than noise
MIN_SENTENCES = 2

DensityKind = Literal["gaussian", "mixture"]


@dataclass(frozen=True)
class Density:
    """A Gaussian, and a mixture of C Gaussians in the coordinates in which that one is standard.

    Attributes:
        mean: (Z,).
        factor: (Z, Z), lower triangular; times its transpose it is the covariance.
        weights: (MAX_COMPONENTS,), the components' probabilities; 0 where there is none.
        means: (MAX_COMPONENTS, Z), of the components.
        scales: (MAX_COMPONENTS, Z), their standard deviations.
    """

    mean: Tensor
    factor: Tensor
    weights: Tensor
    means: Tensor
    scales: Tensor

    def sample(self, count: int, kind: DensityKind, generator: Generator) -> NDArray[np.float32]:
        """Draw latents.

        Args:
            count: how many.
            kind: from the Gaussian or from the mixture.
            generator: on the CPU.

        Returns:
            (count, Z) float32.
        """
        check_choice("source", kind, ("gaussian", "mixture"))
        white = torch.randn(count, len(self.mean), generator=generator)
        if kind == "mixture":
            chosen = torch.multinomial(self.weights, max(1, count), True, generator=generator)
            chosen = chosen[:count]
            white = self.means[chosen] + self.scales[chosen] * white
        drawn: NDArray[np.float32] = (self.mean + white @ self.factor.T).numpy()
        return drawn


def can_fit(latents: NDArray[np.float32]) -> bool:
    """Whether there are enough latents (n, Z), of a size for which a matrix is kept."""
    return len(latents) >= MIN_SENTENCES and latents.shape[1] <= MAX_DIM


def fit_density(latents: NDArray[np.float32], seed: int = 0) -> Density:
    """Fit both densities.

    Args:
        latents: (n, Z), of training sentences, such that `can_fit`.
        seed: of the mixture's first means.
    """
    # Imported here: it takes a second, and most programs that load a bundle fit nothing.
    from sklearn.covariance import ledoit_wolf
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    assert can_fit(latents)
    check_range("seed", seed, 0, 2**32 - 1)
    rows = latents.astype(np.float64)
    mean = rows.mean(axis=0)
    covariance, _ = ledoit_wolf(rows)
    # Latents that are all the same have none at all.
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
        # Of a mixture that still moves a little after so many rounds one can sample as well.
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
    """Read the density of a bundle, if it has one, for latents of a size.

    Raises:
        ValueError: if the file is damaged, or does not hold such a density.
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
    is_right = (
        bool((density.weights >= 0).all())
        and math.isclose(total, 1.0, abs_tol=1e-3)
        and bool((density.scales >= 0).all())
        and bool((density.factor == density.factor.tril()).all())
    )
    if not is_right:
        raise ValueError(
            f"{path} must hold probabilities that sum to 1, scales from 0 and a lower triangular "
            f"matrix, but it does not. Get the bundle again."
        )
    return density
