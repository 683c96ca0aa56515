"""Weights in 8 bits: what they compute, what that costs, and where they are refused."""

from __future__ import annotations

from typing import Any

import contracts
import numpy as np
import pytest
import torch
from small import run_seqae
from torch import Generator, Tensor

import seqae
from seqae.batch import length_mask
from seqae.model import int8
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import Decoder
from seqae.model.encoders import GRUEncoder, LSTMEncoder
from seqae.model.int8 import Int8Linear, Int8Stack, to_int8
from seqae.model.int8_product import Int8Matrix
from seqae.model.recurrent import GRUStack, LSTMStack

TEXTS = ["the cat sat on the mat", "she read the letter twice", "no"]


@pytest.fixture
def small_layers(monkeypatch):
    """Count even the layers of tests as large."""
    monkeypatch.setattr(int8, "MIN_WEIGHTS", 0)


@pytest.fixture
def int8_instructions(monkeypatch):
    """Take any processor for one that multiplies 8-bit numbers; others are right, but slower."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx_vnni": True})


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def test_a_product_by_hand():
    matrix = Int8Matrix(torch.tensor([[1.0, -0.5], [0.0, 0.0], [2.54, 0.01]]))
    assert matrix.steps.tolist() == [[127, -64], [0, 0], [127, 0]]  # halves go to the even one
    product = matrix(torch.tensor([[[12.7, 0.1], [0.0, 0.0]]]))
    # The input is 127 and 1 steps of 0.1; the weights are rounded as above.
    first = [0.1 * (127 * 127 - 64) / 127, 0.0, 0.1 * 2.54 * 127]
    assert torch.allclose(product, torch.tensor([[first, [0.0] * 3]]), atol=1e-5)
    assert matrix(torch.zeros(2, 0, 2)).shape == (2, 0, 3)
    assert torch.equal(matrix(torch.tensor([12.7, 0.1])), product[0, 0])


def test_a_product_errs_by_half_a_step_at_most():
    weight, rows = drawn(40, 30), drawn(7, 30, seed=1)
    matrix = Int8Matrix(weight)
    assert (matrix.dequantised() - weight).abs().le(matrix.scale[:, None] / 2 + 1e-7).all()
    steps = rows.abs().amax(dim=1, keepdim=True) / 127
    expected = (rows / steps).round() * steps @ matrix.dequantised().t()
    assert torch.allclose(matrix(rows), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [GRUStack, LSTMStack])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_computes_what_the_float_one_does(kind, bidirectional):
    stack = kind(12, 16, num_layers=2, bidirectional=bidirectional).eval()
    inputs, lengths = drawn(5, 6, 12), torch.tensor([6, 1, 3, 6, 2])
    real = length_mask(lengths, 6)
    with torch.no_grad():
        expected, found = stack(inputs, lengths), Int8Stack(stack)(inputs, lengths)
        assert (found[0] - expected[0])[real].abs().max() < 0.03
        assert (found[1] - expected[1]).abs().max() < 0.03
        if bidirectional:
            return
        state = tuple(drawn(5, 2, 16, seed=seed) for seed in range(stack.num_states))
        outputs, last = stack.extend(inputs, state)
        rounded, rounded_last = Int8Stack(stack).extend(inputs, state)
        assert (rounded - outputs).abs().max() < 0.05
        for own, other in zip(rounded_last, last, strict=True):
            assert own.shape == other.shape
            assert (own - other).abs().max() < 0.1


def test_every_large_layer_is_replaced(small_layers):
    for decoder in contracts.concrete_subclasses(Decoder):
        model = contracts.make_model(decoder=decoder(**contracts.configurations(decoder)[0]))
        to_int8(model.eval())
        left = [
            name
            for part in (model.encoder, model.decoder)
            for name, module in part.named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.GRU | torch.nn.LSTM)
        ]
        assert not left, decoder


def forms() -> list[Any]:
    """One form of each decoder that needs no memory, under each head that fits."""
    found = []
    for index, decoder in enumerate(contracts.concrete_subclasses(Decoder)):
        if not issubclass(decoder, contracts.AttentionDecoder):
            head = contracts.HEADS[index % 3]
            found.append(pytest.param(decoder, head, id=f"{decoder.__name__}-{head}"))
    return found


@pytest.mark.parametrize(("decoder", "head"), forms())
@pytest.mark.parametrize("encoder", [GRUEncoder(8), LSTMEncoder(8)], ids=["gru", "lstm"])
def test_a_model_computes_what_the_float_one_does(decoder, head, encoder, small_layers):
    arguments = contracts.configurations(decoder)[0]
    model = contracts.make_model(encoder=encoder, decoder=decoder(**arguments), head=head).eval()
    batch = contracts.random_batch()
    with torch.no_grad():
        latent, logits = model.encode(batch).latent, model(batch)
        to_int8(model)
        assert (model.encode(batch).latent - latent).abs().max() < 0.1 * latent.abs().max()
        close = (model(batch) - logits)[batch.target_mask].abs()
        assert close.mean() < 0.05 * logits[batch.target_mask].std()
        # A step gives the logits of teacher forcing; what the loss reads is the same layer.
        state, token = model.init_state(latent), batch.token_ids[:, 0]
        stepped, _ = model.step(token, state)
        forced = model.decode(batch.decoder_input, latent)
        assert torch.allclose(stepped, model.logits(forced)[:, 0], atol=0.05)
        inputs, weight, bias = model.output_layer(forced)
        plain = torch.nn.functional.linear(inputs, weight, bias)
        assert (plain - model.logits(forced)).abs().mean() < 0.05 * plain.std()


def test_a_row_depends_on_no_other(small_layers):
    model = to_int8(contracts.make_model().eval())
    latent = drawn(4, model.latent_dim)
    with torch.no_grad():
        whole, _ = model.step(torch.full((4,), 2), model.init_state(latent))
        alone = [model.step(torch.full((1,), 2), model.init_state(row[None]))[0] for row in latent]
    assert torch.allclose(whole, torch.cat(alone), atol=1e-6)


def test_a_bundle_in_8_bits(tmp_path, monkeypatch, int8_instructions):
    plain, model = seqae.load("demo"), seqae.load("demo", compute_type="int8")
    assert isinstance(model.autoencoder, SequenceAutoencoder)
    assert any(isinstance(module, Int8Linear) for module in model.autoencoder.modules())
    sizes = [
        sum(p.numel() * p.element_size() for p in one.autoencoder.parameters())
        for one in (plain, model)
    ]
    assert sizes[1] < 0.6 * sizes[0]
    assert model.reconstruct(TEXTS) == TEXTS
    latents = plain.encode(TEXTS)
    assert np.abs(model.encode(TEXTS) - latents).max() < 0.03 * np.abs(latents).max()
    with pytest.raises(ValueError, match=r"^`compute_type` must be float32 for a model that is"):
        model.save(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"^`device` must be cpu for `compute_type: int8`"):
        model.to("cuda")
    with pytest.raises(ValueError, match=r"^`device` must be cpu for `compute_type: int8`"):
        seqae.load("demo", "cuda", compute_type="int8")
    with pytest.raises(ValueError, match=r"^`compute_type` must be one of"):
        seqae.load("demo", compute_type="int4")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(ValueError, match=r"^`compute_type` must be float32 on a processor"):
        seqae.load("demo", compute_type="int8")


def test_the_commands_in_8_bits(capsys, int8_instructions):
    assert run_seqae("reconstruct", "demo", *TEXTS, "--compute_type", "int8") == 0
    assert capsys.readouterr().out.splitlines() == TEXTS
