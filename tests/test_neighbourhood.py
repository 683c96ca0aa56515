"""Training latents with noise: as noisy as they say, each once, and to the bit from a bundle."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Generator

from seqae.priors import Drawing, NeighbourhoodPrior
from seqae.priors.neighbourhood import MAX_LATENTS


def unit_latents(count: int, size: int = 64) -> torch.Tensor:
    drawn = torch.randn(count, size, generator=Generator().manual_seed(0))
    return torch.nn.functional.layer_norm(drawn, (size,))


def fitted(latents: torch.Tensor) -> NeighbourhoodPrior:
    prior = NeighbourhoodPrior()
    prior.fit(latents)
    return prior


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_draws_are_at_the_angle_that_their_noise_says(noise: float) -> None:
    latents = unit_latents(50, 512)
    drawn = fitted(latents).sample(50, Generator().manual_seed(1), Drawing(noise=noise))
    cosine = torch.nn.functional.cosine_similarity(drawn[:, None], latents[None], dim=-1)
    nearest, index = cosine.max(dim=1)
    assert sorted(index.tolist()) == list(range(50))  # each was drawn once
    assert float(nearest.mean()) == pytest.approx((1 + noise**2) ** -0.5, abs=0.02)
    assert float(drawn.pow(2).mean()) == pytest.approx(1.0, abs=0.02)


def test_without_noise_they_are_training_latents() -> None:
    latents = unit_latents(9)
    drawn = fitted(latents).sample(20, Generator().manual_seed(1), Drawing(noise=0.0))
    distance = torch.cdist(drawn, latents).min(dim=1).values
    assert float(distance.max()) < 0.01  # they are kept in 16 bits


def test_some_of_many_are_kept() -> None:
    prior = fitted(unit_latents(MAX_LATENTS + 500, 2))
    assert prior.latents.shape == (MAX_LATENTS, 2)
    assert prior.latents.dtype == torch.float16
    assert prior.sample(0, Generator()).shape == (0, 2)


def test_latents_that_do_not_fit_16_bits_are_refused() -> None:
    large = {"latents": torch.full((2, 4), 1e5)}
    assert "16 bits" in contracts.refusal(NeighbourhoodPrior().restore, large, {"count": 2})


@pytest.mark.parametrize("count", [0, MAX_LATENTS + 1, 1.5, "9", None])
def test_a_hostile_count_is_refused_before_its_size_is_believed(count: object) -> None:
    found = {"count": count}
    assert "`count`" in contracts.refusal(NeighbourhoodPrior().expected_tensors, 4, found)
