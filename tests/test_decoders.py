"""Contracts of every decoder (teacher forcing and stepping agree), and what each one computes."""

from __future__ import annotations

from typing import Any

import contracts
import pytest
import torch
from torch import Tensor, nn

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import (
    AttentionGRUDecoder,
    AttentionTransformerDecoder,
    Decoder,
    DenseDecoder,
    GRUDecoder,
    LSTMDecoder,
    TransformerDecoder,
)
from seqae.model.decoders.recurrent_decoder import RecurrentDecoder
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack

every_decoder = pytest.mark.parametrize(("cls", "arguments"), contracts.each(Decoder))
STEPS = contracts.MAX_LENGTH - 1


def inputs(rows: int = 4, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, steps, contracts.EMBEDDING_DIM), torch.randn(rows, 5)


def forced(decoder: Decoder, embedded: Tensor, latent: Tensor) -> Tensor:
    """What teacher forcing gives for all four rows."""
    features: Tensor = decoder(embedded, latent, **contracts.looked_at(decoder))
    return features


def stepped(decoder: Decoder, embedded: Tensor, latent: Tensor) -> Tensor:
    """What `step` gives when it is fed the true tokens."""
    rows = range(len(latent))
    state, features = decoder.init_state(latent, **contracts.looked_at(decoder, rows)), []
    for place in range(embedded.shape[1]):
        feature, state = decoder.step(embedded[:, place], state)
        features.append(feature)
    return torch.stack(features, dim=1)


# Contracts


@every_decoder
def test_teacher_forcing_equals_stepping(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    embedded, latent = inputs()
    features = forced(decoder, embedded, latent)
    assert features.shape == (4, STEPS, decoder.output_dim)
    torch.testing.assert_close(stepped(decoder, embedded, latent), features)
    # A single row, and the empty sentence, which writes eos only.
    torch.testing.assert_close(stepped(decoder, embedded[:1, :1], latent[:1]), features[:1, :1])


@every_decoder
def test_logits_of_teacher_forcing_equal_those_of_stepping(cls, arguments):
    check_logits_of_stepping(contracts.make_model(decoder=cls(**arguments)))


@pytest.mark.parametrize("head", contracts.HEADS)
@pytest.mark.parametrize("cls", contracts.concrete(Decoder))
def test_logits_of_stepping_under_each_head(cls, head):
    check_logits_of_stepping(contracts.make_model(decoder=cls(8), head=head))


def check_logits_of_stepping(model: SequenceAutoencoder) -> None:
    batch = contracts.random_batch()
    encoded = model.encode(batch)
    logits = model(batch)
    state = model.init_state(encoded.latent, memory=encoded.memory)
    for place in range(batch.decoder_input.shape[1]):
        step_logits, state = model.step(batch.decoder_input[:, place], state)
        torch.testing.assert_close(step_logits, logits[:, place])


@every_decoder
def test_the_state_can_be_cut_by_rows(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    embedded, latent = inputs()
    features = forced(decoder, embedded, latent)
    rows, state = torch.arange(4), decoder.init_state(latent, **contracts.looked_at(decoder))
    for place, staying in enumerate([[3, 0, 2, 1], [1, 2, 3], [2, 0], [1]]):
        feature, state = decoder.step(embedded[rows, place], state)
        torch.testing.assert_close(feature, features[rows, place])
        assert all(len(part) == len(rows) for part in state)
        rows, state = rows[staying], tuple(part[staying] for part in state)


@every_decoder
def test_permuting_the_batch_permutes_the_output(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    (embedded, latent), order = inputs(), torch.tensor([2, 0, 3, 1])
    output = forced(decoder, embedded, latent)
    permuted = decoder(embedded[order], latent[order], **contracts.looked_at(decoder, order))
    torch.testing.assert_close(permuted, output[order])


@every_decoder
def test_features_read_the_latent_and_nothing_that_comes_later(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    embedded, latent = inputs()
    embedded.requires_grad_()
    latent.requires_grad_()
    features = forced(decoder, embedded, latent)
    loss = (features[:, 3] * torch.randn_like(features[:, 3])).sum()
    later, told = torch.autograd.grad(loss, [embedded, latent], allow_unused=True)
    assert later is None or not later[:, 4:].any()
    assert told.any(dim=1).all()


@every_decoder
def test_gradients_reach_every_parameter(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    features = forced(decoder, *inputs())
    loss = (features * torch.randn_like(features)).sum()
    contracts.check_reached(contracts.gradients(loss, decoder))


@every_decoder
def test_finite_in_half_precision(cls, arguments):
    decoder = contracts.build_decoder(cls, arguments)
    contracts.skip_without_kernels(decoder)
    embedded, latent = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        features = forced(decoder, embedded, latent)
        by_step = stepped(decoder, embedded, latent)
    contracts.check_finite([features, by_step])
    loss = (features.float() * torch.randn(features.shape)).sum()
    contracts.check_finite(contracts.gradients(loss, decoder))
    exact = forced(decoder, embedded, latent)
    torch.testing.assert_close(features.float(), exact, atol=0.2, rtol=0.1)
    torch.testing.assert_close(by_step.float(), features.float(), atol=0.2, rtol=0.1)


@every_decoder
def test_the_seed_decides_the_weights(cls, arguments):
    contracts.check_build(lambda: contracts.build_decoder(cls, arguments))


# What each one computes


def test_one_dense_layer_by_hand():
    decoder = DenseDecoder(num_layers=1)
    decoder.build(embedding_dim=2, latent_dim=1, max_length=3)
    (linear,) = (module for module in decoder.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [2], [3], [4]]))
        linear.bias.copy_(torch.tensor([0.0, 0, 0, -1]))
    embedded = torch.full((2, 2, 2), torch.nan)  # all positions at once: it does not read them
    features = decoder(embedded, torch.tensor([[1.0], [-2.0]]))
    assert features.tolist() == [[[1.0, 2], [3, 3]], [[-2.0, -4], [-6, -9]]]


def test_two_dense_layers_have_one_activation_between():
    decoder = DenseDecoder(hidden_dim=4, num_layers=2, activation="relu")
    decoder.build(embedding_dim=2, latent_dim=1, max_length=3)
    first, second = (module for module in decoder.modules() if isinstance(module, nn.Linear))
    latent = torch.randn(3, 1)
    expected = second(first(latent).relu()).reshape(3, 2, 2)
    torch.testing.assert_close(decoder(torch.zeros(3, 2, 2), latent), expected)
    assert (expected < 0).any()  # the last layer is linear


@pytest.mark.parametrize(("norm_type", "kind"), [("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_dense_layers_are_normalised_between(norm_type, kind):
    arguments: dict[str, Any] = {"num_layers": 3, "norm_type": norm_type}
    decoder = contracts.build_decoder(DenseDecoder, {"hidden_dim": 4, **arguments})
    assert sum(isinstance(module, kind) for module in decoder.modules()) == 2


def reference_features(decoder: RecurrentDecoder, embedded: Tensor, latent: Tensor) -> Tensor:
    """The decoder's equations for one row, written a second time, with torch's cells."""
    first = torch.tanh(decoder.initial(latent)).reshape(-1, decoder.num_layers, decoder.hidden_dim)
    (stack,) = (m for m in decoder.children() if isinstance(m, RecurrentStack))
    cell_type = {GRUStack: nn.GRUCell, LSTMStack: nn.LSTMCell}[type(stack)]
    state = list(first.unbind(1))  # of each layer, (S, H)
    rows = []
    for place, token in enumerate(embedded):
        unbound = torch.zeros_like(token)
        if decoder.position_dim:
            unbound = decoder.unbound(decoder.bound(latent) * decoder.positions.weight[place])
        below = torch.cat([token, decoder.context(latent) + unbound])
        for depth, (rnn,) in enumerate(stack.layers):
            cell = cell_type(rnn.input_size, rnn.hidden_size)
            cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
            parts = state[depth].unbind()
            told = cell(below, parts[0] if len(parts) == 1 else parts)
            state[depth] = told[None] if len(parts) == 1 else torch.stack(told)
            below = state[depth][0]
        rows.append(decoder.norm(decoder.projection(below) + unbound))
    return torch.stack(rows)


@pytest.mark.parametrize("cls", [GRUDecoder, LSTMDecoder])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("position_dim", [0, 10])
def test_recurrent_decoder_equals_its_equations(cls, num_layers, position_dim):
    arguments: dict[str, Any] = {"num_layers": num_layers, "position_dim": position_dim}
    decoder = contracts.build_decoder(cls, {"hidden_dim": 4, **arguments})
    embedded, latent = inputs(rows=3)
    features = forced(decoder, embedded, latent)
    for row in range(3):
        torch.testing.assert_close(
            features[row], reference_features(decoder, embedded[row], latent[row])
        )


def test_dropout_works_in_training_only():
    embedded, latent = inputs()
    for cls, arguments in (
        (GRUDecoder, {"hidden_dim": 8, "position_dim": 8, "dropout": 0.5}),
        (LSTMDecoder, {"hidden_dim": 8, "position_dim": 8, "dropout": 0.5}),
        (TransformerDecoder, {"hidden_dim": 8, "position_dim": 8, "dropout": 0.5}),
        (DenseDecoder, {"hidden_dim": 8, "num_layers": 2, "dropout": 0.5}),
        (AttentionGRUDecoder, {"hidden_dim": 8, "dropout": 0.5}),
        (AttentionTransformerDecoder, {"hidden_dim": 8, "dropout": 0.5}),
    ):
        decoder = contracts.build_decoder(cls, arguments)
        assert torch.equal(forced(decoder, embedded, latent), forced(decoder, embedded, latent))
        decoder.train()
        assert not torch.equal(forced(decoder, embedded, latent), forced(decoder, embedded, latent))
