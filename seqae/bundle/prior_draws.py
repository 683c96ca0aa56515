"""Random latents: from the model's own prior, or from one that was fitted afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, SupportsIndex, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from seqae.bundle.operations.latent_ops import Latents, at_unit_scale
from seqae.component import check_literal, check_seed, check_whole
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import DeterministicLatent, Latent, StochasticLatent
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.priors import (
    CodesPrior,
    Drawing,
    FlowPrior,
    GaussianPrior,
    MixturePrior,
    NeighbourhoodPrior,
    Prior,
)

PriorKind = Literal["gaussian", "mixture", "neighbourhood", "flow", "codes"]
PriorName = Literal["prior", "gaussian", "mixture", "neighbourhood", "flow", "codes"]


class Draws(NamedTuple):
    """Random latents, and how they are decoded.

    Attributes:
        latents: (n, Z) float32.
        noise: (n,) float32, the σ of each; None if the model is not told.
    """

    latents: Latents
    noise: NDArray[np.float32] | None


def make_prior(kind: PriorKind, autoencoder: SequenceAutoencoder) -> Prior:
    """Make the prior of a kind, for a built model.

    Raises:
        ValueError: if its latents cannot have such a prior.
    """
    check_literal("kind", kind, PriorKind)
    makers: dict[str, Callable[[], Prior]] = {
        "gaussian": GaussianPrior,
        "mixture": MixturePrior,
        "neighbourhood": NeighbourhoodPrior,
        "flow": FlowPrior,
        "codes": CodesPrior,
    }
    prior = makers[kind]()
    if prior.needs_noise and autoencoder.latent_noise is None:
        raise ValueError(_untold(kind, "kind"))
    prior.prepare(autoencoder.latent)
    return prior


def usual_priors(autoencoder: SequenceAutoencoder) -> list[Prior]:
    """Make the priors that the end of `fit` fits, the one that `sample` takes last."""
    if autoencoder.latent_noise is not None:
        return [GaussianPrior(), NeighbourhoodPrior()]
    return [MixturePrior(), GaussianPrior()]


def fit_priors(
    priors: list[Prior],
    latents: NDArray[Any] | Tensor,
    seed: int = 0,
    lengths: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Prior]:
    """Fit priors, on the device of the latents, and return them by kind.

    Args:
        priors: to fit.
        latents: (n, Z), of training sentences.
        seed: of all random draws.
        lengths: tokens of each sentence, bos and eos counted.
        labels: one of each sentence.
    """
    rows = torch.as_tensor(latents)
    counts = None if lengths is None else torch.tensor(lengths)
    for prior in priors:
        prior.fit(rows, counts, labels, seed)
    return {prior.kind: prior for prior in priors}


def default_prior(autoencoder: SequenceAutoencoder, priors: Mapping[str, Prior]) -> str:
    """Name the prior from which `sample` draws where nothing else is said."""
    if autoencoder.latent_noise is not None and NeighbourhoodPrior.kind in priors:
        return NeighbourhoodPrior.kind
    if CodesPrior.kind in priors:
        return CodesPrior.kind
    return "prior" if isinstance(autoencoder.latent, StochasticLatent) else GaussianPrior.kind


def draw(
    autoencoder: SequenceAutoencoder,
    priors: Mapping[str, Prior],
    count: SupportsIndex,
    name: str | None,
    seed: SupportsIndex,
    drawing: Drawing,
) -> Draws:
    """Draw random latents.

    Args:
        autoencoder: a built model.
        priors: fitted to its training latents, by kind.
        count: number of latents.
        name: the prior to draw from; see `TextAutoencoder.sample_latents`.
        seed: of the draw.
        drawing: how; where it has no noise, a model that is told is told that of the prior.

    Raises:
        ValueError: if the model has no such prior, or that does not know an option.
    """
    count = check_whole("count", count, 0, 10**7)
    generator = Generator().manual_seed(check_seed(seed))
    if drawing.length is not None and drawing.length > autoencoder.max_length:
        raise ValueError(
            f"`length` must be at most {autoencoder.max_length}, the longest that the model "
            f"writes, but it is {drawing.length} instead. Ask for a shorter one."
        )
    if name is None and not priors and not isinstance(autoencoder.latent, StochasticLatent):
        raise ValueError(
            "`prior` must be given for a bundle that has no fitted prior yet, but it is not. Fit "
            "one: `seqae prior MODEL`; or take the standard normal distribution: `prior: prior`."
        )
    name = default_prior(autoencoder, priors) if name is None else name
    is_told = autoencoder.latent_noise is not None
    if name not in priors:
        check_literal("prior", name, PriorName)
    if name == NeighbourhoodPrior.kind and not is_told:
        raise ValueError(_untold(name, "prior"))
    if name == "prior":
        if autoencoder.parts:
            raise ValueError(
                "`prior` must be one that is fitted for a model whose latents have a content part, "
                "which no objective moves, but it is prior instead. Set `prior: gaussian`."
            )
        drawing.check_known(name, ())
        # Of a draw from the standard normal distribution nothing is a sentence's own.
        noise = MAX_NOISE if drawing.noise is None else drawing.noise
        latents = _draw_own(autoencoder.latent, count, generator)
    elif name not in priors:
        make_prior(cast(PriorKind, name), autoencoder)  # refuses what this model cannot have
        raise ValueError(
            f"`prior` must be one that the bundle has, {', '.join(['prior', *priors])}, but it is "
            f"{name} instead. Train again, or fit it: `seqae prior MODEL --kind {name}`."
        )
    else:
        prior = priors[name]
        noise = prior.noise if drawing.noise is None else drawing.noise
        drawing = replace(drawing, noise=noise if is_told else None)
        latents = prior.sample(count, generator, drawing).numpy()
    if not is_told:
        return Draws(latents, None)
    return Draws(at_unit_scale(latents), np.full(count, noise, dtype=np.float32))


def _untold(name: str, key: str) -> str:
    return (
        f"`{key}` must not be {name} for a model without `latent_noise`, which cannot be told how "
        f"noisy a draw is. Train one that can: `seqae fit -c fluent`."
    )


def _draw_own(layer: Latent, count: int, generator: Generator) -> Latents:
    if isinstance(layer, StochasticLatent):
        with torch.inference_mode():
            return layer.sample_prior(count, generator).float().cpu().numpy()
    if not isinstance(layer, DeterministicLatent):
        raise ValueError(
            f"`prior` must be one that is fitted for a {type(layer).__name__}, which has no prior "
            f"of its own, but it is prior instead. Set `prior: codes`, after `seqae prior MODEL "
            f"--kind codes`, or `prior: gaussian`."
        )
    latents: Latents = torch.randn(count, layer.output_dim, generator=generator).numpy()
    return latents
