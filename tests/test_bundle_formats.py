"""Bundles of earlier versions still load, and give what they gave then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import SENTENCES

import seqae

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = sorted(FIXTURES.glob("bundle_format_*"))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_reconstructs_as_it_did(folder: Path) -> None:
    """Each fixture is the small recipe, trained until it copied all of its 32 sentences."""
    assert seqae.load(folder).reconstruct(SENTENCES) == list(SENTENCES)


def test_latents_of_format_1() -> None:
    latent = seqae.load(FIXTURES / "bundle_format_1").encode(["the cat sees the mat"])[0]
    assert latent[:4] == pytest.approx([0.157849, -0.572674, -0.062240, -1.223621], rel=1e-4)
    assert np.linalg.norm(latent) == pytest.approx(4.846057, rel=1e-4)


def test_density_of_format_1() -> None:
    samples = seqae.load(FIXTURES / "bundle_format_1").sample(3, seed=1)
    assert samples == ["a dog likes the red ball", "the cat finds the", "the cat finds the"]
