"""Random latents: from the model's own prior, or from one that was fitted afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, SupportsIndex

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from seqae.bundle.latent_ops import Latents
from seqae.component import check_literal, check_seed, check_whole
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import DeterministicLatent, Latent, StochasticLatent
from seqae.priors import GaussianPrior, MixturePrior, Prior

PriorKind = Literal["gaussian", "mixture"]
PriorName = Literal["prior", "gaussian", "mixture"]


def usual_priors(autoencoder: SequenceAutoencoder) -> list[Prior]:
    """Make the priors that the end of `fit` fits, the one that `sample` takes last."""
    return [MixturePrior(), GaussianPrior()]


def make_prior(kind: PriorKind) -> Prior:
    """Make the prior of a kind."""
    check_literal("kind", kind, PriorKind)
    makers: dict[str, Callable[[], Prior]] = {"gaussian": GaussianPrior, "mixture": MixturePrior}
    return makers[kind]()


def fit_priors(
    priors: list[Prior], latents: NDArray[Any] | Tensor, seed: int = 0
) -> dict[str, Prior]:
    """Fit priors to latents (n, Z), and return them by kind."""
    rows = torch.as_tensor(latents)
    for prior in priors:
        prior.fit(rows, seed=seed)
    return {prior.kind: prior for prior in priors}


def default_prior(autoencoder: SequenceAutoencoder) -> PriorName:
    """Name the prior from which `sample` draws where nothing else is said."""
    return "prior" if isinstance(autoencoder.latent, StochasticLatent) else "gaussian"


def draw_latents(
    autoencoder: SequenceAutoencoder,
    priors: Mapping[str, Prior],
    count: SupportsIndex,
    name: str | None,
    seed: SupportsIndex,
) -> Latents:
    """Draw random latents.

    Args:
        autoencoder: a built model.
        priors: fitted to its training latents, by kind.
        count: number of latents.
        name: the prior to draw from; see `TextAutoencoder.sample_latents`.
        seed: of the draw.

    Returns:
        (count, Z) float32.

    Raises:
        ValueError: if the model has no such prior.
    """
    count = check_whole("count", count, 0, 10**7)
    generator = Generator().manual_seed(check_seed(seed))
    name = default_prior(autoencoder) if name is None else name
    if name not in priors:
        check_literal("prior", name, PriorName)
    if name == "prior":
        if autoencoder.parts:
            raise ValueError(
                "`prior` must be one that is fitted for a model whose latents have a content part, "
                "which no objective moves, but it is prior instead. Set `prior: gaussian`."
            )
        return _draw_own(autoencoder.latent, count, generator)
    if name not in priors:
        raise ValueError(
            f"`prior` must be one that the bundle has, {', '.join(['prior', *priors])}, but it is "
            f"{name} instead. Train again, or fit it: `seqae prior MODEL --kind {name}`."
        )
    latents: Latents = priors[name].sample(count, generator).numpy()
    return latents


def _draw_own(layer: Latent, count: int, generator: Generator) -> Latents:
    if isinstance(layer, StochasticLatent):
        with torch.inference_mode():
            return layer.sample_prior(count, generator).float().cpu().numpy()
    if not isinstance(layer, DeterministicLatent):
        raise ValueError(
            f"`prior` must be gaussian or mixture for a {type(layer).__name__}, which has no "
            f"prior of its own, but it is prior instead. Set `prior: gaussian`."
        )
    latents: Latents = torch.randn(count, layer.output_dim, generator=generator).numpy()
    return latents
