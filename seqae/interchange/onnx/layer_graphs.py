"""Layers as graphs: linear maps, norms, activations, positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from seqae.interchange.onnx.graph import Graph, Value
from seqae.model.layers import RMSNorm
from seqae.model.position_binding import PositionBinding


def apply(layer: nn.Module, inputs: Value) -> Value:
    """Write what a layer computes in evaluation mode.

    Args:
        layer: one of those in `LAYERS`.
        inputs: of any shape that the layer takes.

    Raises:
        ValueError: if it is of another class.
    """
    if type(layer) not in LAYERS:
        raise ValueError(
            f"`model` must be made of layers that ONNX files are written for, but it has a "
            f"{type(layer).__name__} instead. Share the bundle itself: `seqae push`."
        )
    return LAYERS[type(layer)](layer, inputs)


def linear(inputs: Value, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Value:
    """Map (..., D) by a weight (F, D) and a bias (F,), as torch keeps them."""
    outputs = inputs @ weight.detach().T.contiguous()
    return outputs if bias is None else outputs + bias


def layer_norm(inputs: Value, size: int, layer: nn.LayerNorm | None = None) -> Value:
    """Normalise (..., size), by the weights of a layer if it has some."""
    weight = None if layer is None else layer.weight
    bias = None if layer is None else layer.bias
    scale = torch.ones(size) if weight is None else weight
    epsilon = 1e-5 if layer is None else layer.eps
    return inputs.graph.call("LayerNormalization", inputs, scale, bias, axis=-1, epsilon=epsilon)


def unit_length(inputs: Value) -> Value:
    """Divide (..., D) by its norm, as `torch.nn.functional.normalize` does."""
    graph = inputs.graph
    norm = graph.call("ReduceL2", inputs, [-1], keepdims=1)
    return inputs / graph.call("Max", norm, 1e-12)


def where(condition: Value, chosen: Any, other: Any) -> Value:
    """Choose between two values."""
    return condition.graph.call("Where", condition, chosen, other)


def masked_mean(states: Value, mask: Value) -> Value:
    """Average (B, T, H) over the real tokens: (B, H)."""
    real = mask.cast("float32")
    return (states * real.unsqueeze(2)).sum(1) / real.sum(1, keepdim=True)


def position_vectors(positions: PositionBinding, index: Value) -> Value:
    """Look up (...) int64 positions: (..., D)."""
    last = positions.max_length - 1
    clamped = index.graph.call("Min", index, last)
    return index.graph.call("Gather", positions.weight, clamped)


def bind(positions: PositionBinding, rows: Value, mask: Value) -> Value:
    """Bind (B, T, D) to their positions and sum them, as `PositionBinding.bind`: (B, D)."""
    vectors = position_vectors(positions, rows.graph.range(0, rows.size(1)))
    return (rows * vectors * mask.cast("float32").unsqueeze(2)).sum(1) / 4.0


def _linear(layer: Any, inputs: Value) -> Value:
    return linear(inputs, layer.weight, layer.bias)


def _sequential(layer: Any, inputs: Value) -> Value:
    for inner in layer:
        inputs = apply(inner, inputs)
    return inputs


def _layer_norm(layer: Any, inputs: Value) -> Value:
    return layer_norm(inputs, layer.normalized_shape[0], layer)


def _rms_norm(layer: Any, inputs: Value) -> Value:
    epsilon = torch.finfo(torch.float32).eps if layer.eps is None else layer.eps
    root = inputs.graph.call("Sqrt", (inputs * inputs).mean(-1, keepdim=True) + epsilon)
    weight: torch.Tensor = layer.weight
    return (inputs / root) * weight


def _gelu(layer: Any, inputs: Value) -> Value:
    return 0.5 * inputs * (1.0 + inputs.graph.call("Erf", inputs * math.sqrt(0.5)))


def _silu(layer: Any, inputs: Value) -> Value:
    return inputs * inputs.graph.call("Sigmoid", inputs)


def _mish(layer: Any, inputs: Value) -> Value:
    graph = inputs.graph
    return inputs * graph.call("Tanh", graph.call("Softplus", inputs))


def _log_sigmoid(layer: Any, inputs: Value) -> Value:
    return -inputs.graph.call("Softplus", -inputs)


def _tanhshrink(layer: Any, inputs: Value) -> Value:
    return inputs - inputs.graph.call("Tanh", inputs)


def _prelu(layer: Any, inputs: Value) -> Value:
    return inputs.graph.call("PRelu", inputs, layer.weight)


def _clip(layer: Any, inputs: Value) -> Value:  # ReLU6 is a Hardtanh, too
    return inputs.graph.call("Clip", inputs, float(layer.min_val), float(layer.max_val))


def _rrelu(layer: Any, inputs: Value) -> Value:
    return inputs.graph.call("LeakyRelu", inputs, alpha=(layer.lower + layer.upper) / 2)


def _identity(layer: Any, inputs: Value) -> Value:
    return inputs


def _operator(name: str, **attributes: str | float) -> Callable[[Any, Value], Value]:
    """Write an operator of ONNX; an attribute that is text is that of the layer."""

    def write(layer: Any, inputs: Value) -> Value:
        found = {
            key: getattr(layer, value) if isinstance(value, str) else value
            for key, value in attributes.items()
        }
        return inputs.graph.call(name, inputs, **found)

    return write


LAYERS: Mapping[type[nn.Module], Callable[[Any, Value], Value]] = MappingProxyType(
    {
        nn.Identity: _identity,
        nn.Dropout: _identity,
        nn.Linear: _linear,
        nn.Sequential: _sequential,
        nn.LayerNorm: _layer_norm,
        RMSNorm: _rms_norm,
        nn.ReLU: _operator("Relu"),
        nn.GELU: _gelu,
        nn.SiLU: _silu,
        nn.ELU: _operator("Elu", alpha="alpha"),
        nn.Tanh: _operator("Tanh"),
        nn.Sigmoid: _operator("Sigmoid"),
        nn.CELU: _operator("Celu", alpha="alpha"),
        nn.Hardshrink: _operator("Shrink", lambd="lambd"),
        nn.Hardsigmoid: _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
        nn.Hardswish: _operator("HardSwish"),
        nn.Hardtanh: _clip,
        nn.LeakyReLU: _operator("LeakyRelu", alpha="negative_slope"),
        nn.LogSigmoid: _log_sigmoid,
        nn.Mish: _mish,
        nn.PReLU: _prelu,
        nn.ReLU6: _clip,
        nn.RReLU: _rrelu,
        nn.SELU: _operator("Selu"),
        nn.Softplus: _operator("Softplus"),
        nn.Softshrink: _operator("Shrink", lambd="lambd", bias="lambd"),
        nn.Softsign: _operator("Softsign"),
        nn.Tanhshrink: _tanhshrink,
    }
)


def length_mask(graph: Graph, lengths: Value, width: Value) -> Value:
    """Make a (B, T) bool mask, True before each length."""
    return graph.call("Less", graph.range(0, width), lengths.unsqueeze(1))
