"""Mutual information, active units, isotropy: known distributions and the papers' own steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from seqae.metrics import geometry as latent_space
from seqae.metrics.geometry import (
    active_units,
    concatenate,
    duplicates,
    isotropy,
    mutual_information,
    select_rows,
)
from seqae.model.latents import LatentOutput
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent


def gaussian(dim: int) -> GaussianLatent:
    latent = GaussianLatent(dim)
    latent.build(dim)
    return latent


def posterior(mean: Tensor, logvar: float) -> LatentOutput:
    return LatentOutput(mean, mean, torch.full_like(mean, logvar))


def draw(latent: GaussianLatent, output: LatentOutput) -> Tensor:
    return latent.sample_posterior(output, Generator().manual_seed(1))


def he_et_al(mean: Tensor, logvar: Tensor, draws: Tensor) -> float:
    """calc_mi of jxhe/vae-lagging-encoder (modules/encoders/encoder.py), rewritten line by line."""
    count, size = mean.shape
    neg_entropy = (-0.5 * size * math.log(2 * math.pi) - 0.5 * (1 + logvar).sum(-1)).mean()
    deviation = draws[:, None] - mean[None]
    log_density = -0.5 * (deviation**2 / logvar.exp()[None]).sum(-1) - 0.5 * (
        size * math.log(2 * math.pi) + logvar.sum(-1)
    )
    log_qz = log_density.logsumexp(dim=1) - math.log(count)
    return float((neg_entropy - log_qz.mean(-1)).item())


# Mutual information


def test_posteriors_that_are_all_the_same_tell_nothing():
    latent = gaussian(3)
    output = posterior(torch.ones(50, 3), 0.0)
    assert mutual_information(latent, output, draw(latent, output)) == pytest.approx(0.0, abs=1e-6)


def test_posteriors_far_apart_tell_which_sentence_it_was():
    latent = gaussian(2)
    output = posterior(1000.0 * torch.arange(40.0)[:, None].repeat(1, 2), 0.0)
    found = mutual_information(latent, output, draw(latent, output))
    assert found == pytest.approx(math.log(40))


def test_two_halves_that_share_a_posterior_each_tell_one_bit():
    latent = gaussian(1)
    output = posterior(torch.tensor([0.0, 1000.0]).repeat(30)[:, None], 0.0)
    assert mutual_information(latent, output, draw(latent, output)) == pytest.approx(math.log(2))


def test_a_gaussian_channel():
    """mean ~ N(0, 3), noise of variance 1: 1/2 log(1 + 3) nats (Shannon 1948)."""
    latent = gaussian(1)
    mean = 3.0**0.5 * torch.randn(4000, 1)
    output = posterior(mean, 0.0)
    found = mutual_information(latent, output, draw(latent, output))
    assert found == pytest.approx(0.5 * math.log(4.0), abs=0.05)


def test_the_estimate_is_that_of_he_et_al_on_average():
    """They take the entropy of q(z|x) exactly, we at the draw: equal but for that noise."""
    latent = gaussian(4)
    mean, logvar = torch.randn(600, 4), 0.3 * torch.randn(600, 4)
    output = LatentOutput(mean, mean, logvar)
    draws = draw(latent, output)
    exact = (0.5 * (1 + math.log(2 * math.pi) + logvar).sum(-1)).mean()
    noise = float(exact + latent.log_posterior(output, draws).mean())
    reference = he_et_al(mean, logvar, draws)
    assert mutual_information(latent, output, draws) == pytest.approx(reference + noise, abs=1e-4)


@pytest.mark.parametrize("elements", [1, 37, 10**6])
def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch, elements: int):
    latent = gaussian(2)
    output = posterior(torch.randn(33, 2), -1.0)
    draws = draw(latent, output)
    whole = mutual_information(latent, output, draws)
    monkeypatch.setattr(latent_space, "BLOCK_ELEMENTS", elements)
    assert mutual_information(latent, output, draws) == pytest.approx(whole)


def test_it_takes_a_posterior_on_a_sphere():
    latent = VonMisesFisherLatent(8, kappa=1000.0)
    latent.build(8)
    output = latent(torch.randn(20, 8))
    draws = latent.sample_posterior(output, Generator().manual_seed(0))
    assert 2.5 < mutual_information(latent, output, draws) <= math.log(20) + 1e-6


# Active units


def test_active_units_by_hand():
    # Variances over the two sentences: 0.02, 0.005 and 0.
    mean = torch.tensor([[0.1, 0.05, 7.0], [-0.1, -0.05, 7.0]])
    assert active_units(mean) == 1
    assert active_units(mean, prior_variance=0.1) == 2


def test_the_variance_of_the_prior_is_that_of_its_draws():
    sphere = VonMisesFisherLatent(64)
    sphere.build(64)
    for latent in (gaussian(64), sphere):
        draws = latent.sample_prior(4000, torch.Generator().manual_seed(0))
        assert latent.prior_variance == pytest.approx(float(draws.var(dim=0).mean()), rel=0.02)


# Duplicates


def test_duplicates_by_hand():
    assert duplicates(["a", "b", "a", "a"]) == 0.5
    assert duplicates(["a", "b"]) == 0.0
    assert math.isnan(duplicates([]))


# Isotropy


def iso_score(points: np.ndarray) -> float:
    """Algorithm 1 of Rudman et al. 2022, step by step; points (m, n)."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    rotated = centred @ axes.T  # step 2: principal components
    diagonal = np.diag(np.cov(rotated.T))  # step 3
    n = len(diagonal)
    normed = diagonal * n**0.5 / np.linalg.norm(diagonal)  # step 4
    defect = np.linalg.norm(normed - 1) / (2 * (n - n**0.5)) ** 0.5  # step 5
    used = (n - defect**2 * (n - n**0.5)) ** 2 / n**2  # step 6
    return float((n * used - 1) / (n - 1))  # step 7


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_isotropy_is_iso_score(dims: int, seed: int):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, dims)) @ rng.normal(size=(dims, dims))
    assert isotropy(torch.from_numpy(points)) == pytest.approx(iso_score(points))


def test_a_line_a_plane_and_a_cube():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    assert isotropy(corners) == pytest.approx(1.0)
    assert isotropy(corners * torch.tensor([1.0, 1.0, 0.0])) == pytest.approx(0.5)
    assert isotropy(corners * torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(0.0)
    assert isotropy(5.0 * corners + 100.0) == pytest.approx(1.0)


def test_points_that_are_all_the_same_have_no_isotropy():
    assert math.isnan(isotropy(torch.ones(5, 3)))


# Joining


def test_join_and_select():
    first = LatentOutput(torch.zeros(2, 3), torch.zeros(2, 3), loss=torch.tensor(1.0))
    second = LatentOutput(torch.ones(1, 3), torch.ones(1, 3), loss=torch.tensor(1.0))
    joined = concatenate([first, second])
    assert joined.latent.tolist() == [[0] * 3, [0] * 3, [1] * 3]
    assert joined.logvar is joined.loss is joined.codes is None
    chosen = select_rows(joined, torch.tensor([2, 0]))
    assert chosen.mean is not None
    assert chosen.mean[:, 0].tolist() == [1, 0]
