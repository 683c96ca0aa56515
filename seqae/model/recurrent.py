"""Recurrent layers over padded rows: stacks of GRU and of LSTM layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.batch import length_mask
from seqae.model.gru_sequence import run_gru, runs_fast

RecurrentState = tuple[Tensor, ...]  # S tensors (B, layers, H): h of a GRU, h and c of an LSTM


class RecurrentStack(nn.Module, ABC):
    """Recurrent layers that read padded rows, but in either direction only the real tokens.

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
        name: of the stack within an encoder or decoder, and so part of their weights' names.
        cell: torch's layer.
        num_states: S, how many vectors make up the state of a layer; the first is its output.
        output_dim: directions x H.
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

    @override
    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read padded rows in all directions, from states of zero.

        Args:
            inputs: (B, T, input_dim).
            lengths: (B,) real tokens of each row.

        Returns:
            The last layer's outputs (B, T, directions x H), arbitrary in the padding, and the
            output of every direction at its last real token (B, layers x directions, H).
        """
        last = (lengths - 1)[:, None, None]
        outputs, finals = inputs, []
        for depth, layer in enumerate(self.layers):
            if depth:
                outputs = self.dropout(outputs)
            directions = []
            assert isinstance(layer, nn.ModuleList)
            for backward, rnn in enumerate(layer):
                output = self._read_layer(rnn, reverse(outputs, lengths) if backward else outputs)
                finals.append(output.gather(1, last.expand(-1, -1, output.shape[2])))
                directions.append(reverse(output, lengths) if backward else output)
            outputs = torch.cat(directions, dim=2) if len(directions) > 1 else directions[0]
        return outputs, torch.cat(finals, dim=1)

    def extend(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Continue from a state, in one direction; every row is T tokens long.

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
            outputs, final = self._run_layer(rnn, outputs, first)
            finals.append(final)
        parts = zip(*finals, strict=True)  # each is S x (layers of (1, B, H))
        return outputs, tuple(torch.cat(part).transpose(0, 1) for part in parts)

    def _read_layer(self, rnn: nn.Module, inputs: Tensor) -> Tensor:
        """Run one layer from states of zero: its outputs."""
        outputs: Tensor = rnn(inputs)[0]
        return outputs

    @abstractmethod
    def _run_layer(
        self, rnn: nn.Module, inputs: Tensor, state: RecurrentState
    ) -> tuple[Tensor, RecurrentState]:
        """Run one layer from S states (1, B, H): its outputs and last states."""


@final
class GRULayer(nn.GRU):
    """torch's layer, batch first, which a CPU trains by `run_gru`.

    It chooses within `forward`, because sharding (FSDP) gathers the weights of a layer as that is
    called: outside, they are this process's part of them.
    """

    @override
    def forward(  # type: ignore[override]
        self, inputs: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over (B, T, E) from (1, B, H), or zero: outputs (B, T, H), last state (1, B, H)."""
        if runs_fast(self, inputs):
            outputs = run_gru(self, inputs, None if state is None else state[0])
            return outputs, outputs[:, -1][None]
        outputs, last = super().forward(inputs, state)
        return outputs, last


@final
class GRUStack(RecurrentStack):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), with torch's equations."""

    name, cell, num_states = "gru", GRULayer, 1

    @override
    def _run_layer(
        self, rnn: nn.Module, inputs: Tensor, state: RecurrentState
    ) -> tuple[Tensor, RecurrentState]:
        outputs, last = rnn(inputs, state[0])
        return outputs, (last,)


@final
class LSTMStack(RecurrentStack):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    The state is output h and memory c.
    """

    name, cell, num_states = "lstm", nn.LSTM, 2

    @override
    def _run_layer(
        self, rnn: nn.Module, inputs: Tensor, state: RecurrentState
    ) -> tuple[Tensor, RecurrentState]:
        outputs, last = rnn(inputs, state)
        return outputs, last


def reverse(rows: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each padded row of (B, T, D) within its own length; the padding stays at the end."""
    positions = torch.arange(rows.shape[1], device=rows.device)
    reversed_positions = lengths[:, None] - 1 - positions
    real = length_mask(lengths, rows.shape[1])
    source = torch.where(real, reversed_positions, positions)
    return rows.gather(1, source[..., None].expand_as(rows))
