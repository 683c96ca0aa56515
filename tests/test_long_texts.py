"""Texts of any length: a latent for each stretch, and joined again without loss."""

from __future__ import annotations

import itertools

import contracts
import numpy as np
import pytest
import torch

from seqae.bundle.operations.long_texts import LongLatents
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.tasks.evaluate.groups import within_stretches

SPLIT = {"training": {"config": {"data": {"too_long": "split"}}}}
TEXTS = ["a cat", "the café is open, and a cat sat on it", "", "the cat saw a dog"]


class Copying:
    """Stands in for a model that reconstructs every stretch perfectly."""

    def __init__(self, model: TextAutoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[list[int]] = []
        monkeypatch.setattr("seqae.bundle.operations.long_texts.encode_rows", self.encode)
        monkeypatch.setattr(type(model), "decode_ids", self.decode)

    def encode(self, autoencoder, rows, *_, **__):
        self.rows = list(rows)
        return np.repeat(np.arange(len(rows), dtype=np.float32)[:, None], 5, axis=1)

    def decode(self, latents, *_, **__):
        return [self.rows[int(latent[0])][1:] for latent in latents]


@pytest.fixture(scope="module")
def model() -> TextAutoencoder:
    torch.manual_seed(0)
    parts = GRUEncoder(6), DeterministicLatent(5), GRUDecoder(7)
    tokenizer = ByteTokenizer()
    autoencoder = SequenceAutoencoder(*parts, embedding_dim=6).build(tokenizer.vocabulary, 14)
    return TextAutoencoder(autoencoder.eval(), tokenizer, SPLIT)


def test_what_every_stretch_keeps_the_text_keeps(model, monkeypatch):
    Copying(model, monkeypatch)
    assert model.reconstruct(TEXTS) == TEXTS
    latents, mask = model.encode_long(TEXTS)
    assert mask.sum(axis=1).tolist() == [1, 4, 1, 2]
    assert model.decode_long(latents, mask) == TEXTS
    assert model.decode_long(LongLatents(latents, mask)) == TEXTS
    assert model.decode_long(model.encode_long(TEXTS[1])) == TEXTS[1]


def test_a_missing_token_shifts_its_stretch_alone(model, monkeypatch):
    Copying(model, monkeypatch)
    decoded = model.reconstruct_counting(TEXTS).stretches
    assert decoded == model.stretches(TEXTS)
    assert [list(itertools.chain(*own)) for own in decoded] == model.reconstruct_ids(TEXTS)
    tokens = sum(len(row) + 1 for own in decoded for row in own)
    decoded[1][0].pop()  # the token and the end of its stretch are wrong
    score = within_stretches(model, decoded, TEXTS)["stretch_token_accuracy"]
    assert score == pytest.approx((tokens - 2) / tokens)
    assert within_stretches(model, [[[]]], ["a"]) == {}


def test_the_latent_of_a_stretch_is_that_of_its_text_alone(model):
    latents, mask = model.encode_long(TEXTS)
    assert latents.shape == (4, 4, 5)
    assert not latents[~mask].any()
    for row, text in ((0, TEXTS[0]), (2, TEXTS[2])):
        np.testing.assert_allclose(latents[row, 0], model.encode(text), atol=1e-6)
    np.testing.assert_allclose(latents[3, 0], model.encode("the cat"), atol=1e-6)
    np.testing.assert_allclose(latents[3, 1], model.encode(" saw a dog"), atol=1e-6)


def test_decoding_what_was_encoded_is_reconstructing(model):
    assert model.decode_long(model.encode_long(TEXTS)) == model.reconstruct(TEXTS)
    one = model.encode_long(TEXTS[1])
    assert (one.latents.shape, one.mask.shape) == ((4, 5), (4,))
    assert model.decode_long(*one) == model.reconstruct(TEXTS[1])


def test_no_text_gives_no_stretch(model):
    latents, mask = model.encode_long([])
    assert (latents.shape, mask.shape) == ((0, 0, 5), (0, 0))
    assert model.decode_long(latents, mask) == model.reconstruct([]) == []


@pytest.mark.parametrize(
    ("details", "policy"),
    [
        ({}, "error"),
        ({"training": {"config": {"data": {"too_long": "drop"}}}}, "error"),
        ({"training": {"config": [1]}}, "error"),  # a stranger's
        (SPLIT, "split"),
    ],
)
def test_the_policy_is_that_of_the_training(model, details, policy):
    other = TextAutoencoder(model.autoencoder, model.tokenizer, details)
    assert other.policy == policy
    if policy == "error":
        assert "has 40" in contracts.refusal(other.reconstruct, TEXTS)
    assert len(other.reconstruct_ids(TEXTS, "split")) == len(TEXTS)
    assert other.reconstruct("the cat saw", "truncate") == other.reconstruct("the cat saw")


def test_latents_that_do_not_fit_are_refused(model):
    latents, mask = model.encode_long(TEXTS)
    message = contracts.refusal(model.decode_long, latents, mask[:, :2])
    assert "the shapes (4, 4, 5) and (4, 2)" in message
    assert "(texts, stretches, 5)" in message
    assert "`num_return_sequences`" in contracts.refusal(
        lambda: model.decode_long(latents, mask, temperature=1.0, num_return_sequences=2)
    )
