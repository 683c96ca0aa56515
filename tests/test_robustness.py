"""The robustness curve: its area, its noise, and models that are told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small import SENTENCES

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent, Latent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.tasks.evaluate.robustness import NOISE, TOLD, Curve, robustness


def untrained(latent: Latent, noise: LatentNoise | None) -> TextAutoencoder:
    tokenizer = ByteTokenizer()
    tokenizer.train(SENTENCES)
    parts = GRUEncoder(8), latent, GRUDecoder(8)
    network = SequenceAutoencoder(*parts, embedding_dim=8, latent_noise=noise)
    return TextAutoencoder(network.build(tokenizer.vocabulary, 64).eval(), tokenizer)


def test_the_area_by_hand() -> None:
    """BLEU falls from 100 to 0 between a noise of 0.7 and 1."""
    curve = Curve((1.0,) * 6 + (0.0,) * 3, (100.0,) * 6 + (0.0,) * 3)
    assert curve.area() == pytest.approx((0.7 * 100 + 0.3 * 50) / 2)
    assert curve.metrics()["noise_exact_match"] == 1.0
    assert curve.metrics()["noise_bleu"] == 0.0
    assert Curve((1.0,) * 9, (100.0,) * 9).area() == pytest.approx(100)


def test_noise_is_in_proportion_to_each_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    model = untrained(DeterministicLatent(2), None)
    latents = np.random.default_rng(0).normal(5, (1, 100), (32, 2)).astype(np.float32)
    seen: list[np.ndarray[Any, Any]] = []

    def decode_ids(self: TextAutoencoder, noisy: Any, **how: Any) -> list[list[int]]:
        seen.append(noisy.reshape(len(NOISE), *latents.shape))
        assert how["default_noise"] is None
        return [[1] for _ in noisy]

    monkeypatch.setattr(TextAutoencoder, "encode", lambda *_: latents)
    monkeypatch.setattr(TextAutoencoder, "decode_ids", decode_ids)
    assert list(robustness(model, SENTENCES, SENTENCES, seed=0)) == ["model"]
    added = (seen[0] - latents) / latents.std(axis=0)
    np.testing.assert_array_equal(added[0], 0)
    np.testing.assert_allclose(added[-1], 2 * added[6], rtol=1e-3, atol=1e-4)
    assert added[6].std() == pytest.approx(1, abs=0.2)


def test_a_model_that_is_told_the_noise_has_two_curves() -> None:
    model = untrained(DeterministicLatent(8, normalize="layer"), LatentNoise())
    curves = robustness(model, SENTENCES, SENTENCES, seed=0)
    assert list(curves) == ["model", TOLD]
    assert curves == robustness(model, SENTENCES, SENTENCES, seed=0)
    assert curves["model"].bleu[0] == curves[TOLD].bleu[0]
