"""Recurrent layers as graphs: ONNX's own GRU and LSTM over padded rows, and one step of them.

ONNX's operators take the length of each row, read the reverse direction from each row's own last
token, and return the state after it: what RecurrentStack does by reversing rows. They keep the
gates in another order than torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqae.interchange.onnx.graph import Value
from seqae.interchange.onnx.layer_graphs import linear
from seqae.model.recurrent import GRUStack, RecurrentStack

# Torch has reset, update, new and input, forget, cell, output (in the documentation of nn.GRU and
# nn.LSTM); ONNX wants z, r, h and i, o, f, c.
GRU_ORDER, LSTM_ORDER = (1, 0, 2), (0, 3, 1, 2)


def read(stack: RecurrentStack, inputs: Value, lengths: Value) -> tuple[Value, Value]:
    """Read padded rows in all directions, from states of zero, as `RecurrentStack.forward`.

    Args:
        stack: the layers.
        inputs: (B, T, D).
        lengths: (B,) int64.

    Returns:
        The last layer's outputs (B, T, directions x H), zero in the padding, and the output of each
        of its directions at its last real token (B, directions x H).
    """
    graph = inputs.graph
    is_gru = isinstance(stack, GRUStack)
    order = GRU_ORDER if is_gru else LSTM_ORDER
    own: dict[str, Any] = {"linear_before_reset": 1} if is_gru else {}
    rows, steps = lengths.cast("int32"), inputs.permute(1, 0, 2)
    last = steps
    for layer in stack.layers:
        cells = _cells(layer)
        weights = torch.stack([_reorder(cell.weight_ih_l0, order) for cell in cells])
        recurrence = torch.stack([_reorder(cell.weight_hh_l0, order) for cell in cells])
        pairs = [(cell.bias_ih_l0, cell.bias_hh_l0) for cell in cells]
        biases = torch.stack([torch.cat([_reorder(b, order) for b in pair]) for pair in pairs])
        outputs, last = graph.call_many(
            "GRU" if is_gru else "LSTM",
            2,
            *(steps, weights, recurrence, biases, rows),
            direction="bidirectional" if len(cells) > 1 else "forward",
            hidden_size=cells[0].hidden_size,
            **own,
        )
        # (T, directions, B, H) to (T, B, directions x H)
        steps = outputs.permute(0, 2, 1, 3).reshape(0, 0, -1)
    return steps.permute(1, 0, 2), last.permute(1, 0, 2).reshape(0, -1)


def step(stack: RecurrentStack, inputs: Value, state: Sequence[Value]) -> tuple[Value, list[Value]]:
    """Read one token in one direction, as `RecurrentStack.extend`.

    Args:
        stack: the layers.
        inputs: (B, D).
        state: S values (B, layers, H).

    Returns:
        The last layer's output (B, H), and the state after the token.
    """
    graph = inputs.graph
    write = _gru_step if isinstance(stack, GRUStack) else _lstm_step
    finals = []
    for depth, layer in enumerate(stack.layers):
        (cell,) = _cells(layer)
        first = [graph.call("Gather", part, depth, axis=1) for part in state]
        read_in = linear(inputs, cell.weight_ih_l0, cell.bias_ih_l0)
        recurred = linear(first[0], cell.weight_hh_l0, cell.bias_hh_l0)
        final = write(read_in, recurred, first)
        finals.append(final)
        inputs = final[0]
    parts = zip(*finals, strict=True)
    return inputs, [graph.cat([part.unsqueeze(1) for part in layers], 1) for layers in parts]


def _gru_step(inputs: Value, recurred: Value, state: Sequence[Value]) -> list[Value]:
    graph = inputs.graph
    reset_in, update_in, new_in = inputs.split(3)
    reset_re, update_re, new_re = recurred.split(3)
    reset = graph.call("Sigmoid", reset_in + reset_re)
    update = graph.call("Sigmoid", update_in + update_re)
    new = graph.call("Tanh", new_in + reset * new_re)
    return [new + update * (state[0] - new)]


def _lstm_step(inputs: Value, recurred: Value, state: Sequence[Value]) -> list[Value]:
    graph = inputs.graph
    enter, forget, cell, leave = (inputs + recurred).split(4)
    kept = graph.call("Sigmoid", forget) * state[1]
    memory = kept + graph.call("Sigmoid", enter) * graph.call("Tanh", cell)
    return [graph.call("Sigmoid", leave) * graph.call("Tanh", memory), memory]


def _cells(layer: nn.Module) -> list[Any]:
    """List torch's layers of all directions."""
    assert isinstance(layer, nn.ModuleList)
    return list(layer)


def _reorder(weights: Tensor, order: Sequence[int]) -> Tensor:
    """Put the gates, equal parts of the first axis, into another order."""
    gates = weights.detach().chunk(len(order))
    return torch.cat([gates[index] for index in order])
