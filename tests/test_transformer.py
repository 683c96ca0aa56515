"""Rotary positions, blocks and cache against their equations, torch's own layer and each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import contracts
import pytest
import torch
from torch import Tensor, nn

from seqae.model.decoders import TransformerDecoder
from seqae.model.encoders import TransformerEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.pooling import AttentionPooling
from seqae.model.transformer import (
    TransformerBlock,
    TransformerConfig,
    TransformerStack,
    rotate,
    rotation,
)

CONFIG = TransformerConfig(
    hidden_dim=8,
    num_layers=2,
    num_heads=2,
    feedforward_dim=10,
    activation="relu",
    dropout=0.0,
    norm_type="layer",
    position_type="rotary",
)


def make_stack(position_type: str = "rotary", num_layers: int = 2) -> TransformerStack:
    config = replace(CONFIG, position_type=position_type, num_layers=num_layers)
    return TransformerStack(config, max_length=9).eval()


def make_encoder(**options: Any) -> TransformerEncoder:
    small = {"hidden_dim": 8, "feedforward_dim": 8, "position_dim": 8}
    return contracts.build_encoder(TransformerEncoder, small | options)


def make_decoder(num_latents: int = 1, latent_dim: int = 6, **options: Any) -> TransformerDecoder:
    small = {"hidden_dim": 8, "feedforward_dim": 8, "position_dim": 0}
    decoder = TransformerDecoder(**(small | options))
    decoder.build(contracts.EMBEDDING_DIM, latent_dim, contracts.MAX_LENGTH, num_latents)
    return decoder.eval()


# Rotary positions


def test_rotate_by_hand():
    # Two pairs: the first turns by 1 at position 1, the second by 10,000^(-1/2) = 0.01.
    rotary = rotation(torch.tensor([0, 1]), 4)
    rows = torch.tensor([[1.0, 2, 3, 4], [1.0, 0, 0, 1]])
    one, hundredth = torch.tensor(1.0), torch.tensor(0.01)
    second = [one.cos(), -hundredth.sin(), one.sin(), hundredth.cos()]
    expected = torch.stack([torch.tensor([1.0, 2, 3, 4]), torch.stack(second)])
    torch.testing.assert_close(rotate(rows, *rotary), expected)


def test_rotation_depends_on_the_distance_alone():
    query, key = torch.randn(2, 16)
    places = torch.arange(40)
    rotary = rotation(places, 16)
    products = rotate(query.expand(40, 16), *rotary) @ rotate(key.expand(40, 16), *rotary).T
    for distance in (-7, 0, 1, 25):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=0)
    assert not torch.allclose(products[0, 1], products[0, 2], atol=1e-3)
    lengths = rotate(query.expand(40, 16), *rotary).norm(dim=1)
    torch.testing.assert_close(lengths, query.norm().expand(40))


def test_a_rotary_stack_does_not_know_where_it_begins_and_a_learned_one_does():
    tokens = torch.randn(1, 3, 8)
    for position_type, equal in (("rotary", True), ("learned", False)):
        stack = make_stack(position_type)
        early, late = shifted_states(stack, tokens, 0), shifted_states(stack, tokens, 4)
        assert torch.allclose(early, late, atol=1e-5) == equal


def shifted_states(stack: TransformerStack, tokens: Tensor, shift: int) -> Tensor:
    """Tokens that stand behind `shift` others, which are masked."""
    filled = torch.cat([torch.randn(1, shift, 8), tokens], dim=1)
    mask = torch.arange(filled.shape[1])[None] >= shift
    return stack(filled, mask)[0][:, shift:]


# Blocks


def test_a_block_equals_torchs_encoder_layer():
    block = TransformerBlock(CONFIG).eval()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 10, dropout=0.0, activation="relu", norm_first=True, batch_first=True
    ).eval()
    nn.init.normal_(block.attention_norm.weight)
    nn.init.normal_(block.feedforward_norm.bias)
    names = {
        "self_attn.in_proj_weight": block.attention.projection.weight,
        "self_attn.in_proj_bias": torch.zeros(24),
        "self_attn.out_proj.weight": block.attention.output.weight,
        "self_attn.out_proj.bias": torch.zeros(8),
        "linear1.weight": block.feedforward[0].weight,
        "linear1.bias": block.feedforward[0].bias,
        "linear2.weight": block.feedforward[3].weight,
        "linear2.bias": block.feedforward[3].bias,
        "norm1.weight": block.attention_norm.weight,
        "norm1.bias": block.attention_norm.bias,
        "norm2.weight": block.feedforward_norm.weight,
        "norm2.bias": block.feedforward_norm.bias,
    }
    theirs.load_state_dict(names)
    inputs, mask = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([5, 2, 4])[:, None]
    output, _ = block(inputs, None, mask[:, None, None], False, ())
    expected = theirs(inputs, src_key_padding_mask=~mask)
    torch.testing.assert_close(output[mask], expected[mask])
    causal, _ = block(inputs, None, None, True, ())
    later = nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(causal, theirs(inputs, src_mask=later, is_causal=True))


@pytest.mark.parametrize("position_type", ["rotary", "learned"])
def test_a_causal_stack_reads_nothing_that_comes_later(position_type):
    stack, inputs = make_stack(position_type), torch.randn(1, 6, 8, requires_grad=True)
    for place in range(6):
        (slope,) = torch.autograd.grad(stack(inputs, causal=True)[0][0, place].pow(3).sum(), inputs)
        assert slope[0].any(dim=1).tolist() == [n <= place for n in range(6)]


@pytest.mark.parametrize("position_type", ["rotary", "learned"])
def test_the_cache_gives_what_the_whole_gives(position_type):
    stack, inputs = make_stack(position_type), torch.randn(3, 6, 8)
    states, whole = stack(inputs, causal=True)
    # Two tokens, then one at a time; each row's cache can be taken on its own.
    _, cache = stack(inputs[:, :2], causal=True)
    for place in range(2, 6):
        state, cache = stack(inputs[:, place : place + 1], cache=cache)
        torch.testing.assert_close(state[:, 0], states[:, place])
        assert all(len(part) == 3 for part in cache)
    torch.testing.assert_close(cache, whole)


def test_learned_positions_beyond_the_last_share_its_vector():
    stack = make_stack("learned", num_layers=1)
    stack(torch.randn(1, 20, 8))
    assert stack.positions is not None
    assert stack.positions.num_embeddings == 9


# Pooling


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_mean_and_first_by_hand(pooling):
    encoder = make_encoder(pooling=pooling)
    embedded, mask = contracts.random_embedded()
    states, _ = encoder.stack(encoder.input(embedded), mask)
    output = encoder(embedded, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        expected = states[row, :length].mean(dim=0) if pooling == "mean" else states[row, 0]
        torch.testing.assert_close(output[row], expected)


def test_position_pooling_binds_state_and_embedding():
    encoder = make_encoder(pooling="position")
    embedded, mask = contracts.random_embedded()
    states, _ = encoder.stack(encoder.input(embedded), mask)
    output = encoder(embedded, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        told = torch.cat([embedded[row, :length], states[row, :length]], dim=1)
        bound = told @ encoder.pool.bound.weight.T * encoder.pool.positions.weight[:length]
        torch.testing.assert_close(output[row], bound.sum(dim=0) / 4)


def test_attention_pooling_equals_torchs_attention():
    pooling = AttentionPooling(8, num_heads=2, num_latents=3)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight[:8] = torch.eye(8)  # our queries are learned as they are
        theirs.in_proj_weight[8:] = pooling.projection.weight
        theirs.out_proj.weight.copy_(pooling.output.weight)
        theirs.out_proj.bias.copy_(pooling.output.bias)
    states, mask = torch.randn(4, 6, 8), torch.arange(6) < torch.tensor([6, 1, 3, 4])[:, None]
    queries = pooling.queries.expand(4, 3, 8)
    expected, _ = theirs(queries, states, states, key_padding_mask=~mask)
    torch.testing.assert_close(pooling(states, states, mask), expected)


def test_more_than_one_vector_needs_attention():
    message = contracts.refusal(TransformerEncoder, num_latents=2, pooling="mean")
    assert message.startswith("`num_latents` must be 1 under `pooling: mean`")


def test_a_size_that_no_heads_can_share_is_refused():
    for cls in (TransformerEncoder, TransformerDecoder):
        message = contracts.refusal(cls, hidden_dim=12, num_heads=4)
        assert "`hidden_dim` must be a multiple of twice `num_heads`, 8" in message


# The latent in the decoder


@pytest.mark.parametrize("latent_as", ["prefix", "add", "both"])
@pytest.mark.parametrize("num_latents", [1, 3])
def test_each_vector_of_the_latent_changes_every_position(latent_as, num_latents):
    decoder = make_decoder(num_latents, latent_dim=2 * num_latents, latent_as=latent_as)
    embedded, latent = torch.randn(1, 5, 6), torch.randn(1, 2 * num_latents, requires_grad=True)
    features = decoder(embedded, latent)
    for place in range(5):
        loss = features[0, place].pow(3).sum()
        (slope,) = torch.autograd.grad(loss, latent, retain_graph=True)
        assert slope.reshape(num_latents, 2).any(dim=1).all()


@pytest.mark.parametrize("latent_as", ["prefix", "add", "both"])
def test_stepping_equals_forward_with_several_vectors(latent_as):
    for position_dim, position_type in itertools.product((0, 8), ("rotary", "learned")):
        decoder = make_decoder(
            3, latent_as=latent_as, position_dim=position_dim, position_type=position_type
        )
        embedded, latent = torch.randn(4, 8, 6), torch.randn(4, 6)
        features, state = decoder(embedded, latent), decoder.init_state(latent)
        for place in range(8):
            feature, state = decoder.step(embedded[:, place], state)
            torch.testing.assert_close(feature, features[:, place])


def test_a_state_can_be_stepped_from_twice():
    decoder = make_decoder()
    state = decoder.init_state(torch.randn(2, 6))
    first, second = torch.randn(2, 2, 6)
    feature, after = decoder.step(first, state)
    decoder.step(second, state)  # another branch of a search
    torch.testing.assert_close(decoder.step(first, state)[0], feature)
    assert after[2].shape[2] == state[2].shape[2] + 1


def test_the_vectors_of_a_model_are_told_apart():
    model = contracts.make_model(
        TransformerEncoder(8, 1, 2, 8, pooling="attention", num_latents=3),
        DeterministicLatent(4),
        TransformerDecoder(8, 1, 2, 8, latent_as="prefix", position_dim=0),
    )
    batch = contracts.random_batch()
    latent = model.encode(batch).latent
    assert latent.shape == (4, 12)
    assert model.latent_dim == 12
    logits = model.logits(model.decode(batch.decoder_input, latent))
    turned = latent.reshape(4, 3, 4).flip(1).flatten(1)
    assert not torch.allclose(model.logits(model.decode(batch.decoder_input, turned)), logits)


@pytest.mark.parametrize("place", ["attention", "feedforward"])
def test_dropout_works_in_training_only(place):
    block = TransformerBlock(replace(CONFIG, dropout=0.5))
    inputs = torch.randn(2, 5, 8)
    part = block.attention if place == "attention" else block.feedforward
    arguments = (None, None, False, ()) if place == "attention" else ()

    def run() -> Tensor:
        found = part(inputs, *arguments)
        return found[0] if place == "attention" else found

    assert not torch.equal(run(), run())
    block.eval()
    assert torch.equal(run(), run())
