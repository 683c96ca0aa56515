"""The three graphs of a model: encoder, first state of the decoder, and a step of the decoder.

    encoder        token_ids (B, T) int64, lengths (B,) int64  ->  latents (B, Z)
    decoder_init   latents (B, Z)[, noise (B,)]                ->  the state
    decoder_step   token (B,) int64, the state                 ->  logits (B, V), the next state

Logits of pad and bos are as they come: a search must not choose these two.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from seqae.interchange.onnx.content_graph import encode_content
from seqae.interchange.onnx.decoder_graphs import graphs_of
from seqae.interchange.onnx.encoder_graphs import Rows, encode
from seqae.interchange.onnx.graph import Graph, Value
from seqae.interchange.onnx.latent_graphs import make_latent
from seqae.interchange.onnx.layer_graphs import apply
from seqae.model.adaptive.adaptive_softmax import AdaptiveSoftmax
from seqae.model.autoencoder import SequenceAutoencoder


def write_graphs(model: SequenceAutoencoder, metadata: Mapping[str, str]) -> dict[str, bytes]:
    """Write a model as graphs.

    Args:
        model: a built model.
        metadata: goes into each file.

    Returns:
        The three files, by name without ending.

    Raises:
        ValueError: if the model has a part that cannot be written.
    """
    if model.reads_memory:
        raise ValueError(
            "`decoder` must read the latent alone to be written as ONNX, but this model's looks "
            "back at the text. Share the bundle itself: `seqae push`."
        )
    return {
        "encoder": _encoder(model, metadata),
        "decoder_init": _decoder_init(model, metadata),
        "decoder_step": _decoder_step(model, metadata),
    }


def _encoder(model: SequenceAutoencoder, metadata: Mapping[str, str]) -> bytes:
    graph = Graph("encoder")
    token_ids = graph.input("token_ids", "int64", ["batch", "time"])
    lengths = graph.input("lengths", "int64", ["batch"])
    embedded = graph.call("Gather", model.embedding.weight, token_ids)
    rows = Rows(embedded, lengths, model.max_length)
    latents = make_latent(model.latent, encode(model.encoder, rows), model.encoder.num_latents)
    if model.content is not None:
        content = encode_content(model.content, token_ids, rows.mask, model.max_length)
        latents = graph.cat([content, latents], 1)
    return graph.finish({"latents": (latents, "float32", ["batch", model.latent_dim])}, metadata)


def _decoder_init(model: SequenceAutoencoder, metadata: Mapping[str, str]) -> bytes:
    graph, decoder = Graph("decoder_init"), graphs_of(model)
    latents = graph.input("latents", "float32", ["batch", model.latent_dim])
    noise = graph.input("noise", "float32", ["batch"]) if model.latent_noise is not None else None
    state = zip(decoder.state(), decoder.start(latents, noise), strict=True)
    outputs = {part.name: (value, part.dtype, part.shape) for part, value in state}
    return graph.finish(outputs, metadata)


def _decoder_step(model: SequenceAutoencoder, metadata: Mapping[str, str]) -> bytes:
    graph, decoder = Graph("decoder_step"), graphs_of(model)
    assert model.vocabulary is not None
    token = graph.input("token", "int64", ["batch"])
    parts = decoder.state()
    state = [graph.input(part.name, part.dtype, part.shape) for part in parts]
    embedded = graph.call("Gather", model.embedding.weight, token)
    features, following = decoder.step(embedded, state)
    logits = _logits(model, features)
    shape: tuple[int | str, ...] = ("batch", model.vocabulary.size)
    outputs = {"logits": (logits, "float32", shape)}
    for part, value in zip(parts, following, strict=True):
        shape = tuple("tokens_after" if size == "tokens" else size for size in part.shape)
        outputs[f"next_{part.name}"] = value, part.dtype, shape
    return graph.finish(outputs, metadata)


def _logits(model: SequenceAutoencoder, features: Value) -> Value:
    """Map features (B, F) to logits (B, V), as `SequenceAutoencoder.logits`."""
    weight = model.embedding.weight
    predicted = apply(model.output, features)
    graph = features.graph
    # Products that take the transpose, so that embedding and output share their weights.
    if model.head == "nearest":
        norms = -weight.pow(2).sum(dim=1)
        return graph.call("Gemm", 2.0 * predicted, weight, norms, transB=1)
    inputs, logits = features, predicted
    if model.head == "tied":
        inputs = predicted * model.embedding_dim**-0.5
        logits = graph.call("Gemm", inputs, weight, model.output_bias, transB=1)
    return logits if model.adaptive is None else _adaptive(model.adaptive, inputs, logits)


def _adaptive(adaptive: AdaptiveSoftmax, inputs: Value, logits: Value) -> Value:
    """Compute log-probabilities (B, V), as `AdaptiveSoftmax.log_probabilities`."""
    graph, size = inputs.graph, adaptive.bounds[0]
    if adaptive.order == "counts":
        logits = graph.call("Gather", logits, adaptive.ranked_ids, axis=1)
    clusters = graph.call("Gemm", inputs, adaptive.weight, adaptive.bias, transB=1)
    head = graph.cat([logits.part(1, 0, size), clusters], 1)
    head = graph.call("LogSoftmax", head, axis=1)
    words = [head.part(1, 0, size)]
    for index, (start, end) in enumerate(pairwise(adaptive.bounds), size):
        within = graph.call("LogSoftmax", logits.part(1, start, end), axis=1)
        words.append(within + head.part(1, index, index + 1))
    found = graph.cat(words, 1)
    if adaptive.order == "counts":
        found = graph.call("Gather", found, adaptive.ranked_ids.argsort(), axis=1)
    return found
