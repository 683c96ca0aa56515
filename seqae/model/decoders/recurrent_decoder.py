"""GRUDecoder and LSTMDecoder: recurrences that read the latent at every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import check_range
from seqae.model.decoders.base import Decoder, DecoderState
from seqae.model.latents.latent_noise import NoiseReading, gate
from seqae.model.position_binding import PositionUnbinding
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack


class RecurrentDecoder(Decoder, PositionUnbinding):
    """A recurrence that reads the latent at every step and begins in a state made from it.

    The latent is also unbound at each position (see PositionBinding); the result joins the input
    and is added to the output.

    Args:
        hidden_dim: units of each layer.
        num_layers: how many layers.
        dropout: chance that a feature of the states is zeroed in training.
        position_dim: size of the vector that is unbound at each position; 0 unbinds nothing, and
            the latent is the same at every step.
    """

    @property
    @abstractmethod
    def stack_type(self) -> type[RecurrentStack]:
        """The recurrent layers; a subclass sets it as a class attribute."""

    def __init__(
        self,
        hidden_dim: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        position_dim: int = 512,
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("dropout", dropout, 0.0, 0.99)
        check_range("position_dim", position_dim, 0, 2**16)
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.dropout, self.position_dim = dropout, position_dim

    @override
    def build(
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
    ) -> None:
        self.output_dim = embedding_dim
        self._state_shape = (self.stack_type.num_states, self.num_layers, self.hidden_dim)
        self.initial = nn.Linear(latent_dim, math.prod(self._state_shape))
        self.context = nn.Linear(latent_dim, embedding_dim)
        self.build_unbinding(latent_dim, embedding_dim, max_length)
        stack = self.stack_type(
            2 * embedding_dim, self.hidden_dim, self.num_layers, dropout=self.dropout
        )
        self.add_module(self.stack_type.name, stack)
        self.drop = nn.Dropout(self.dropout)
        self.projection = nn.Linear(self.hidden_dim, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)
        self.noise_reading: NoiseReading | None = None
        if reads_noise:
            states = math.prod(self._state_shape)
            sizes = {"context": embedding_dim, "initial": states, "gate": self.position_dim}
            self.noise_reading = NoiseReading(sizes)

    @override
    def forward(self, embedded: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        context, bound, *hidden = self._condition(latent, noise)
        unbound = self.unbind_first(bound, embedded.shape[1])
        return self._run(embedded, context, unbound, *hidden)[0]

    @override
    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
        return latent.new_zeros(len(latent), dtype=torch.int64), *self._condition(latent, noise)

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        position, context, bound, *hidden = state
        unbound = self.unbind(bound, position[:, None])
        features, last = self._run(embedded[:, None], context, unbound, *hidden)
        return features[:, 0], (position + 1, context, bound, *last)

    def _condition(self, latent: Tensor, noise: Tensor | None) -> tuple[Tensor, ...]:
        """Map (B, Z) to a constant input (B, E), the vector to unbind, and the first states."""
        read: dict[str, Tensor] = {}
        if self.noise_reading is not None:
            assert noise is not None
            latent, read = self.noise_reading(latent, noise)
        # In this order: gradients of the latent are summed in the reverse one, to the last bit.
        initial = self.initial(latent)
        bound = self.bound_vector(latent)
        context = self.context(latent)
        if read:
            initial, context = initial + read["initial"], context + read["context"]
        if "gate" in read:
            bound = bound * gate(read["gate"])
        hidden = torch.tanh(initial).reshape(-1, *self._state_shape)
        return context, bound, *hidden.unbind(1)

    def _run(
        self, embedded: Tensor, context: Tensor, unbound: Tensor | float, *hidden: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run (B, T, E) tokens beside what was unbound: features (B, T, E) and last states."""
        context = context[:, None].expand(-1, embedded.shape[1], -1)
        stack = self.get_submodule(self.stack_type.name)
        assert isinstance(stack, RecurrentStack)
        states, last = stack.extend(torch.cat([embedded, context + unbound], dim=2), hidden)
        return self.norm(self.projection(self.drop(states)) + unbound), last


@final
class GRUDecoder(RecurrentDecoder):
    """A GRU (Cho et al. 2014) that reads the latent at every step."""

    stack_type = GRUStack


@final
class LSTMDecoder(RecurrentDecoder):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads the latent at every step."""

    stack_type = LSTMStack
