"""A flow finds two moons, follows length and label, stops at the noise that it is asked for."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from seqae.priors import Drawing, FlowPrior, GaussianPrior
from seqae.priors.conditions import MAX_LABELS


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def moons(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles (as scikit-learn makes them), and which of them each is on."""
    generator = seeded(seed)
    side = torch.arange(count) % 2
    angle = torch.rand(count, generator=generator) * np.pi
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    points = torch.where(side[:, None] == 0, upper, torch.tensor([1.0, 0.5]) - upper)
    return points + 0.05 * torch.randn(count, 2, generator=generator), side


def sliced_wasserstein(left: Tensor, right: Tensor) -> float:
    """The mean distance of sorted projections (Rabin et al. 2011), over 64 directions."""
    directions = torch.nn.functional.normalize(torch.randn(64, 2, generator=seeded()), dim=1)
    sides = [(points @ directions.T).sort(dim=0).values for points in (left, right)]
    return float((sides[0] - sides[1]).abs().mean())


@pytest.fixture(scope="module")
def flow() -> FlowPrior:
    points, side = moons(2000, 0)
    prior = FlowPrior(hidden_dim=48, steps=600)
    prior.fit(points, 5 + 10 * side, [("up", "down")[i] for i in side.tolist()])
    return prior


def test_it_is_nearer_to_two_moons_than_a_gaussian(flow: FlowPrior) -> None:
    gaussian, (unseen, _) = GaussianPrior(), moons(2000, 1)
    gaussian.fit(moons(2000, 0)[0])
    near, far = (
        sliced_wasserstein(prior.sample(2000, seeded(2)), unseen) for prior in (flow, gaussian)
    )
    assert near < 0.05 < 0.09 < far


@pytest.mark.parametrize("side", [0, 1])
def test_length_and_label_choose_a_moon(flow: FlowPrior, side: int) -> None:
    unseen, sides = moons(2000, 1)
    for asked in (Drawing(length=5 + 10 * side), Drawing(label=("up", "down")[side])):
        drawn = flow.sample(1000, seeded(3), asked)
        own, other = (sliced_wasserstein(drawn, unseen[sides == i]) for i in (side, 1 - side))
        assert own < 0.12
        assert own < other / 4


def test_a_draw_with_noise_is_a_latent_with_that_noise(flow: FlowPrior) -> None:
    unseen, _ = moons(2000, 1)
    for noise in (0.5, 2.0):
        drawn = torch.randn(2000, 2, generator=seeded(4))
        wanted = (unseen + noise * drawn) / (1 + noise**2) ** 0.5
        assert sliced_wasserstein(flow.sample(2000, seeded(5), Drawing(noise=noise)), wanted) < 0.06


def test_no_temperature_gives_one_latent(flow: FlowPrior) -> None:
    drawn = flow.sample(5, seeded(), Drawing(prior_temperature=0.0, length=9))
    assert float((drawn - drawn[0]).abs().max()) < 1e-5
    assert flow.sample(0, seeded()).shape == (0, 2)


def test_the_same_seed_gives_the_same_flow_and_no_global_number_is_drawn() -> None:
    points, side = moons(50, 0)
    before = torch.get_rng_state()
    fitted = []
    for _ in range(2):
        prior = FlowPrior(hidden_dim=8, steps=5)
        prior.fit(points, side + 3, seed=7)
        fitted.append(prior)
    assert torch.equal(torch.get_rng_state(), before)
    first, again = (prior.tensors() for prior in fitted)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_what_it_was_not_fitted_with_is_refused(flow: FlowPrior) -> None:
    plain = FlowPrior(hidden_dim=8, steps=2)
    plain.fit(moons(50, 0)[0])
    assert "`length`" in contracts.refusal(plain.sample, 1, seeded(), Drawing(length=5))
    assert "(none)" in contracts.refusal(plain.sample, 1, seeded(), Drawing(label="up"))
    assert "(down, up)" in contracts.refusal(flow.sample, 1, seeded(), Drawing(label="left"))


def test_what_is_stored_draws_the_same(flow: FlowPrior) -> None:
    again = FlowPrior.from_config(flow.config())
    assert isinstance(again, FlowPrior)
    expected = again.expected_tensors(2, flow.found())
    assert {n: t.shape for n, t in expected.items()} == {
        n: t.shape for n, t in flow.tensors().items()
    }
    again.restore(flow.tensors(), flow.found())
    asked = Drawing(label="up", guidance=1.5)
    assert torch.equal(again.sample(9, seeded(), asked), flow.sample(9, seeded(), asked))


@pytest.mark.parametrize(
    "labels", [None, "up", [1], ["a" * 201], ["a"] * (MAX_LABELS + 1), {"a": 1}]
)
def test_hostile_labels_are_refused(labels: object) -> None:
    assert "`labels`" in contracts.refusal(FlowPrior().expected_tensors, 2, {"labels": labels})
