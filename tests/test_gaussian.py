"""GaussianLatent against torch.distributions, against Monte Carlo, and its batch normalisation."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Generator
from torch.distributions import Normal, kl_divergence

from seqae.model.latents.gaussian import LOGVAR_LIMIT, GaussianLatent


def build(latent_dim: int = 5, batch_norm: float = 0.0, num_latents: int = 1) -> GaussianLatent:
    latent = GaussianLatent(latent_dim, batch_norm)
    latent.build(7, num_latents)
    return latent


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_kl_is_torchs():
    latent = build()
    output = latent(3 * torch.randn(6, 7))
    posterior = Normal(output.mean, (0.5 * output.logvar).exp())
    torch.testing.assert_close(latent.kl(output), kl_divergence(posterior, Normal(0.0, 1.0)))


def test_log_densities_are_torchs():
    latent = build()
    output = latent(3 * torch.randn(6, 7))
    points = torch.randn(10, 6, 5)  # broadcast over ten draws
    posterior = Normal(output.mean, (0.5 * output.logvar).exp())
    expected = posterior.log_prob(points).sum(dim=-1)
    torch.testing.assert_close(latent.log_posterior(output, points), expected)
    expected = Normal(0.0, 1.0).log_prob(points).sum(dim=-1)
    torch.testing.assert_close(latent.log_prior(points), expected)


def test_kl_is_what_monte_carlo_says():
    """KL = E[log q(z|x) - log p(z)] over draws of its own posterior."""
    latent = build()
    with torch.no_grad():
        output = latent(2 * torch.randn(4, 7))
        generator = seeded()
        draws = torch.stack([latent.sample_posterior(output, generator) for _ in range(20_000)])
        ratios = latent.log_posterior(output, draws) - latent.log_prior(draws)
        error = (ratios.mean(dim=0) - latent.kl(output).sum(dim=1)).abs()
        assert (error < 4 * ratios.std(dim=0) / 20_000**0.5).all()


def test_draws_have_the_posteriors_moments():
    latent = build()
    with torch.no_grad():
        output = latent(2 * torch.randn(3, 7))
        generator = seeded()
        draws = torch.stack([latent.sample_posterior(output, generator) for _ in range(20_000)])
    deviation = (0.5 * output.logvar).exp()
    assert ((draws.mean(dim=0) - output.mean).abs() < 4.5 * deviation / 20_000**0.5).all()
    assert ((draws.std(dim=0) / deviation - 1).abs() < 4.5 / 40_000**0.5).all()


def test_prior_draws_are_standard_normal():
    draws = build(latent_dim=3, num_latents=2).sample_prior(20_000, seeded())
    assert draws.shape == (20_000, 6)
    assert draws.mean(dim=0).abs().max() < 4.5 / 20_000**0.5
    torch.testing.assert_close(draws.T.cov(), torch.eye(6), atol=0.04, rtol=0)


def test_the_latent_is_drawn_with_a_generator_and_the_mean_without():
    latent, hidden = build(), torch.randn(4, 7)
    output = latent(hidden)
    assert torch.equal(output.latent, output.mean)
    drawn = latent(hidden, seeded())
    assert torch.equal(drawn.mean, output.mean)
    assert torch.equal(drawn.latent, latent.sample_posterior(output, seeded()))
    assert not torch.equal(drawn.latent, output.latent)
    assert not torch.equal(latent(hidden, seeded(1)).latent, drawn.latent)


def test_gradients_of_a_draw():
    """d z / d mean is 1, d z / d logvar is half the deviation from the mean."""
    latent = build()
    output = latent(torch.randn(4, 7))
    drawn = latent.sample_posterior(output, seeded())
    mean, logvar = torch.autograd.grad(drawn.sum(), [output.mean, output.logvar])
    torch.testing.assert_close(mean, torch.ones(4, 5))
    torch.testing.assert_close(logvar, 0.5 * (drawn - output.mean))


def test_logvar_is_limited_softly():
    latent = build()
    hidden = torch.randn(4, 7)
    small = latent.logvar(0.1 * hidden)
    torch.testing.assert_close(latent(0.1 * hidden).logvar, small, atol=0.01, rtol=0)
    output = latent(1e6 * hidden)
    assert output.logvar.abs().max() <= LOGVAR_LIMIT
    contracts.check_finite([latent.kl(output), latent.sample_posterior(output, seeded())])


def test_each_vector_has_the_same_maps():
    latent, hidden = build(num_latents=3), torch.randn(4, 3, 7)
    output = latent(hidden)
    assert output.latent.shape == output.logvar.shape == (4, latent.output_dim) == (4, 15)
    torch.testing.assert_close(output.mean.reshape(4, 3, 5), latent.mean(hidden))
    assert latent.kl(output).shape == (4, 15)


def test_single_precision_under_autocast():
    latent, hidden = build(), torch.randn(4, 7)
    with torch.autocast("cpu", torch.bfloat16):
        output = latent(hidden, seeded())
    assert output.latent.dtype == output.mean.dtype == output.logvar.dtype == torch.float32


# Batch normalisation of the mean


def test_batch_norm_fixes_the_means_deviation():
    latent = build(batch_norm=0.6)
    with torch.no_grad():
        latent.shift.copy_(torch.arange(5.0))
    mean = latent(3 * torch.randn(50, 7) + 2).mean
    torch.testing.assert_close(mean.mean(dim=0), torch.arange(5.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean.std(dim=0, correction=0), torch.full((5,), 0.6))


def test_batch_norm_bounds_the_kl_from_below():
    """Zhu et al. 2020: Z * gamma^2 / 2 nats, whatever the encoder does."""
    latent = build(batch_norm=0.6)
    with torch.no_grad():
        latent.logvar.weight.zero_()
        latent.logvar.bias.zero_()  # the lowest KL there is: unit variance, no shift
    kl = latent.kl(latent(torch.randn(50, 7))).sum(dim=1).mean()
    assert kl.item() == pytest.approx(5 * 0.6**2 / 2, rel=1e-4)


def test_batch_norm_evaluates_with_the_figures_of_training():
    latent = build(batch_norm=0.6)
    hidden = 3 * torch.randn(200, 7) + 2
    for _ in range(200):
        trained = latent(hidden).mean
    latent.eval()
    torch.testing.assert_close(latent(hidden).mean, trained, atol=0.01, rtol=0.01)
    # Sentences do not know each other any more.
    torch.testing.assert_close(latent(hidden[:1]).mean, latent(hidden).mean[:1])


def test_batch_norm_of_one_sentence_in_training():
    latent = build(batch_norm=0.6)
    hidden = torch.randn(1, 7)
    before = latent.normalize.running_mean.clone()
    mean = latent(hidden).mean
    assert torch.equal(latent.normalize.running_mean, before)
    torch.testing.assert_close(mean, latent.eval()(hidden).mean)
