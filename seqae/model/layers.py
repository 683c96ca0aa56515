"""Layers that encoders and decoders share: dense and recurrent stacks, position binding."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from seqae.batch import length_mask

States = tuple[Tensor, ...]

# The names are those of torch.nn.functional; these are all of torch's activations that map each
# number by itself and need no argument (so no GLU, Softmax and the like, no Threshold).
Activation = Literal[
    "relu",
    "gelu",
    "silu",
    "elu",
    "tanh",
    "sigmoid",
    "identity",
    "celu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "rrelu",
    "selu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
    "celu": nn.CELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "leaky_relu": nn.LeakyReLU,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
}


@final
class RMSNorm(nn.RMSNorm):
    """Root mean square normalisation (Zhang and Sennrich 2019), in full precision under autocast.

    Autocast takes care of layer normalisation in the same way, but not of this one.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return super().forward(inputs.to(self.weight.dtype))


# No batch normalisation: a batch may be one sentence, and its figures differ between devices.
Norm = Literal["none", "layer", "rms"]
NORMS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "layer": nn.LayerNorm,
    "rms": RMSNorm,
}


def dense_layers(
    sizes: list[int], activation: Activation, dropout: float, norm: Norm = "none"
) -> nn.Sequential:
    """Linear layers of the given sizes; between them normalisation, activation and dropout."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers.append(nn.Linear(size_in, size_out))
        if norm != "none":
            layers.append(NORMS[norm](size_out))
        layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[: -2 if norm == "none" else -3])


@final
class PositionBinding(nn.Module):
    """A vector for each position, multiplied into what stands there, so that a sum keeps the order.

    Adding up `x_t * p_t` over a sentence superposes its tokens in one vector of fixed size, and
    multiplying that sum by `p_t` again gives back `x_t` plus noise that shrinks with the size: the
    multiply-add form of holographic reduced representations (Plate 1995, doi:10.1109/72.377968;
    Gayler 2004, arXiv:cs/0412059). It gives a gradient a path of length one from any token through
    the latent to its place in the output, where a recurrence needs one of the sentence's length.

    The vectors begin as random waves, sin(f t + phase) with f drawn evenly from 0 to pi, which are
    nearly orthogonal between positions (random Fourier features, Rahimi and Recht 2007); they are
    trained with the rest.

    Args:
        dim: size of a vector.
        max_length: number of positions; later ones share the last vector.
    """

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.dim, self.max_length = dim, max_length
        self.weight = nn.Parameter(torch.empty(max_length, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the waves."""
        if self.weight.is_meta:  # the weights of a bundle are read; see seqae.bundle.folder
            return
        with torch.no_grad():
            frequency = torch.rand(self.dim) * math.pi
            phase = torch.rand(self.dim) * 2 * math.pi
            angle = torch.arange(self.max_length)[:, None] * frequency + phase
            self.weight.copy_(angle.sin() * math.sqrt(2))  # unit mean square

    def forward(self, positions: Tensor) -> Tensor:
        """(...) int64 positions to (..., dim) vectors."""
        return self.weight[positions.clamp(max=self.max_length - 1)]

    def bind(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Bind each real token of (B, T, dim) to its position and sum: (B, dim)."""
        places: Tensor = self(torch.arange(mask.shape[1], device=mask.device))
        # A sum of T independent terms grows with the root of T; 4 is the root of a long one.
        return (rows * places).masked_fill(~mask[..., None], 0.0).sum(dim=1) / 4.0


class RecurrentStack(nn.Module, ABC):
    """Recurrent layers that read padded rows, each way only their real tokens.

    The backward direction reads each row reversed within its own length, which costs two gathers,
    keeps the kernels on padded input (a packed one is 3 to 12 times slower on a GPU,
    pytorch#149194) and gives the same outputs as a row without padding.

    Args:
        input_dim: features of the input.
        hidden_dim: units of each direction, H.
        num_layers: how many layers.
        bidirectional: whether each layer also reads backward.
        dropout: chance that a feature between layers is zeroed in training.

    Attributes:
        num_states: S, how many vectors make up the state of a layer; the first is its output.
        name: of the stack within an encoder or decoder, and so in their weights' names.
    """

    name: ClassVar[str]
    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]
    num_states: ClassVar[int]

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.output_dim = directions * hidden_dim
        sizes = [input_dim] + [self.output_dim] * (num_layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(self.cell(size, hidden_dim, batch_first=True) for _ in range(directions))
            for size in sizes
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read padded rows in all directions, from states of zero.

        Args:
            inputs: (B, T, input_dim).
            lengths: (B,) real tokens of each row.

        Returns:
            The last layer's outputs (B, T, directions x H), whatever stands there in the padding,
            and every direction's output at its last real token (B, layers x directions, H).
        """
        last = (lengths - 1)[:, None, None]
        outputs, finals = inputs, []
        for depth, layer in enumerate(self.layers):
            if depth:
                outputs = self.dropout(outputs)
            found = []
            assert isinstance(layer, nn.ModuleList)
            for backward, rnn in enumerate(layer):
                output, _ = rnn(reverse(outputs, lengths) if backward else outputs)
                finals.append(output.gather(1, last.expand(-1, -1, output.shape[2])))
                found.append(reverse(output, lengths) if backward else output)
            outputs = torch.cat(found, dim=2) if len(found) > 1 else found[0]
        return outputs, torch.cat(finals, dim=1)

    def extend(self, inputs: Tensor, state: States) -> tuple[Tensor, States]:
        """Read on from a state; one direction, and every row is T tokens long.

        Args:
            inputs: (B, T, input_dim).
            state: S tensors (B, layers, H).

        Returns:
            The last layer's outputs (B, T, H), and the state after the last token.
        """
        outputs, finals = inputs, []
        for depth, layer in enumerate(self.layers):
            if depth:
                outputs = self.dropout(outputs)
            assert isinstance(layer, nn.ModuleList)
            (rnn,) = layer
            first = tuple(part[:, depth][None].contiguous() for part in state)
            outputs, final = self._read(rnn, outputs, first)
            finals.append(final)
        parts = zip(*finals, strict=True)  # each is S x (layers of (1, B, H))
        return outputs, tuple(torch.cat(part).transpose(0, 1) for part in parts)

    @abstractmethod
    def _read(self, rnn: nn.Module, inputs: Tensor, first: States) -> tuple[Tensor, States]:
        """One layer from a first state, S tensors (1, B, H), to its outputs and last state."""


@final
class GRUStack(RecurrentStack):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), with torch's equations."""

    name, cell, num_states = "gru", nn.GRU, 1

    def _read(self, rnn: nn.Module, inputs: Tensor, first: States) -> tuple[Tensor, States]:
        outputs, last = rnn(inputs, first[0])
        return outputs, (last,)


@final
class LSTMStack(RecurrentStack):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    The state is output h and memory c.
    """

    name, cell, num_states = "lstm", nn.LSTM, 2

    def _read(self, rnn: nn.Module, inputs: Tensor, first: States) -> tuple[Tensor, States]:
        outputs, last = rnn(inputs, first)
        return outputs, last


def reverse(rows: Tensor, lengths: Tensor) -> Tensor:
    """Turn each padded row (B, T, D) round within its own length; the padding stays behind."""
    positions = torch.arange(rows.shape[1], device=rows.device)
    turned = lengths[:, None] - 1 - positions
    source = torch.where(length_mask(lengths, rows.shape[1]), turned, positions)
    return rows.gather(1, source[..., None].expand_as(rows))


def in_float32(values: Tensor) -> Tensor:
    """Half precision in float32; what is wider stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
