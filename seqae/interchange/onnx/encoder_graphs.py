"""Encoders and their poolings as graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from seqae.interchange.onnx.graph import Graph, Value, writer_of
from seqae.interchange.onnx.layer_graphs import (
    apply,
    bind,
    length_mask,
    linear,
    masked_mean,
    where,
)
from seqae.interchange.onnx.recurrent_graphs import read
from seqae.interchange.onnx.transformer_graphs import attention, heads, mask_bias, run_stack
from seqae.model.encoders import (
    DenseEncoder,
    Encoder,
    GRUEncoder,
    LSTMEncoder,
    RecurrentEncoder,
    TransformerEncoder,
)
from seqae.model.pooling import (
    AttentionPooling,
    FirstPooling,
    MeanMaxPooling,
    MeanPooling,
    Pooling,
    PositionPooling,
)


@dataclass(frozen=True)
class Rows:
    """What an encoder reads.

    Attributes:
        embedded: (B, T, E).
        lengths: (B,) int64.
        max_length: most tokens of a row.
    """

    embedded: Value
    lengths: Value
    max_length: int

    @property
    def graph(self) -> Graph:
        """The graph that they are in."""
        return self.embedded.graph

    @property
    def mask(self) -> Value:
        """(B, T) bool, True at real tokens."""
        return length_mask(self.graph, self.lengths, self.embedded.size(1))


def encode(encoder: Encoder, rows: Rows) -> Value:
    """Write what an encoder computes: (B, H), or (B, K, H).

    Raises:
        ValueError: if it is of a class that is not in `ENCODERS`.
    """
    return writer_of(ENCODERS, encoder, "encoder")(encoder, rows)


def _dense(encoder: Any, rows: Rows) -> Value:
    graph = rows.graph
    padded = where(rows.mask.unsqueeze(2), rows.embedded, 0.0)
    missing = (rows.max_length - rows.embedded.size(1)).reshape(1)
    padded = graph.call("Pad", padded, graph.cat([[0, 0, 0, 0], missing, [0]], 0), 0.0)
    return apply(encoder.layers, padded.reshape(0, -1))


def _recurrent(encoder: RecurrentEncoder, rows: Rows) -> Value:
    stack: Any = encoder.get_submodule(encoder.stack_type.name)
    states, last = read(stack, rows.embedded, rows.lengths)
    if encoder.pooling == "position":
        both = rows.graph.cat([rows.embedded, states], 2)
        return bind(encoder.positions, linear(both, encoder.bound.weight), rows.mask)
    if encoder.pooling == "mean_max":
        return _mean_max(encoder.mean_max, rows, states)
    return last


def _transformer(encoder: TransformerEncoder, rows: Rows) -> Value:
    inputs = apply(encoder.input, rows.embedded)
    states, _ = run_stack(encoder.stack, inputs, bias=mask_bias(rows.mask))
    return writer_of(POOLINGS, encoder.pool, "pooling")(encoder.pool, rows, states)


def _mean(pooling: Any, rows: Rows, states: Value) -> Value:
    return masked_mean(states, rows.mask)


def _mean_max(pooling: Any, rows: Rows, states: Value) -> Value:
    highest = where(rows.mask.unsqueeze(2), states, -torch.inf).max(1)
    return rows.graph.cat([masked_mean(states, rows.mask), highest], 1)


def _first(pooling: Any, rows: Rows, states: Value) -> Value:
    return states.part(1, 0, 1).squeeze(1)


def _attention(pooling: Any, rows: Rows, states: Value) -> Value:
    key, value = (
        heads(linear(states, weight), pooling.num_heads)
        for weight in pooling.projection.weight.detach().chunk(2)
    )
    queries = pooling.queries.detach().reshape(pooling.num_latents, pooling.num_heads, -1)
    scaled = queries.transpose(0, 1)[None] * queries.shape[2] ** -0.5
    query = rows.graph.constant(scaled)
    pooled = apply(pooling.output, attention(query, key, value, mask_bias(rows.mask)))
    return pooled.squeeze(1) if pooling.num_latents == 1 else pooled


def _position(pooling: Any, rows: Rows, states: Value) -> Value:
    both = rows.graph.cat([rows.embedded, states], 2)
    return bind(pooling.positions, linear(both, pooling.bound.weight), rows.mask)


ENCODERS: Mapping[type[Encoder], Callable[[Any, Rows], Value]] = MappingProxyType(
    {
        DenseEncoder: _dense,
        GRUEncoder: _recurrent,
        LSTMEncoder: _recurrent,
        TransformerEncoder: _transformer,
    }
)
POOLINGS: Mapping[type[Pooling], Callable[[Any, Rows, Value], Value]] = MappingProxyType(
    {
        MeanPooling: _mean,
        MeanMaxPooling: _mean_max,
        FirstPooling: _first,
        AttentionPooling: _attention,
        PositionPooling: _position,
    }
)
