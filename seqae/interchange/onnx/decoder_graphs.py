"""Decoders as graphs: one makes the first state of latents, one reads a token and writes logits.

As in torch the first axis of every state is the batch, so that finished rows can be dropped. Parts
of torch's state that are empty (an unbound vector of size 0, a context that is not used) are left
out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import torch
from typing_extensions import override

from seqae.interchange.onnx.graph import Value, writer_of
from seqae.interchange.onnx.layer_graphs import apply, linear, position_vectors
from seqae.interchange.onnx.recurrent_graphs import step
from seqae.interchange.onnx.transformer_graphs import causal_bias, run_stack
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import (
    Decoder,
    DenseDecoder,
    GRUDecoder,
    LSTMDecoder,
    TransformerDecoder,
)
from seqae.model.decoders.recurrent_decoder import RecurrentDecoder
from seqae.model.latents.latent_noise import NoiseReading
from seqae.model.position_binding import PositionUnbinding


@dataclass(frozen=True)
class StateInput:
    """A part of a decoder's state.

    Attributes:
        name: of the part.
        dtype: its type, by its name in NumPy.
        shape: its sizes, the batch first.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class DecoderGraphs(ABC):
    """What a kind of decoder computes.

    Args:
        model: whose decoder it is.
    """

    def __init__(self, model: SequenceAutoencoder) -> None:
        self.model = model

    @abstractmethod
    def state(self) -> list[StateInput]:
        """List the parts of its state."""

    @abstractmethod
    def start(self, latent: Value, noise: Value | None) -> list[Value]:
        """Make the first state of (B, Z) latents and, if it reads them, (B,) σ."""

    @abstractmethod
    def step(self, embedded: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
        """Read the previous token (B, E): features (B, F) of the next one, and the next state."""


def graphs_of(model: SequenceAutoencoder) -> DecoderGraphs:
    """Choose what writes a model's decoder.

    Raises:
        ValueError: if it is of a class that is not in `DECODERS`.
    """
    return writer_of(DECODERS, model.decoder, "decoder")(model)


@final
class DenseGraphs(DecoderGraphs):
    """The features of all positions are the state, and a step looks its own up."""

    @override
    def state(self) -> list[StateInput]:
        shape = ("batch", self.model.max_length - 1, self.model.decoder.output_dim)
        return [StateInput("features", "float32", shape), POSITION]

    @override
    def start(self, latent: Value, noise: Value | None) -> list[Value]:
        decoder: Any = self.model.decoder
        outputs = apply(decoder.layers, latent)
        features = outputs.reshape(0, self.model.max_length - 1, decoder.output_dim)
        return [apply(decoder.norm, features), _zeros(latent)]

    @override
    def step(self, embedded: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
        features, position = state
        index = position.unsqueeze(1)
        own = embedded.graph.call("GatherND", features, index, batch_dims=1)
        return own, [features, position + 1]


@final
class RecurrentGraphs(DecoderGraphs):
    """The state is the position, what is read at every step, and h (and c) of all layers."""

    @override
    def state(self) -> list[StateInput]:
        decoder: Any = self.model.decoder
        parts = [POSITION, StateInput("context", "float32", ("batch", self.model.embedding_dim))]
        if decoder.position_dim:
            parts.append(StateInput("bound", "float32", ("batch", decoder.position_dim)))
        shape = ("batch", decoder.num_layers, decoder.hidden_dim)
        names = ("hidden", "cell")[: decoder.stack_type.num_states]
        return parts + [StateInput(name, "float32", shape) for name in names]

    @override
    def start(self, latent: Value, noise: Value | None) -> list[Value]:
        decoder: Any = self.model.decoder
        assert isinstance(decoder, RecurrentDecoder)
        latent, read = _read_noise(decoder.noise_reading, latent, noise)
        initial = _plus(apply(decoder.initial, latent), read.get("initial"))
        context = _plus(apply(decoder.context, latent), read.get("context"))
        states = decoder.stack_type.num_states
        hidden = latent.graph.call("Tanh", initial)
        shape = (0, states, decoder.num_layers, decoder.hidden_dim)
        parts = [part.squeeze(1) for part in hidden.reshape(*shape).split(states, axis=1)]
        bound = _bound(decoder, latent, read.get("gate"))
        return [_zeros(latent), context, *bound, *parts]

    @override
    def step(self, embedded: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
        decoder: Any = self.model.decoder
        graph = embedded.graph
        position, *rest = state
        context, *rest = rest
        kept = [context]
        unbound: Value | None = None
        told = context
        if decoder.position_dim:
            bound, *rest = rest
            kept.append(bound)
            unbound = _unbind(decoder, bound, position)
            told = context + unbound
        stack = decoder.get_submodule(decoder.stack_type.name)
        output, last = step(stack, graph.cat([embedded, told], 1), rest)
        features = apply(decoder.norm, _plus(apply(decoder.projection, output), unbound))
        return features, [position + 1, *kept, *last]


@final
class TransformerGraphs(DecoderGraphs):
    """The state is what is read at every step, and the keys and values of all blocks."""

    @property
    def _num_prefix(self) -> int:
        decoder: Any = self.model.decoder
        if decoder.latent_as == "add":
            return 0
        # With a content part the latent is one vector to the decoder.
        return 1 if self.model.content is not None else self.model.encoder.num_latents

    @override
    def state(self) -> list[StateInput]:
        decoder: Any = self.model.decoder
        parts = []
        if decoder.latent_as != "prefix":
            shape: tuple[int | str, ...] = ("batch", self.model.embedding_dim)
            parts.append(StateInput("context", "float32", shape))
        if decoder.position_dim:
            parts.append(StateInput("bound", "float32", ("batch", decoder.position_dim)))
        size = decoder.hidden_dim // decoder.num_heads
        shape = ("batch", decoder.num_heads, "tokens", size)
        for depth in range(decoder.num_layers):
            names = f"keys_{depth}", f"values_{depth}"
            parts += [StateInput(name, "float32", shape) for name in names]
        return parts

    @override
    def start(self, latent: Value, noise: Value | None) -> list[Value]:
        decoder: Any = self.model.decoder
        graph = latent.graph
        latent, read = _read_noise(decoder.noise_reading, latent, noise)
        kept = []
        if decoder.latent_as != "prefix":
            kept.append(_plus(apply(decoder.context, latent), read.get("context")))
        kept += _bound(decoder, latent, read.get("gate"))
        count = self._num_prefix
        if not count:
            size = decoder.hidden_dim // decoder.num_heads
            rest = [decoder.num_heads, 0, size]
            shape = graph.cat([latent.size(0).reshape(1), rest], 0)
            empty = graph.call("Expand", torch.zeros(1, decoder.num_heads, 0, size), shape)
            return kept + [empty] * (2 * decoder.num_layers)
        prefix = apply(decoder.prefix, latent.reshape(0, count, -1))
        if "prefix" in read:
            prefix = prefix + read["prefix"].unsqueeze(1)
        bias = None if count == 1 else causal_bias(count)
        return kept + run_stack(decoder.stack, prefix, bias=bias)[1]

    @override
    def step(self, embedded: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
        decoder: Any = self.model.decoder
        kept = list(state[: len(state) - 2 * decoder.num_layers])
        cache = state[len(kept) :]
        length = cache[0].size(2)
        rest = list(kept)
        token = embedded
        unbound: Value | None = None
        if decoder.latent_as != "prefix":
            token = token + rest.pop(0)
        if decoder.position_dim:
            unbound = _unbind(decoder, rest[0], length - self._num_prefix)
            token = token + unbound
        inputs = apply(decoder.input, token).unsqueeze(1)
        states, extended = run_stack(decoder.stack, inputs, length, past=cache)
        projected = apply(decoder.projection, states.squeeze(1))
        return apply(decoder.norm, _plus(projected, unbound)), kept + extended


POSITION = StateInput("position", "int64", ("batch",))
DECODERS: Mapping[type[Decoder], type[DecoderGraphs]] = MappingProxyType(
    {
        DenseDecoder: DenseGraphs,
        GRUDecoder: RecurrentGraphs,
        LSTMDecoder: RecurrentGraphs,
        TransformerDecoder: TransformerGraphs,
    }
)


def _zeros(latent: Value) -> Value:
    """Make a zero for each row, (B,) int64."""
    return latent.graph.call("Expand", latent.graph.constant([0]), latent.size(0).reshape(1))


def _plus(value: Value, other: Value | None) -> Value:
    return value if other is None else value + other


def _read_noise(
    reading: NoiseReading | None, latent: Value, noise: Value | None
) -> tuple[Value, dict[str, Value]]:
    """Shrink the latent and make what a decoder is told of σ, as `NoiseReading.forward`."""
    if reading is None:
        return latent, {}
    assert noise is not None
    graph = latent.graph
    angle = graph.call("Atan", noise).unsqueeze(1)
    cos, sin = graph.call("Cos", angle), graph.call("Sin", angle)
    features = apply(reading.features, graph.cat([cos, sin], 1))
    made = {name: apply(output, features) for name, output in reading.outputs.items()}
    return latent * cos, made


def _bound(decoder: Any, latent: Value, gate: Value | None) -> list[Value]:
    """Make the vector that is unbound at every position; none without such positions."""
    if not decoder.position_dim:
        return []
    bound = apply(decoder.bound, latent)
    if gate is None:
        return [bound]
    return [bound * (2.0 * latent.graph.call("Sigmoid", gate))]


def _unbind(decoder: PositionUnbinding, bound: Value, position: Value) -> Value:
    """Unbind at (B,) positions, or one of all rows: (B, E)."""
    vectors = position_vectors(decoder.positions, position)
    return linear(bound * vectors, decoder.unbound.weight)
