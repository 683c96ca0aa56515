"""The von Mises-Fisher latent against scipy, Monte Carlo and figures worked by hand."""

from __future__ import annotations

import math
import pickle

import contracts
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from seqae.model.latents import LatentOutput
from seqae.model.latents.von_mises_fisher import (
    VonMisesFisherLatent,
    draw_cosine,
    log_bessel_i,
    log_sphere_area,
    log_vmf_constant,
    mean_resultant_length,
)

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")


def build(latent_dim: int, kappa: float, num_latents: int = 1) -> VonMisesFisherLatent:
    latent = VonMisesFisherLatent(latent_dim, kappa)
    latent.build(7, num_latents)
    return latent


def draws(latent: VonMisesFisherLatent, output: LatentOutput, count: int) -> Tensor:
    """(count, B, Z)."""
    assert output.mean is not None
    many = LatentOutput(output.latent, output.mean.repeat(count, 1))
    drawn = latent.sample_posterior(many, Generator().manual_seed(0))
    return drawn.reshape(count, *output.mean.shape)


# Special functions


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 4.0, 15.5, 127.0, 511.0])
def test_log_bessel_equals_scipy(order):
    for x in (1e-3, 0.1, 1.0, 7.5, 80.0, 500.0, 1e4):
        scaled = special.ive(order, x)  # exp(-x) I(x)
        if scaled > 1e-300:  # below, scipy has nothing left
            expected = math.log(scaled) + x
            assert log_bessel_i(order, x) == pytest.approx(expected, rel=1e-12, abs=1e-12), x
        # I_{v-1} - I_{v+1} = 2 v / x I_v (DLMF 10.29.1), for v one more than the order.
        below, here, above = (log_bessel_i(order + step, x) for step in range(3))
        difference = math.exp(below - here) - math.exp(above - here)
        assert difference == pytest.approx(2 * (order + 1) / x, rel=1e-6), x


def test_area_of_the_circle_and_the_sphere():
    assert log_sphere_area(2) == pytest.approx(math.log(2 * math.pi))
    assert log_sphere_area(3) == pytest.approx(math.log(4 * math.pi))


def test_constant_and_mean_length_in_three_dimensions_by_hand():
    # There C = kappa / (4 pi sinh kappa) and A = coth kappa - 1 / kappa.
    for kappa in (0.1, 2.0, 30.0):
        expected = math.log(kappa / (4 * math.pi * math.sinh(kappa)))
        assert log_vmf_constant(3, kappa) == pytest.approx(expected)
        length = 1 / math.tanh(kappa) - 1 / kappa
        assert mean_resultant_length(3, kappa) == pytest.approx(length)


@pytest.mark.parametrize("dim", [2, 5, 64])
def test_density_equals_scipy(dim):
    latent = build(dim, 9.0)
    output = latent(torch.randn(1, 7))
    points = latent.sample_prior(5, Generator().manual_seed(0))
    reference = stats.vonmises_fisher(output.mean[0].double().detach().numpy(), 9.0)
    expected = reference.logpdf(points.double().numpy())
    found = latent.log_posterior(output, points)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


# Draws


@pytest.mark.parametrize(
    ("dim", "kappa"), [(2, 0.5), (2, 50.0), (3, 1e-3), (16, 10.0), (256, 80.0), (64, 1e4)]
)
def test_the_cosine_has_the_right_distribution(dim, kappa):
    cosine = draw_cosine(20_000, dim, kappa, Generator().manual_seed(0))
    assert cosine.abs().max() <= 1.0
    # d/dkappa of log 1/C is the mean, A; its own derivative is the variance: 1 - A^2 - (d-1)A/k.
    mean = mean_resultant_length(dim, kappa)
    variance = 1 - mean**2 - (dim - 1) * mean / kappa
    error = math.sqrt(variance / len(cosine))
    assert cosine.mean().item() == pytest.approx(mean, abs=4 * error)
    assert cosine.var().item() == pytest.approx(variance, rel=0.08)


def test_the_cosine_in_three_dimensions_by_its_cumulative_distribution():
    kappa = 4.0
    cosine = draw_cosine(5_000, 3, kappa, Generator().manual_seed(0)).numpy()

    def cumulative(t):  # the density is exp(kappa t) on -1 ... 1
        low = math.exp(-kappa)
        return (np.exp(kappa * t) - low) / (math.exp(kappa) - low)

    assert stats.kstest(cosine, cumulative).pvalue > 0.01


def test_draws_point_around_the_mean_evenly():
    latent = build(4, 6.0)
    output = latent(torch.randn(2, 7))
    drawn = draws(latent, output, 20_000)
    torch.testing.assert_close(drawn.norm(dim=2), torch.ones(20_000, 2))
    expected = mean_resultant_length(4, 6.0) * output.mean
    torch.testing.assert_close(drawn.mean(dim=0), expected, atol=0.01, rtol=0)
    # Across the mean, the second moment is the same in all three directions.
    across = drawn - (drawn * output.mean).sum(dim=2, keepdim=True) * output.mean
    spread = torch.linalg.eigvalsh(across[:, 0].T @ across[:, 0] / len(drawn))
    assert spread[0].abs() < 1e-6
    torch.testing.assert_close(spread[1:], spread[1:].mean().expand(3), rtol=0.05, atol=0)


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (16, 20.0), (256, 80.0)])
def test_kl_equals_monte_carlo(dim, kappa):
    latent = build(dim, kappa, num_latents=2)
    output = latent(torch.randn(1, 2, 7))
    found = latent.kl(output)
    assert found.shape == (1, 2)
    drawn = draws(latent, output, 4_000)[:, 0]
    ratio = latent.log_posterior(output, drawn) - latent.log_prior(drawn)
    error = ratio.std().item() / math.sqrt(len(ratio))
    assert found.sum().item() == pytest.approx(ratio.mean().item(), abs=4 * error)


def test_kl_does_not_depend_on_the_sentence():
    latent = build(256, 80.0)
    kl = latent.kl(latent(torch.randn(5, 7)))
    assert kl[:, 0].unique().item() == pytest.approx(10.99, abs=0.01)  # as the docstring says


def test_prior_is_uniform_and_its_density_is_one_over_the_area():
    latent = build(3, 5.0, num_latents=2)
    drawn = latent.sample_prior(20_000, Generator().manual_seed(0))
    assert drawn.shape == (20_000, 6)
    parts = drawn.reshape(-1, 2, 3)
    torch.testing.assert_close(parts.norm(dim=2), torch.ones(20_000, 2))
    assert parts.mean(dim=0).abs().max() < 0.02
    # A coordinate of a uniform point on the sphere is uniform (Archimedes).
    assert stats.kstest(parts[:, 0, 0].numpy(), "uniform", (-1, 2)).pvalue > 0.01
    expected = torch.full((20_000,), -2 * math.log(4 * math.pi))
    torch.testing.assert_close(latent.log_prior(drawn), expected)


def test_each_vector_has_a_distribution_of_its_own():
    latent = build(3, 500.0, num_latents=2)
    hidden = torch.randn(4, 2, 7)
    output = latent(hidden, Generator().manual_seed(0))
    alone = build(3, 500.0)
    alone.load_state_dict(latent.state_dict())
    for place in range(2):
        mean = alone(hidden[:, place]).mean
        torch.testing.assert_close(output.mean.reshape(4, 2, 3)[:, place], mean)
        cosine = (output.latent.reshape(4, 2, 3)[:, place] * mean).sum(dim=1)
        assert (cosine > 0.95).all()
    assert latent.kl(output).sum() == pytest.approx(2 * alone.kl(alone(hidden[:, 0])).sum())


# The layer


def test_without_a_generator_nothing_is_drawn():
    latent, hidden = build(8, 10.0), torch.randn(4, 7)
    assert torch.equal(latent(hidden).latent, latent(hidden).mean)
    first, again, other = (latent(hidden, Generator().manual_seed(n)).latent for n in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, latent(hidden).latent)


def test_the_gradient_of_a_draw_goes_to_the_mean_direction():
    latent, hidden = build(8, 100.0), torch.randn(4, 7)
    loss = latent(hidden, Generator().manual_seed(0)).latent[:, 0].sum()
    contracts.check_reached(contracts.gradients(loss, latent))


def test_densities_broadcast_over_draws():
    latent = build(4, 6.0)
    output = latent(torch.randn(2, 7))
    drawn = draws(latent, output, 3)
    expected = torch.stack([latent.log_posterior(output, one) for one in drawn])
    torch.testing.assert_close(latent.log_posterior(output, drawn), expected)
    assert latent.log_prior(drawn).shape == (3, 2)


def test_pickled():
    latent, hidden = build(4, 6.0), torch.randn(2, 7)
    again = pickle.loads(pickle.dumps(latent))
    assert torch.equal(again(hidden).latent, latent(hidden).latent)


def test_no_draws_of_no_sentences():
    assert draw_cosine(0, 4, 1.0, Generator()).shape == (0,)
