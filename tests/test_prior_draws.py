"""What a model draws from where nothing is said, and at which noise that is decoded."""

from __future__ import annotations

from typing import Any, get_args

import contracts
import numpy as np
import pytest
import torch
from test_latent_noise import told_model

from seqae.bundle.prior_draws import (
    PriorKind,
    PriorName,
    default_prior,
    draw,
    fit_priors,
    make_prior,
    usual_priors,
)
from seqae.component import concrete_subclasses
from seqae.model.latents import VectorQuantisedLatent
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.priors import Drawing, GaussianPrior, NeighbourhoodPrior, Prior


def latents(count: int = 40, size: int = 8) -> torch.Tensor:
    drawn = torch.randn(count, size, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.layer_norm(drawn, (size,))


def of_told(name: str | None = None, **drawing: Any) -> Any:
    model = told_model()
    priors = fit_priors(usual_priors(model), latents())
    return draw(model, priors, 30, name, 1, Drawing(**drawing))


def test_every_kind_has_a_name_on_the_command_line() -> None:
    shipped = [cls for cls in concrete_subclasses(Prior) if cls.__module__.startswith("seqae.")]
    assert sorted(get_args(PriorKind)) == sorted(cls.kind for cls in shipped)
    assert get_args(PriorName) == ("prior", *get_args(PriorKind))
    model = contracts.make_model(latent=VectorQuantisedLatent(8, 4, 2))
    kinds = [kind for kind in get_args(PriorKind) if kind != "neighbourhood"]
    assert [make_prior(kind, model).kind for kind in kinds] == kinds
    assert make_prior("neighbourhood", told_model()).kind == "neighbourhood"
    assert "`kind` must not be neighbourhood" in contracts.refusal(
        make_prior, "neighbourhood", model
    )


def test_no_sentence_is_asked_for_that_the_model_cannot_write() -> None:
    model = told_model()
    longest = model.max_length
    assert f"`length` must be at most {longest}" in contracts.refusal(
        draw, model, {}, 1, None, 0, Drawing(length=longest + 1)
    )
    assert "`label` must be a text" in contracts.refusal(Drawing, label=5)


def test_draws_of_a_damaged_prior_name_it() -> None:
    priors = fit_priors([GaussianPrior()], latents())
    found = priors["gaussian"].tensors()
    priors["gaussian"].restore(
        {name: 1e38 * tensor.sign() * 3 for name, tensor in found.items()}, {}
    )
    message = contracts.refusal(draw, told_model(), priors, 3, "gaussian", 0, Drawing())
    assert "gaussian draws NaN or infinity" in message


def test_a_model_that_is_told_draws_from_its_neighbourhood() -> None:
    model = told_model()
    priors = fit_priors(usual_priors(model), latents())
    assert list(priors) == ["gaussian", "neighbourhood"]
    assert default_prior(model, priors) == "neighbourhood"
    del priors["neighbourhood"]  # left out, for it holds training sentences
    assert default_prior(model, priors) == "gaussian"


@pytest.mark.parametrize(
    ("name", "noise"),
    [(None, 2.5), ("gaussian", GaussianPrior().noise), ("prior", MAX_NOISE)],
)
def test_draws_say_their_noise_and_are_of_unit_scale(name: str | None, noise: float) -> None:
    drawn = of_told(name)
    assert drawn.noise.tolist() == [noise] * 30
    np.testing.assert_allclose((drawn.latents**2).mean(axis=1), 1.0, rtol=1e-5)
    assert of_told(name, noise=0.5).noise.tolist() == [0.5] * 30


def test_a_lower_temperature_draws_nearer_to_the_mean() -> None:
    prior = GaussianPrior()
    prior.fit(latents() + 3)
    model = contracts.make_model()
    drawn = [
        draw(model, {"gaussian": prior}, 500, "gaussian", 1, Drawing(temperature)).latents.std()
        for temperature in (1.0, 0.5, 0.0)
    ]
    assert drawn[1] == pytest.approx(drawn[0] / 2, rel=0.1)
    assert drawn[2] < 0.5  # what remains is the difference of the dimensions' means


def test_the_neighbourhood_is_refused_where_no_noise_can_be_told() -> None:
    prior = NeighbourhoodPrior()
    prior.fit(latents())
    priors: dict[str, Prior] = {"neighbourhood": prior}
    message = contracts.refusal(
        draw, contracts.make_model(), priors, 1, "neighbourhood", 0, Drawing()
    )
    assert "`seqae fit -c fluent`" in message


@pytest.mark.parametrize(
    "options",
    [{"prior_temperature": -1.0}, {"length": 1}, {"guidance": -1.0}, {"noise": 1e9}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    assert f"`{next(iter(options))}` must be between" in contracts.refusal(Drawing, **options)
