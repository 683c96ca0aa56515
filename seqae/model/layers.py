"""Layers that encoders and decoders share: dense stacks, GRU stacks, position binding."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

from seqae.batch import length_mask

Activation = Literal["relu", "gelu", "silu", "elu", "tanh", "sigmoid", "identity"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def dense_layers(sizes: list[int], activation: Activation, dropout: float) -> nn.Sequential:
    """Linear layers of the given sizes, with activation and dropout between them."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


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


@final
class GRUStack(nn.Module):
    """GRU layers (Cho et al. 2014) that read padded rows, each way only their real tokens.

    The backward direction reads each row reversed within its own length, which costs two gathers,
    keeps the kernels on padded input (a packed one is 3 to 12 times slower on a GPU,
    pytorch#149194) and gives the same states as a row without padding.

    Args:
        input_dim: features of the input.
        hidden_dim: units of each direction, H.
        num_layers: how many layers.
        bidirectional: whether each layer also reads backward.
        dropout: chance that a feature between layers is zeroed in training.
    """

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
            nn.ModuleList(nn.GRU(size, hidden_dim, batch_first=True) for _ in range(directions))
            for size in sizes
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Tensor, lengths: Tensor, initial: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Args:
            inputs: (B, T, input_dim).
            lengths: (B,) real tokens of each row.
            initial: (B, layers x directions, H) first states; zeros by default.

        Returns:
            The last layer's states (B, T, directions x H), whatever stands there in the padding,
            and every direction's state after its last real token (B, layers x directions, H).
        """
        last = (lengths - 1)[:, None, None]
        outputs, finals, index = inputs, [], 0
        for depth, layer in enumerate(self.layers):
            if depth:
                outputs = self.dropout(outputs)
            states = []
            assert isinstance(layer, nn.ModuleList)
            for backward, gru in enumerate(layer):
                first = None if initial is None else initial[:, index][None].contiguous()
                read = reverse(outputs, lengths) if backward else outputs
                state, _ = gru(read, first)
                finals.append(state.gather(1, last.expand(-1, -1, state.shape[2])))
                states.append(reverse(state, lengths) if backward else state)
                index += 1
            outputs = torch.cat(states, dim=2) if len(states) > 1 else states[0]
        return outputs, torch.cat(finals, dim=1)


def reverse(rows: Tensor, lengths: Tensor) -> Tensor:
    """Turn each padded row (B, T, D) round within its own length; the padding stays behind."""
    positions = torch.arange(rows.shape[1], device=rows.device)
    turned = lengths[:, None] - 1 - positions
    source = torch.where(length_mask(lengths, rows.shape[1]), turned, positions)
    return rows.gather(1, source[..., None].expand_as(rows))
