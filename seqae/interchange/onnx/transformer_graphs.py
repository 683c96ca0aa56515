"""Transformer blocks as graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqae.interchange.onnx.graph import Value
from seqae.interchange.onnx.layer_graphs import apply, linear
from seqae.model.transformer import ROTARY_BASE, SelfAttention, TransformerBlock, TransformerStack


def run_stack(
    stack: TransformerStack,
    inputs: Value,
    start: Value | int = 0,
    bias: Value | Tensor | None = None,
    past: Sequence[Value] = (),
) -> tuple[Value, list[Value]]:
    """Run all blocks, as `TransformerStack.forward`.

    Args:
        stack: the blocks.
        inputs: (B, T, H).
        start: position of the first of these tokens.
        bias: added to the logits of attention (B, heads, T, S), minus infinity where a token must
            not look; None lets all tokens look at all.
        past: keys and values of each block in turn, (B, heads, tokens before, D).

    Returns:
        (B, T, H), and keys and values of all tokens so far.
    """
    graph = inputs.graph
    positions = graph.range(start, inputs.size(1) + start)
    rotary = None
    if stack.positions is None:
        rotary = _rotation(positions, stack.head_dim)
    else:
        clamped = graph.call("Min", positions, stack.max_length - 1)
        inputs = inputs + graph.call("Gather", stack.positions.weight, clamped)
    extended: list[Value] = []
    for depth, block in enumerate(stack.blocks):
        assert isinstance(block, TransformerBlock)
        own = past[2 * depth : 2 * depth + 2]
        attended, cache = _attend(
            block.attention, apply(block.attention_norm, inputs), rotary, bias, own
        )
        inputs = inputs + attended
        inputs = inputs + apply(block.feedforward, apply(block.feedforward_norm, inputs))
        extended += cache
    return apply(stack.norm, inputs), extended


def causal_bias(size: int) -> Tensor:
    """Make the bias that keeps each of `size` tokens from looking at those after it."""
    return torch.full((size, size), -math.inf).triu(1)


def attention(query: Value, key: Value, value: Value, bias: Value | Tensor | None) -> Value:
    """Attend with queries (B, heads, Q, D): (B, Q, heads x D)."""
    logits = query @ key.permute(0, 1, 3, 2)
    if bias is not None:
        logits = logits + bias
    weights = query.graph.call("Softmax", logits, axis=-1)
    return (weights @ value).permute(0, 2, 1, 3).reshape(0, 0, -1)


def heads(inputs: Value, num_heads: int) -> Value:
    """Share the features (B, T, H) between heads: (B, heads, T, H / heads)."""
    return inputs.reshape(0, 0, num_heads, -1).permute(0, 2, 1, 3)


def mask_bias(mask: Value) -> Value:
    """Make the bias (B, 1, 1, T) that lets no token look at the padding of a (B, T) mask."""
    return mask.graph.call("Where", mask, 0.0, -math.inf).unsqueeze(1, 2)


def _attend(
    layer: SelfAttention,
    inputs: Value,
    rotary: tuple[Value, Value] | None,
    bias: Value | Tensor | None,
    past: Sequence[Value],
) -> tuple[Value, list[Value]]:
    weights = layer.projection.weight.detach().chunk(3)
    scale = (len(weights[0]) // layer.num_heads) ** -0.5
    query, key, value = (heads(linear(inputs, weight), layer.num_heads) for weight in weights)
    if rotary is not None:
        query, key = _rotate(query, *rotary), _rotate(key, *rotary)
    if past:
        graph = inputs.graph
        key, value = graph.cat([past[0], key], 2), graph.cat([past[1], value], 2)
    attended = attention(query * scale, key, value, bias)
    return _project(layer.output, attended), [key, value]


def _project(layer: nn.Linear, inputs: Value) -> Value:
    return linear(inputs, layer.weight, layer.bias)


def _rotation(positions: Value, dim: int) -> tuple[Value, Value]:
    """Compute what `seqae.model.transformer.rotation` does, (T, dim / 2) each."""
    graph = positions.graph
    pairs = torch.arange(0, dim, 2, dtype=torch.float32)
    speed = torch.exp(pairs * (-math.log(ROTARY_BASE) / dim))
    angle = positions.cast("float32").unsqueeze(1) * speed
    return graph.call("Cos", angle), graph.call("Sin", angle)


def _rotate(rows: Value, cos: Value, sin: Value) -> Value:
    first, second = rows.split(2)
    return rows.graph.cat([first * cos - second * sin, second * cos + first * sin], -1)
