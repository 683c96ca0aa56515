"""MMD: worked by hand, zero for equal samples, unbiased, and it tells distributions apart."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Generator

from seqae.objectives import Reconstruction, WassersteinMMD
from seqae.objectives.wasserstein import SCALES, squared_mmd


def test_zero_for_equal_samples():
    sample = torch.randn(20, 8)
    assert squared_mmd(sample, sample.clone()).abs() < 1e-6


def test_by_hand():
    """Two points each in one dimension; C = 2 s (2^2 + 5^2) / 2."""
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [5.0]])
    expected = 0.0
    for scale in SCALES:

        def kernel(distance: float, width: float = 29 * scale) -> float:
            return width / (width + distance**2)

        within = kernel(1) + kernel(3)  # each pair twice, over n (n - 1) = 2
        across = kernel(5) + kernel(1)  # rows 0 and 1, 1 and 0: not those of the same index
        expected += within - across
    assert squared_mmd(first, second).item() == pytest.approx(expected, rel=1e-5)


def test_unbiased():
    """Over many pairs of samples from one distribution the mean is zero, within its error."""
    values = torch.stack([squared_mmd(*torch.randn(2, 8, 4)) for _ in range(3000)])
    assert values.mean().abs() < 4 * values.std() / 3000**0.5
    assert values.min() < 0


@pytest.mark.parametrize(
    "change", [lambda z: z + 0.5, lambda z: 0.5 * z, lambda z: z[:, :1].expand_as(z)]
)
def test_tells_another_distribution(change):
    same = squared_mmd(torch.randn(300, 8), torch.randn(300, 8)).abs()
    other = squared_mmd(change(torch.randn(300, 8)), torch.randn(300, 8))
    assert other > 10 * same


def test_descending_it_reaches_the_prior():
    scale = torch.full((4,), 3.0, requires_grad=True)
    shift = torch.full((4,), 2.0, requires_grad=True)
    optimizer = torch.optim.Adam([scale, shift], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        squared_mmd(scale * torch.randn(100, 4) + shift, torch.randn(100, 4)).backward()
        optimizer.step()
    assert shift.abs().max() < 0.25
    assert (scale - 1).abs().max() < 0.25


def test_one_sentence_has_none():
    latent = torch.randn(1, 4, requires_grad=True)
    mmd = squared_mmd(latent, torch.randn(1, 4))
    assert mmd == 0
    assert torch.equal(torch.autograd.grad(mmd, latent)[0], torch.zeros(1, 4))


def test_loss_by_hand():
    model, batch = contracts.make_model(), contracts.random_batch()
    values = WassersteinMMD(mmd_weight=3.0)(model, batch, 0, Generator().manual_seed(0))
    prior = torch.randn(4, 8, generator=Generator().manual_seed(0))
    mmd = squared_mmd(model.encode(batch).latent, prior)
    plain = Reconstruction()(model, batch, 0, Generator())["loss"]
    torch.testing.assert_close(values["mmd"], mmd.detach())
    torch.testing.assert_close(values["loss"], plain + 3.0 * 4 * mmd / batch.num_targets)
