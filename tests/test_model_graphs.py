"""Each architecture as ONNX gives what torch gives, whatever the lengths, batches and padding."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqae.batch import Batch, Vocabulary
from seqae.interchange.onnx import agreement
from seqae.interchange.onnx.graph import Graph
from seqae.interchange.onnx.layer_graphs import apply
from seqae.interchange.onnx.model_graphs import write_graphs
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.decoders import DenseDecoder, GRUDecoder, LSTMDecoder, TransformerDecoder
from seqae.model.encoders import DenseEncoder, GRUEncoder, LSTMEncoder, TransformerEncoder
from seqae.model.latents import (
    DeterministicLatent,
    GaussianLatent,
    VectorQuantisedLatent,
    VonMisesFisherLatent,
)
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.layers import ACTIVATIONS, NORMS

VOCABULARY = Vocabulary(40, 0, 1, 2, 3)
WORDS = [b"", b"", b"", b"", b"The", b" cat", b"'s", b" mat", b"x", b", ", b"\xc3\xa9t\xc3\xa9"]
MAX_LENGTH = 66

ENCODERS: dict[str, Any] = {
    "dense": lambda: DenseEncoder(12, 2, "mish", norm_type="layer"),
    "gru": lambda: GRUEncoder(6, 2, position_dim=10),
    "gru one way": lambda: GRUEncoder(6, 2, bidirectional=False, position_dim=10),
    "gru last": lambda: GRUEncoder(6, 2, pooling="last"),
    "gru mean_max": lambda: GRUEncoder(6, pooling="mean_max"),
    "lstm": lambda: LSTMEncoder(6, position_dim=10),
    "lstm last": lambda: LSTMEncoder(6, 2, bidirectional=False, pooling="last"),
    "lstm mean_max": lambda: LSTMEncoder(6, 2, pooling="mean_max"),
    "transformer": lambda: TransformerEncoder(8, 2, 2, 16, position_dim=10),
    "transformer mean": lambda: TransformerEncoder(
        8, 1, 2, 16, "silu", norm_type="rms", position_type="learned", pooling="mean"
    ),
    "transformer first": lambda: TransformerEncoder(8, 2, 2, 16, pooling="first"),
    "transformer attention": lambda: TransformerEncoder(
        8, 1, 2, 16, position_type="learned", pooling="attention"
    ),
    "transformer of 3": lambda: TransformerEncoder(8, 1, 2, 16, pooling="attention", num_latents=3),
}
LATENTS: dict[str, Any] = {
    "plain": lambda: DeterministicLatent(12),
    "as it is": lambda: DeterministicLatent(None, "layer"),
    "layer": lambda: DeterministicLatent(12, "layer"),
    "sphere": lambda: DeterministicLatent(12, "sphere"),
    "gaussian": lambda: GaussianLatent(12),
    "batch norm": lambda: GaussianLatent(12, 0.6),
    "codes": lambda: VectorQuantisedLatent(12, 5, 3),
    "vmf": lambda: VonMisesFisherLatent(12, 10.0),
}
DECODERS: dict[str, Any] = {
    "dense": lambda: DenseDecoder(9, 2, "softsign", normalize=True, norm_type="rms"),
    "gru": lambda: GRUDecoder(7, 2, position_dim=10),
    "gru without positions": lambda: GRUDecoder(7, position_dim=0),
    "lstm": lambda: LSTMDecoder(7, 2, position_dim=10),
    "lstm without positions": lambda: LSTMDecoder(7, position_dim=0),
    "transformer": lambda: TransformerDecoder(8, 2, 2, 16, position_dim=10),
    "transformer add": lambda: TransformerDecoder(8, 1, 2, 16, latent_as="add", position_dim=0),
    "transformer prefix": lambda: TransformerDecoder(
        8, 2, 2, 16, norm_type="rms", position_type="learned", latent_as="prefix", position_dim=10
    ),
}


def make(encoder: str, latent: str, decoder: str, **options: Any) -> SequenceAutoencoder:
    """A model none of whose weights is 0 or 1, where a mistake would not show."""
    parts = ENCODERS[encoder](), LATENTS[latent](), DECODERS[decoder]()
    model = SequenceAutoencoder(*parts, embedding_dim=11, **options)
    model.build(VOCABULARY, MAX_LENGTH)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(
                torch.rand(buffer.shape) + 0.5 if "var" in name else torch.randn(buffer.shape)
            )
    if model.content is not None:
        tokens = [*WORDS, *(b" w%d" % index for index in range(VOCABULARY.size - len(WORDS)))]
        model.content.read_tokens(tokens)
    return model.eval()


def differences(model: SequenceAutoencoder) -> dict[str, float]:
    return agreement.largest_differences(model, write_graphs(model, {}))


@pytest.mark.parametrize(
    ("encoder", "latent", "decoder", "options"),
    [
        ("dense", "gaussian", "dense", {"head": "linear"}),
        ("gru", "plain", "gru", {}),
        ("gru last", "codes", "lstm", {}),
        ("lstm mean_max", "vmf", "gru without positions", {"head": "nearest"}),
        ("lstm", "layer", "lstm", {"latent_noise": LatentNoise()}),
        ("transformer", "layer", "transformer", {"latent_noise": LatentNoise()}),
        ("transformer of 3", "batch norm", "transformer prefix", {}),
        ("transformer mean", "sphere", "transformer add", {}),
        ("gru one way", "layer", "transformer", {"content": ContentEncoder(6, 50)}),
    ],
)
def test_the_graphs_give_what_torch_gives(
    encoder: str, latent: str, decoder: str, options: dict[str, Any]
) -> None:
    found = differences(make(encoder, latent, decoder, **options))
    assert set(found) == {"latents", "logits"}
    assert max(found.values()) < 2e-5  # it raises above 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_architecture(encoder: str) -> None:
    noise = LatentNoise()
    for latent, decoder in itertools.product(LATENTS, DECODERS):
        for head in ("tied", "linear", "nearest"):
            assert max(differences(make(encoder, latent, decoder, head=head)).values()) < 1e-4
        if latent in ("layer", "as it is") and decoder != "dense":
            model = make(encoder, latent, decoder, latent_noise=noise)
            assert max(differences(model).values()) < 1e-4
        if latent in ("plain", "as it is", "layer", "sphere"):
            model = make(encoder, latent, decoder, content=ContentEncoder(6, 50))
            assert max(differences(model).values()) < 1e-4


def test_content_reads_words_as_torch_does() -> None:
    """Words over several tokens, of one letter, none at all, and the shortest rows."""
    model = make("gru", "layer", "gru", content=ContentEncoder(8, 1000))
    graph = agreement.session(write_graphs(model, {})["encoder"])
    for rows in ([[2, 3]], [[2]], [[2, 8, 9, 8, 3], [2, 4, 5, 6, 3]], [[4, 4, 4, 4, 10, 9, 9, 7]]):
        token_ids = torch.tensor(rows)
        lengths = torch.full((len(rows),), len(rows[0]))
        feed = {"token_ids": token_ids, "lengths": lengths}
        (written,) = agreement.run(graph, feed, "these")
        with torch.inference_mode():
            wanted = model.encode(Batch(token_ids, lengths)).latent
        np.testing.assert_allclose(written, wanted, atol=1e-5)


def test_every_layer() -> None:
    inputs = torch.linspace(-40.0, 40.0, 321).reshape(-1, 3)
    layers = {name: kind() for name, kind in ACTIVATIONS.items()}
    layers |= {name: kind(3) for name, kind in NORMS.items() if name != "none"}
    for name, layer in layers.items():
        for weight in layer.parameters():
            nn.init.normal_(weight)
        graph = Graph("layer")
        outputs = apply(layer.eval(), graph.input("x", "float32", ["rows", 3]))
        data = graph.finish({"y": (outputs, "float32", ["rows", 3])}, {})
        (written,) = agreement.run(agreement.session(data), {"x": inputs}, name)
        wanted = layer(inputs).detach()
        np.testing.assert_allclose(written, wanted, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_layer_of_the_user_is_refused() -> None:
    class Own(nn.Module):
        pass

    with pytest.raises(ValueError, match="`model` must be made of layers .* it has a Own instead"):
        apply(Own(), Graph("own").input("x", "float32", [3]))
