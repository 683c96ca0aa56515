"""Nested dropout: which numbers the decoder gets, and which models may be trained so."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Generator

from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.latents.nested_dropout import drop_last_numbers
from seqae.objectives import Reconstruction


def test_half_of_the_latents_keep_their_first_numbers_any_count_alike():
    latent = torch.randn(20_000, 8, generator=Generator().manual_seed(1))
    cut = drop_last_numbers(latent, 0.5, Generator().manual_seed(0))
    kept = (cut != 0).sum(dim=1)
    first = torch.arange(8) < kept[:, None]
    assert torch.equal(cut, latent * first)
    shares = torch.bincount(kept, minlength=9) / len(kept)
    expected = torch.tensor([0, *[1 / 16] * 7, 1 / 16 + 1 / 2])
    assert torch.allclose(shares, expected, atol=0.006)


def test_none_is_cut_without_a_share():
    latent = torch.randn(50, 8)
    assert torch.equal(drop_last_numbers(latent, 0.0, Generator()), latent)
    assert (drop_last_numbers(latent, 1.0, Generator()) == 0).any()


def test_the_decoder_gets_cut_latents_in_training_alone(monkeypatch):
    model = contracts.make_model(latent=DeterministicLatent(8), nested_dropout=1.0)
    given = []
    decode = type(model).decode

    def watched(self, decoder_input, latent, *others):
        given.append(latent)
        return decode(self, decoder_input, latent, *others)

    monkeypatch.setattr(type(model), "decode", watched)
    batch = contracts.random_batch()
    for training in (True, False):
        Reconstruction()(model.train(training), batch, 0, Generator().manual_seed(0))
    cut, whole = given
    assert (cut[:, -1] == 0).any()
    assert (cut[:, 0] != 0).all()
    assert (whole != 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"latent_noise": LatentNoise(), "latent": DeterministicLatent(8, normalize="layer")},
        {"content": ContentEncoder(8), "latent": DeterministicLatent(8)},
    ],
)
def test_numbers_of_another_meaning_are_refused(options):
    message = contracts.refusal(contracts.make_model, nested_dropout=0.5, **options)
    assert "must be null under `nested_dropout`" in message
