"""Contracts of every latent, and what each one computes."""

from __future__ import annotations

from typing import Any

import contracts
import pytest
import torch

from seqae.model.latents import DeterministicLatent, Latent

every_latent = pytest.mark.parametrize(("cls", "arguments"), contracts.each(Latent))


def build(cls: type[Latent], arguments: dict[str, Any]) -> Latent:
    latent = cls(**arguments)
    latent.build(7)
    return latent.eval()


@every_latent
def test_rows_do_not_know_each_other(cls, arguments):
    latent, hidden = build(cls, arguments), torch.randn(4, 7)
    output = latent(hidden).latent
    assert output.shape == (4, latent.output_dim)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(latent(hidden[order]).latent, output[order])
    torch.testing.assert_close(latent(hidden[:1]).latent, output[:1])


@every_latent
def test_finite_in_half_precision_and_gradients_reach_every_parameter(cls, arguments):
    latent, hidden = build(cls, arguments), torch.randn(4, 7)
    weights = torch.randn(4, latent.output_dim)
    if any(p.requires_grad for p in latent.parameters()):
        drawn = latent(hidden, torch.Generator().manual_seed(0)).latent
        loss = (drawn * weights).sum()
        contracts.check_reached(contracts.gradients(loss, latent))
    with torch.autocast("cpu", torch.bfloat16):
        output = latent(hidden).latent
    contracts.check_finite(output)
    torch.testing.assert_close(output.float(), latent(hidden).latent, atol=0.05, rtol=0.05)


@every_latent
def test_the_seed_decides_the_weights(cls, arguments):
    contracts.check_build(lambda: build(cls, arguments))


def test_null_takes_the_hidden_vector_as_it_is():
    latent, hidden = build(DeterministicLatent, {"latent_dim": None}), torch.randn(4, 7)
    assert latent.output_dim == 7
    output = latent(hidden)
    assert torch.equal(output.latent, hidden)
    assert output.mean is None
    assert output.logvar is None


def test_the_map_by_hand():
    latent = build(DeterministicLatent, {"latent_dim": 2})
    with torch.no_grad():
        latent.projection.weight.zero_()
        latent.projection.weight[0, 0], latent.projection.weight[1, 6] = 2.0, -1.0
        latent.projection.bias.copy_(torch.tensor([0.5, 0.0]))
    hidden = torch.arange(7.0)[None] + 1
    assert latent(hidden).latent.tolist() == [[2.5, -7.0]]


def test_normalize_gives_zero_mean_and_unit_variance():
    latent = build(DeterministicLatent, {"latent_dim": 64, "normalize": "layer"})
    output = latent(100 * torch.randn(5, 7) + 30).latent
    torch.testing.assert_close(output.mean(dim=1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var(dim=1, correction=0), torch.ones(5), atol=1e-3, rtol=0)
    assert [name for name, _ in latent.named_parameters()] == [
        "projection.weight",
        "projection.bias",
    ]


def test_sphere_gives_length_one_to_each_vector():
    latent = DeterministicLatent(4, normalize="sphere")
    latent.build(7, num_latents=3)
    output = latent(torch.randn(5, 3, 7)).latent
    assert output.shape == (5, latent.output_dim) == (5, 12)
    torch.testing.assert_close(output.reshape(5, 3, 4).norm(dim=2), torch.ones(5, 3))


def test_a_layer_without_statistics_gathers_nothing():
    latent, hidden = build(DeterministicLatent, {"latent_dim": 4}).train(), torch.randn(5, 7)
    expected = latent(hidden).latent
    latent.set_all_gather(lambda values: pytest.fail("gathered"))
    assert torch.equal(latent(hidden).latent, expected)
