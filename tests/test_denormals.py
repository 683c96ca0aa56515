"""Training takes numbers that are too small for fast arithmetic as zero, and only training does."""

from __future__ import annotations

import pytest
import torch

from seqae.training.optimization.denormals import DENORMAL, flushing_denormals


def product() -> float:
    return float(torch.tensor(DENORMAL) * 1.5)


def test_denormals_are_zero_inside_and_numbers_again_after() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush")
    with flushing_denormals():
        assert product() == 0
        with flushing_denormals():
            assert product() == 0
        assert product() == 0
    assert product() > 0


def test_an_error_ends_it_too() -> None:
    with pytest.raises(ValueError, match="of a training"), flushing_denormals():
        raise ValueError("of a training")
    if torch.set_flush_denormal(False):
        assert product() > 0
