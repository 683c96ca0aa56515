"""A Gaussian and a mixture are fitted well, to few latents and to latents that are all the same."""

from __future__ import annotations

from typing import Any

import contracts
import numpy as np
import pytest
import torch

from seqae.priors import GaussianPrior, MixturePrior, Prior
from seqae.priors.base import can_fit

BOTH = (GaussianPrior, MixturePrior)


def some_latents(count: int = 600, size: int = 5) -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, size)).astype("f4"))


def draw(prior: Prior, count: int) -> Any:
    return prior.sample(count, torch.Generator().manual_seed(0)).numpy()


def fitted(kind: type[Prior], latents: Any) -> Any:
    prior = kind()
    prior.fit(torch.as_tensor(latents))
    return prior


def test_the_mixture_finds_what_a_gaussian_cannot():
    """Two heaps far apart: a Gaussian draws between them, the mixture hardly ever does."""
    rng = np.random.default_rng(0)
    heaps = rng.normal(size=(2000, 3)) * 0.2
    heaps[:, 0] += np.where(np.arange(2000) % 2, 5.0, -5.0)
    shares = []
    for kind in BOTH:
        drawn = draw(fitted(kind, heaps.astype(np.float32)), 4000)
        shares.append(float((np.abs(drawn[:, 0]) < 3.5).mean()))
        np.testing.assert_allclose(drawn.mean(axis=0), heaps.mean(axis=0), atol=0.3)
    assert shares[0] > 0.3
    assert shares[1] < 0.01


def test_fewer_latents_than_dimensions():
    drawn = draw(fitted(GaussianPrior, some_latents(7, 40)), 500)
    assert np.isfinite(drawn).all()
    assert np.linalg.matrix_rank(drawn.astype(np.float64)) == 40  # shrinkage has filled it up
    assert int((fitted(MixturePrior, some_latents(7, 40)).weights > 0).sum()) == 1


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("latents", [torch.zeros(9, 3), torch.ones(2, 4)])
def test_latents_that_are_all_the_same(kind, latents):
    drawn = draw(fitted(kind, latents), 50)
    np.testing.assert_allclose(drawn, np.broadcast_to(latents[:1], drawn.shape), atol=0.01)


@pytest.mark.parametrize("kind", BOTH)
def test_what_nothing_is_fitted_to(kind):
    assert can_fit(some_latents(2))
    for latents in (some_latents(1), torch.zeros(3, 2**11 + 1)):
        assert not can_fit(latents)
        assert "`latents` must be at least 2" in contracts.refusal(kind().fit, latents)


@pytest.mark.parametrize("kind", BOTH)
def test_the_same_latents_give_the_same_prior(kind):
    first, again = (fitted(kind, some_latents()).tensors() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
