"""Interpolation, arithmetic, neighbours, transfer and sampling, on a code that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seqae.bundle.operations.latent_ops import between, nearest
from seqae.bundle.prior_draws import fit_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.priors import GaussianPrior, MixturePrior

VECTORS = arrays.arrays(
    np.float32, 6, elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


def plain(layer: Any = None, priors: Any = None) -> TextAutoencoder:
    """A text is its numbers: "1 2" is the vector (1, 2)."""
    if layer is None:
        layer = DeterministicLatent(2)
        layer.build(2)
    model = TextAutoencoder(
        SimpleNamespace(latent=layer, latent_noise=None, parts={}), None, priors=priors
    )

    def encode(texts: Sequence[str], too_long: str = "error", part: Any = None) -> Any:
        return np.array([text.split() for text in texts], dtype=np.float32).reshape(-1, 2)

    def decode(latents: Any, options: Any = None, seed: int = 0) -> list[str]:
        return [" ".join(f"{number:g}" for number in np.round(row, 3) + 0.0) for row in latents]

    def decode_near(latents: Any, sources: Any, options: Any = None, seed: int = 0) -> list[str]:
        return decode(latents)

    model.encode, model.decode, model.decode_near = encode, decode, decode_near
    return model


# Between two vectors


@given(
    start=VECTORS,
    end=VECTORS,
    steps=st.integers(2, 9),
    path=st.sampled_from(["spherical", "linear"]),
)
def test_the_ends_are_the_ends(start, end, steps, path):
    points = between(start, end, steps, path)
    assert points.shape == (steps, 6)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points[[0, -1]], [start, end])


def angle(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


@given(start=VECTORS, end=VECTORS, steps=st.integers(3, 9))
def test_a_spherical_path_keeps_the_norm_and_the_pace(start, end, steps):
    norms = np.linalg.norm(start), np.linalg.norm(end)
    if min(norms) < 1 or not 0.01 < angle(start, end) < 3.1:
        return
    points = between(start, end, steps)
    found = np.linalg.norm(points.astype(np.float64), axis=1)
    np.testing.assert_allclose(found, np.linspace(*norms, steps), rtol=1e-3)
    paces = [angle(a, b) for a, b in zip(points, points[1:], strict=False)]
    np.testing.assert_allclose(paces, angle(start, end) / (steps - 1), rtol=0.02, atol=1e-3)


def test_paths_by_hand():
    half = between(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 3)[1]
    np.testing.assert_allclose(half, [0.5**0.5, 0.5**0.5], rtol=1e-6)
    line = between(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 5, "linear")
    np.testing.assert_allclose(line[1], [0.75, 0.25])


@pytest.mark.parametrize("end", [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_without_an_arc_the_path_is_the_line(end):
    start = np.array([1.0, 0.0])
    np.testing.assert_array_equal(between(start, end, 4), between(start, end, 4, "linear"))


@pytest.mark.parametrize(("steps", "path"), [(1, "linear"), (3, "straight")])
def test_an_impossible_path_is_refused(steps, path):
    contracts.refusal(between, np.zeros(2), np.ones(2), steps, path)


def test_interpolate_and_arithmetic():
    model = plain()
    assert model.interpolate("0 0", "1 4", 3, "linear") == ["0 0", "0.5 2", "1 4"]
    assert model.interpolate("1 0", "0 1", 3) == ["1 0", "0.707 0.707", "0 1"]
    assert model.arithmetic("5 1", "2 0", "1 7") == "4 8"


# Neighbours


def brute_force(asked: Any, latents: Any, count: int, similarity: str) -> list[list[float]]:
    rows = []
    for vector in np.asarray(asked, np.float64):
        others = np.asarray(latents, np.float64)
        if similarity == "euclidean":
            found = -np.linalg.norm(others - vector, axis=1)
        else:
            found = others @ vector / np.linalg.norm(others, axis=1) / np.linalg.norm(vector)
        rows.append(sorted(found, reverse=True)[:count])
    return rows


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    count=st.integers(1, 50),
    similarity=st.sampled_from(["cosine", "euclidean"]),
    block=st.sampled_from([(2, 3), (1, 1), (100, 100)]),
)
def test_neighbours_are_exact(seed, sizes, count, similarity, block):
    rng = np.random.default_rng(seed)
    asked, latents = (rng.normal(size=(n, 4)) for n in sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqae.bundle.operations.latent_ops.ROWS", block[0])
        patch.setattr("seqae.bundle.operations.latent_ops.COLUMNS", block[1])
        values, places = nearest(asked, latents, count, similarity)
    expected = brute_force(asked, latents, count, similarity)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    for vector, row, found in zip(asked, values, places, strict=True):
        assert len(set(found.tolist())) == len(found)
        told = brute_force([vector], latents[found], len(found), similarity)
        np.testing.assert_allclose(row, told[0], atol=1e-5)


def test_near_doubles_far_from_zero_are_told_apart():
    """The distance through a product loses all digits here."""
    latents = 1000.0 + np.array([[0.0, 0.0], [0.01, 0.0], [0.02, 0.0]])
    _, places = nearest(latents[:1] + [[0.012, 0.0]], latents, 3, "euclidean")
    assert places.tolist() == [[1, 2, 0]]


def test_neighbours_of_texts():
    found = plain().neighbours(["1 0"], ["0 1", "2 0", "1 1", "-3 0"], 2)
    assert [(n.text, round(n.similarity, 3)) for n in found[0]] == [("2 0", 1.0), ("1 1", 0.707)]
    found = plain().neighbours(["1 0"], ["0 1", "2 0", "5 0"], 1, "euclidean")
    assert found == [[("2 0", -1.0)]]
    contracts.refusal(plain().neighbours, ["1 0"], ["0 1"], 0)
    contracts.refusal(plain().neighbours, ["1 0"], ["0 1"], 1, "dot")


# Transfer


def test_transfer():
    model = plain()
    attribute = model.attribute(["0 0", "2 0"], ["1 4", "1 6"])
    np.testing.assert_array_equal(attribute, [0.0, 5.0])
    assert model.transfer(["7 7", "0 0"], attribute) == ["7 12", "0 5"]
    assert model.transfer(["7 7"], attribute, strength=-2.0) == ["7 -3"]
    assert contracts.refusal(model.attribute, [], ["1 1"]).startswith("`source` must have")
    assert contracts.refusal(model.attribute, ["1 1"], []).startswith("`target` must have")


# Sampling


def test_the_prior():
    layer = GaussianLatent(3)
    layer.build(4)
    for model, size in ((plain(), 2), (plain(layer), 3)):
        drawn = model.sample_latents(4000, "prior", seed=1)
        assert drawn.shape == (4000, size)
        np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.1)
        np.testing.assert_allclose(np.cov(drawn.T), np.eye(size), atol=0.1)
        np.testing.assert_array_equal(model.sample_latents(4000, "prior", seed=1), drawn)
    # A model with a prior draws from it where nothing else is said.
    np.testing.assert_array_equal(
        plain(layer).sample_latents(5), plain(layer).sample_latents(5, "prior")
    )


def test_fitted_priors():
    rng = np.random.default_rng(0)
    latents = (rng.normal(size=(5000, 2)) @ [[2.0, 0.0], [1.0, 0.5]] + [3.0, -1.0]).astype(
        "float32"
    )
    model = plain(priors=fit_priors([GaussianPrior(), MixturePrior()], latents))
    for name in ("gaussian", "mixture"):
        drawn = model.sample_latents(20_000, name, seed=3)
        np.testing.assert_allclose(drawn.mean(axis=0), latents.mean(axis=0), atol=0.1)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(latents.T), atol=0.25)
    assert model.sample(2, seed=3) == model.decode(model.sample_latents(2, "gaussian", seed=3))
    assert model.sample(0) == []


def test_what_cannot_be_drawn_is_refused():
    for name in (None, "gaussian", "mixture"):
        message = contracts.refusal(plain().sample, 1, name)
        wanted = "given for a bundle" if name is None else "one that the bundle has, prior, but"
        assert message.startswith(f"`prior` must be {wanted}")
        way_out = "seqae prior MODEL" if name is None else f"seqae prior MODEL --kind {name}"
        assert f"`{way_out}`" in message
    codes = VectorQuantisedLatent(8)
    codes.build(4)
    message = contracts.refusal(plain(codes).sample, 1, "prior")
    assert message.startswith("`prior` must be one that is fitted for a VectorQuantised")
    contracts.refusal(plain().sample, 1, "posterior")
    contracts.refusal(plain().sample, -1, "prior")


def test_no_global_random_number_is_drawn():
    model = plain()
    before = torch.get_rng_state()
    latents = np.random.default_rng(0).normal(size=(99, 2)).astype("f4")
    model.priors = fit_priors([GaussianPrior(), MixturePrior()], latents)
    for name in ("prior", "gaussian", "mixture"):
        model.sample(3, name)
    assert torch.equal(torch.get_rng_state(), before)
