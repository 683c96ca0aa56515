"""Weights in 8 bits: a model that computes with whole numbers, on a CPU whose vector units do.

Dynamic quantisation (Jacob et al. 2018, arXiv:1712.05877, without zero points; Zafrir et al. 2019,
arXiv:1910.06188): each row of a weight has a scale of its own, and so has each row that is
multiplied with it, found as it comes. What a text becomes thus depends on no other of its batch.
Products are exact sums of whole numbers; gates, norms, biases and the latent layer stay in float32.

torch's own `quantize_dynamic` is deprecated (2.13) and would not find the tied output layer.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.int8_product import Int8Embedding, Int8Matrix
from seqae.model.recurrent import RecurrentStack, RecurrentState

ComputeType = Literal["float32", "int8"]

# Of the processor; torch's names for VNNI and AMX, and for Arm's dot and matrix products.
INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8", "dot", "i8mm")

MIN_WEIGHTS = 2**14  # smaller layers cost more to quantise their input than to compute


class Int8Linear(nn.Module):
    """A linear layer with weights in 8 bits.

    Args:
        layer: what it stands for.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.matrix, self.bias = Int8Matrix(layer.weight), layer.bias

    @property
    def weight(self) -> Tensor:
        """The weights (out, in) in float32, rounded as they are."""
        return self.matrix.dequantised()

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        outputs: Tensor = self.matrix(inputs)
        return outputs if self.bias is None else outputs.add_(self.bias)


class Int8Layer(nn.Module):
    """A layer of torch's GRU or LSTM, in one direction, with weights in 8 bits.

    Args:
        rnn: what it stands for; batch first, with biases.
    """

    def __init__(self, rnn: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.is_gru, self.hidden_dim = isinstance(rnn, nn.GRU), rnn.hidden_size
        weights = (cast("Tensor", rnn.get_parameter(f"weight_{part}_l0")) for part in ("ih", "hh"))
        self.read, self.carry = map(Int8Matrix, weights)
        self.read_bias = rnn.get_parameter("bias_ih_l0")
        self.carry_bias = rnn.get_parameter("bias_hh_l0")

    @override
    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Read (B, T, in) from the states h, and c of an LSTM, (B, H) each, or from zero.

        Returns:
            (B, T, H), and the last states.
        """
        if state is None:
            zero = inputs.new_zeros(len(inputs), self.hidden_dim)
            state = (zero,) if self.is_gru else (zero, zero)
        read = self.read(inputs).add_(self.read_bias)  # of all steps at once
        outputs = inputs.new_empty(*inputs.shape[:2], self.hidden_dim)
        step = self._gru if self.is_gru else self._lstm
        for position in range(inputs.shape[1]):
            carried = self.carry(state[0]).add_(self.carry_bias)
            state = step(read[:, position], carried, *state)
            outputs[:, position] = state[0]
        return outputs, state

    def _gru(self, read: Tensor, carried: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        size = 2 * self.hidden_dim
        reset, update = (read[:, :size] + carried[:, :size]).sigmoid_().chunk(2, dim=1)
        new = torch.addcmul(read[:, size:], reset, carried[:, size:]).tanh_()
        return (torch.lerp(new, hidden, update),)

    def _lstm(
        self, read: Tensor, carried: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, ...]:
        enter, forget, new, leave = (read + carried).chunk(4, dim=1)
        cell = torch.addcmul(forget.sigmoid() * cell, enter.sigmoid(), new.tanh())
        return leave.sigmoid() * cell.tanh(), cell


class Int8Stack(RecurrentStack):
    """A stack of recurrent layers with weights in 8 bits.

    Args:
        stack: what it stands for.
    """

    def __init__(self, stack: RecurrentStack) -> None:
        nn.Module.__init__(self)  # the base's would make weights
        self.is_gru, self.output_dim = stack.num_states == 1, stack.output_dim
        self.layers = nn.ModuleList(
            nn.ModuleList(Int8Layer(cast("nn.GRU | nn.LSTM", rnn)) for rnn in cast("Any", layer))
            for layer in stack.layers
        )
        self.dropout = stack.dropout

    @override
    def _run_layer(
        self, rnn: nn.Module, inputs: Tensor, state: RecurrentState
    ) -> tuple[Tensor, RecurrentState]:
        outputs, last = rnn(inputs, tuple(part[0] for part in state))
        return outputs, tuple(part[None] for part in last)


def to_int8(model: SequenceAutoencoder) -> SequenceAutoencoder:
    """Put the weights of encoder, decoder and output layer into 8 bits, for good.

    Args:
        model: built, in evaluation mode, on the CPU; it cannot be trained or saved any more.

    Returns:
        The model itself.

    Raises:
        ValueError: if its output layer has clusters, which multiply a part of a matrix.
    """
    if model.adaptive is not None:
        raise ValueError(
            "`compute_type` must be float32 for a model with `adaptive`, but it is int8 instead. "
            "Leave it out."
        )
    for part in (model.encoder, model.decoder):
        _replace(part)
    if isinstance(model.output, nn.Linear):
        model.output = Int8Linear(model.output)
    if model.head == "tied":
        model.embedding = Int8Embedding(model.embedding.weight)
    model.is_int8 = True
    return model


def multiplies_int8() -> bool:
    """Say whether this processor has instructions for products of 8-bit numbers."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in INT8_INSTRUCTIONS)


def check_int8(device: str | torch.device) -> str:
    """Refuse a device that does not compute with 8 bits.

    Args:
        device: where the model is to compute; `auto` is the CPU.

    Returns:
        The CPU.

    Raises:
        ValueError: if it is another device, or the processor has no products of whole numbers,
            without which 8 bits are slower.
    """
    if str(device) not in ("auto", "cpu"):
        raise ValueError(
            f"`device` must be cpu for `compute_type: int8`, but it is {device} instead. Leave one "
            f"of them out."
        )
    if not multiplies_int8():
        raise ValueError(
            "`compute_type` must be float32 on a processor without products of 8-bit numbers, but "
            "it is int8 instead. Leave it out."
        )
    return "cpu"


def _replace(part: nn.Module) -> None:
    """Replace the layers within a part of the model."""
    for name, child in list(part.named_children()):
        if isinstance(child, RecurrentStack):
            setattr(part, name, Int8Stack(child))
        elif isinstance(child, nn.Linear):
            if child.weight.numel() >= MIN_WEIGHTS:
                setattr(part, name, Int8Linear(child))
        else:
            _replace(child)
