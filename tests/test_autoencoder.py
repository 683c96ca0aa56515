"""The whole model: heads, sizes, and that nothing leaks between rows or from the padding."""

from __future__ import annotations

import contracts
import pytest
import torch

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.cross_entropy import linear_cross_entropy
from seqae.model.decoders import Decoder, DenseDecoder, GRUDecoder
from seqae.model.encoders import DenseEncoder, Encoder, GRUEncoder
from seqae.model.latents import DeterministicLatent, Latent

every_head = pytest.mark.parametrize("head", contracts.HEADS)
# Encoders and decoders have such contracts of their own: here one of each class will do.
every_part = pytest.mark.parametrize(
    ("cls", "arguments"), contracts.each(Latent) + contracts.first_of_each(Encoder, Decoder)
)


def model_with(cls, arguments, **options) -> SequenceAutoencoder:
    kind = next(base for base in (Encoder, Latent, Decoder) if issubclass(cls, base))
    return contracts.make_model(**{kind.__name__.lower(): cls(**arguments)}, **options)


def features_of(model, batch):
    """With a draw from the posterior, where there is one: else its variance had no gradient."""
    encoded = model.encode(batch, torch.Generator().manual_seed(0))
    features = model.decode(batch.decoder_input, encoded.latent, memory=encoded.memory)
    return features[batch.target_mask]


def loss_of(model, batch):
    logits = model.logits(features_of(model, batch))
    return torch.nn.functional.cross_entropy(logits, batch.target[batch.target_mask])


# Contracts of the parts, seen from the token ids


@every_part
def test_ids_in_the_padding_and_its_width_do_not_matter(cls, arguments):
    model, batch = model_with(cls, arguments), contracts.random_batch()
    loss = loss_of(model, batch)
    expected = contracts.gradients(loss, model)
    wide = contracts.wider(batch, contracts.MAX_LENGTH - batch.token_ids.shape[1])
    for same in (contracts.with_other_padding(batch), wide, contracts.with_other_padding(wide)):
        same_loss = loss_of(model, same)
        torch.testing.assert_close(same_loss, loss)
        torch.testing.assert_close(contracts.gradients(same_loss, model), expected)


@every_part
def test_gradients_reach_every_parameter(cls, arguments):
    model = model_with(cls, arguments)
    contracts.check_reached(contracts.gradients(loss_of(model, contracts.random_batch()), model))


@every_part
def test_an_empty_sentence_alone(cls, arguments):
    model = model_with(cls, arguments)
    batch = contracts.random_batch()
    alone = contracts.random_batch([2])
    assert model(alone).shape == (1, 1, contracts.VOCABULARY.size)
    torch.testing.assert_close(model.encode(alone).latent, model.encode(batch).latent[1:2])


@every_part
def test_training_in_half_precision_is_finite(cls, arguments):
    model, batch = model_with(cls, arguments).train(), contracts.random_batch()
    contracts.skip_without_kernels(model)
    with torch.autocast("cpu", torch.bfloat16):
        layer = model.output_layer(features_of(model, batch))
        loss, *_ = linear_cross_entropy(*layer, batch.target[batch.target_mask])
    contracts.check_finite([loss, contracts.gradients(loss, model)])


# Heads


@every_head
def test_permuting_the_batch_permutes_the_logits(head):
    model, batch = contracts.make_model(head=head), contracts.random_batch()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(contracts.select(batch, order)), model(batch)[order])


@every_head
@pytest.mark.parametrize("embedding_dim", [6, 7])
def test_gradients_reach_every_parameter_of_a_head(head, embedding_dim):
    model = contracts.make_model(head=head, embedding_dim=embedding_dim)
    batch = contracts.random_batch()
    found = contracts.gradients(loss_of(model, batch), model)
    contracts.check_reached(found)
    assert ("output_bias" in found) == (head == "tied")


@every_head
def test_output_layer_gives_the_logits(head):
    model, batch = contracts.make_model(head=head), contracts.random_batch()
    features = model.decode(batch.decoder_input, model.encode(batch).latent)
    inputs, weight, bias = model.output_layer(features)
    torch.testing.assert_close(inputs @ weight.T + bias, model(batch))


def test_nearest_ranks_tokens_by_their_distance():
    model, batch = contracts.make_model(head="nearest"), contracts.random_batch()
    features = 2.0 * model.decode(batch.decoder_input, model.encode(batch).latent).flatten(0, 1)
    distances = torch.cdist(model.predict_embedding(features), model.embedding.weight)
    logits = model.logits(features)
    assert torch.equal(logits.argmax(dim=1), distances.argmin(dim=1))
    # Minus the squared distance, but for what is the same for every token.
    torch.testing.assert_close(
        logits.log_softmax(dim=1), distances.pow(2).neg().log_softmax(dim=1), rtol=1e-4, atol=1e-4
    )


def test_tied_uses_the_embedding_itself():
    model = contracts.make_model(head="tied")
    features = torch.randn(3, model.decoder.output_dim)
    with torch.no_grad():
        model.output_bias.uniform_()
    predicted = model.output(features) / contracts.EMBEDDING_DIM**0.5
    torch.testing.assert_close(
        model.logits(features), predicted @ model.embedding.weight.T + model.output_bias
    )
    assert not any(
        "output.weight" in n and v.shape[0] == contracts.VOCABULARY.size
        for n, v in model.named_parameters()
    )


def test_linear_is_a_layer_of_its_own():
    model = contracts.make_model(head="linear")
    features = torch.randn(3, model.decoder.output_dim)
    assert model.output.out_features == contracts.VOCABULARY.size
    torch.testing.assert_close(model.logits(features), model.output(features))
    message = contracts.refusal(model.predict_embedding, features)
    assert message.startswith("`head` must be nearest for")


# Build


@every_head
@pytest.mark.parametrize("kind", ["gru", "dense"])
def test_the_seed_decides_the_weights(head, kind):
    def make() -> SequenceAutoencoder:
        if kind == "gru":
            return contracts.make_model(head=head)
        dense = DenseEncoder(8), DeterministicLatent(None), DenseDecoder(8)
        return contracts.make_model(*dense, head=head)

    contracts.check_build(make)


def test_parts_get_the_sizes_of_their_neighbours():
    model = contracts.make_model(
        GRUEncoder(5, bidirectional=True, pooling="mean_max"),
        DeterministicLatent(3),
        GRUDecoder(7, position_dim=4),
        embedding_dim=10,
    )
    assert model.encoder.output_dim == 20
    assert model.latent.output_dim == 3
    assert model.encode(contracts.random_batch()).latent.shape == (4, 3)
    assert model(contracts.random_batch()).shape == (4, 6, contracts.VOCABULARY.size)


def test_a_frozen_embedding_stays_and_begins_standard_normal():
    model = SequenceAutoencoder(
        GRUEncoder(8), DeterministicLatent(8), GRUDecoder(8), 100, "nearest", train_embedding=False
    ).build(contracts.VOCABULARY, contracts.MAX_LENGTH)
    assert not model.embedding.weight.requires_grad
    assert model.embedding.weight.mean().abs().item() < 0.08  # 2,300 draws: 0 +- 0.02
    assert model.embedding.weight.std().item() == pytest.approx(1.0, abs=0.06)


def test_embedding_dropout_works_in_training_only():
    model = contracts.make_model(embedding_dropout=0.5)
    batch = contracts.random_batch()
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))
    first = model.encode(batch).latent
    assert not torch.equal(model.encode(batch).latent, first)
    read = batch.decoder_input
    assert not torch.equal(model.decode(read, first), model.decode(read, first))
    # A step of generation never drops.
    state = model.init_state(first)
    token = torch.full((4,), contracts.VOCABULARY.bos_id)
    assert torch.equal(model.step(token, state)[0], model.step(token, state)[0])


@pytest.mark.parametrize("max_length", [2, 0, 2**20 + 1])
def test_an_impossible_length_is_refused(max_length):
    model = SequenceAutoencoder(GRUEncoder(), DeterministicLatent(), GRUDecoder())
    message = contracts.refusal(model.build, contracts.VOCABULARY, max_length)
    assert message.startswith("`max_length` must be between 3 and")
