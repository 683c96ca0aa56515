"""Contracts of every encoder, and what each one computes, against a figure or a reference."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import nn

from seqae.batch import length_mask
from seqae.model.encoders import DenseEncoder, Encoder, GRUEncoder, LSTMEncoder, TransformerEncoder
from seqae.model.hierarchical import HierarchicalEncoder
from seqae.model.recurrent import RecurrentStack

every_encoder = pytest.mark.parametrize(("cls", "arguments"), contracts.each(Encoder))
every_recurrence = pytest.mark.parametrize("cls", [GRUEncoder, LSTMEncoder])


# Contracts


@every_encoder
def test_permuting_the_batch_permutes_the_output(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    embedded, mask = contracts.random_embedded()
    output, order = encoder(embedded, mask), torch.tensor([2, 0, 3, 1])
    vectors = () if encoder.num_latents == 1 else (encoder.num_latents,)
    assert output.shape == (4, *vectors, encoder.output_dim)
    torch.testing.assert_close(encoder(embedded[order], mask[order]), output[order])
    assert not torch.allclose(output[0], output[1], atol=1e-4)


@every_encoder
def test_what_stands_in_the_padding_does_not_matter(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    embedded, mask = contracts.random_embedded()
    embedded.requires_grad_()
    output = encoder(embedded, mask)
    weights = torch.randn_like(output)
    (slope,) = torch.autograd.grad((output * weights).sum(), embedded, retain_graph=True)
    assert not slope[~mask].any()
    expected = contracts.gradients((output * weights).sum(), encoder)
    other = torch.where(mask[..., None], embedded, 100.0 * torch.randn_like(embedded))
    output_again = encoder(other, mask)
    torch.testing.assert_close(output_again, output)
    torch.testing.assert_close(
        contracts.gradients((output_again * weights).sum(), encoder), expected
    )


@every_encoder
def test_more_padding_changes_nothing(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    embedded, mask = contracts.random_embedded()
    # Beyond max_length too, as long as the tokens are within.
    for width in (embedded.shape[1] + 1, contracts.MAX_LENGTH, contracts.MAX_LENGTH + 3):
        more = width - embedded.shape[1]
        wide = nn.functional.pad(embedded, (0, 0, 0, more), value=7.0)
        wide_mask = nn.functional.pad(mask, (0, more), value=False)
        torch.testing.assert_close(encoder(wide, wide_mask), encoder(embedded, mask))


@every_encoder
def test_a_row_is_encoded_as_if_it_were_alone(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    embedded, mask = contracts.random_embedded((5, 2, contracts.MAX_LENGTH))
    output = encoder(embedded, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone = encoder(embedded[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone[0], output[row])


@every_encoder
def test_every_token_counts(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    embedded, mask = contracts.random_embedded()
    # Large enough for a few units to be awake where an activation is flat around 0.
    embedded = (3.0 * embedded).requires_grad_()
    (slope,) = torch.autograd.grad(encoder(embedded, mask).pow(2).sum(), embedded)
    assert (slope.abs().sum(dim=2) > 0).equal(mask)


@every_encoder
def test_gradients_reach_every_parameter(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    output = encoder(*contracts.random_embedded())
    contracts.check_reached(contracts.gradients(output.pow(2).sum(), encoder))


@every_encoder
def test_finite_in_half_precision(cls, arguments):
    encoder = contracts.build_encoder(cls, arguments)
    contracts.skip_without_kernels(encoder)
    embedded, mask = contracts.random_embedded()
    with torch.autocast("cpu", torch.bfloat16):
        output = encoder(embedded, mask)
    contracts.check_finite([output, contracts.gradients(output.float().pow(2).sum(), encoder)])
    torch.testing.assert_close(output.float(), encoder(embedded, mask), atol=0.1, rtol=0.1)


@every_encoder
def test_the_seed_decides_the_weights(cls, arguments):
    contracts.check_build(lambda: contracts.build_encoder(cls, arguments))


# What each one computes


def test_one_dense_layer_by_hand():
    encoder = DenseEncoder(hidden_dim=2, num_layers=1, activation="relu")
    encoder.build(embedding_dim=2, max_length=3)
    linear = next(m for m in encoder.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2, 3, 4, 5, 6], [-1, -1, -1, -1, -1, -1]]))
        linear.bias.copy_(torch.tensor([0.5, 1.0]))
    # Row 0 has two tokens, (1, 2) and (3, 4), and rubbish behind them; row 1 has three.
    embedded = torch.tensor([[[1.0, 2], [3, 4], [9, 9]], [[0.0, 0], [0, 0.25], [0, 0.5]]])
    output = encoder(embedded, length_mask(torch.tensor([2, 3]), 3))
    # 1 + 4 + 9 + 16 + 0.5 = 30.5 and relu(-10 + 1) = 0; 4/4 + 6/2 + 0.5 = 4.5 and -0.75 + 1.
    assert output.tolist() == [[30.5, 0.0], [4.5, 0.25]]


@pytest.mark.parametrize(("num_layers", "linears", "activations"), [(1, 1, 1), (3, 3, 3)])
def test_every_dense_layer_ends_in_its_activation(num_layers, linears, activations):
    encoder = contracts.build_encoder(
        DenseEncoder, {"hidden_dim": 4, "num_layers": num_layers, "activation": "sigmoid"}
    )
    kinds = [type(module) for module in encoder.modules()]
    assert kinds.count(nn.Linear) == linears
    assert kinds.count(nn.Sigmoid) == activations
    output = encoder(*contracts.random_embedded())
    assert ((output > 0) & (output < 1)).all()


@pytest.mark.parametrize(("norm_type", "kind"), [("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_every_dense_layer_is_normalised_before_its_activation(norm_type, kind):
    encoder = contracts.build_encoder(
        DenseEncoder,
        {"hidden_dim": 64, "num_layers": 2, "activation": "identity", "norm_type": norm_type},
    )
    assert sum(isinstance(module, kind) for module in encoder.modules()) == 2
    output = encoder(*contracts.random_embedded())
    torch.testing.assert_close(output.pow(2).mean(dim=1), torch.ones(4), atol=1e-2, rtol=0)


def pooled_states(cls, pooling: str, bidirectional: bool) -> tuple[torch.Tensor, ...]:
    encoder = contracts.build_encoder(
        cls, {"hidden_dim": 3, "bidirectional": bidirectional, "pooling": pooling}
    )
    embedded, mask = contracts.random_embedded()
    (stack,) = (m for m in encoder.children() if isinstance(m, RecurrentStack))
    states, last = stack(embedded, mask.sum(dim=1))
    return encoder(embedded, mask), states, last, mask


@every_recurrence
@pytest.mark.parametrize("bidirectional", [False, True])
def test_last_is_the_last_state_of_each_direction(cls, bidirectional):
    output, states, _, mask = pooled_states(cls, "last", bidirectional)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        forward = states[row, length - 1, :3]
        backward = states[row, 0, 3:]  # it has read the row from its end
        torch.testing.assert_close(output[row], torch.cat([forward, backward]))


def test_last_takes_the_upper_layer():
    encoder = contracts.build_encoder(
        GRUEncoder, {"hidden_dim": 3, "num_layers": 2, "bidirectional": True, "pooling": "last"}
    )
    embedded, mask = contracts.random_embedded()
    _, last = encoder.gru(embedded, mask.sum(dim=1))
    torch.testing.assert_close(encoder(embedded, mask), last[:, 2:].flatten(1))


@every_recurrence
@pytest.mark.parametrize("bidirectional", [False, True])
def test_mean_max_is_over_real_tokens(cls, bidirectional):
    output, states, _, mask = pooled_states(cls, "mean_max", bidirectional)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        real = states[row, :length]
        expected = torch.cat([real.mean(dim=0), real.max(dim=0).values])
        torch.testing.assert_close(output[row], expected)


def test_position_pooling_is_the_bound_sum():
    encoder = contracts.build_encoder(GRUEncoder, {"hidden_dim": 3, "position_dim": 10})
    embedded, mask = contracts.random_embedded()
    states, _ = encoder.gru(embedded, mask.sum(dim=1))
    output = encoder(embedded, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        expected = torch.zeros(10)
        for place in range(length):
            told = torch.cat([embedded[row, place], states[row, place]])
            expected += encoder.bound.weight @ told * encoder.positions.weight[place]
        torch.testing.assert_close(output[row], expected / 4)


def test_dropout_works_in_training_only():
    embedded, mask = contracts.random_embedded()
    for cls, arguments in (
        (GRUEncoder, {"hidden_dim": 8, "position_dim": 8, "dropout": 0.5}),
        (GRUEncoder, {"hidden_dim": 8, "pooling": "last", "dropout": 0.5}),
        (GRUEncoder, {"hidden_dim": 8, "pooling": "mean_max", "dropout": 0.5}),
        (LSTMEncoder, {"hidden_dim": 8, "position_dim": 8, "dropout": 0.5}),
        (TransformerEncoder, {"hidden_dim": 8, "pooling": "mean", "dropout": 0.5}),
        (DenseEncoder, {"hidden_dim": 8, "num_layers": 2, "dropout": 0.5}),
    ):
        encoder = contracts.build_encoder(cls, arguments)
        assert torch.equal(encoder(embedded, mask), encoder(embedded, mask))
        encoder.train()
        assert not torch.equal(encoder(embedded, mask), encoder(embedded, mask))


def test_an_unknown_pooling_is_refused():
    assert "`pooling` must be one of" in contracts.refusal(GRUEncoder, pooling="first")


# Hierarchical


def test_a_text_is_read_stretch_by_stretch_and_their_vectors_as_a_sequence():
    encoder = contracts.build_encoder(HierarchicalEncoder, {"hidden_dim": 3, "stretch_length": 2})
    embedded, mask = contracts.random_embedded()  # of 5, 2, 7 and 3 tokens
    hidden, states = encoder.read(embedded, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        vectors, own = [], []
        for start in range(0, length, 2):
            stretch = embedded[row : row + 1, start : min(start + 2, length)]
            real = torch.ones(stretch.shape[:2], dtype=torch.bool)
            within, _ = encoder.within(stretch, real.sum(dim=1))
            vectors.append(encoder.pool(stretch, within, real))
            own.append(within[0])
        sequence = torch.stack(vectors, dim=1)
        real = torch.ones(sequence.shape[:2], dtype=torch.bool)
        across, _ = encoder.across(sequence, real.sum(dim=1))
        torch.testing.assert_close(hidden[row], encoder.pool(sequence, across, real)[0])
        beside = across[0].repeat_interleave(2, dim=0)[:length]
        expected = torch.cat([torch.cat(own), beside], dim=1)
        torch.testing.assert_close(states[row, :length], expected)
