"""Decoders: the latent to features of each token to write.

`forward` is teacher forcing, all positions in one call. `init_state` and `step` write one token at
a time; tests hold both to the same logits.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import Component, check_literal, check_range
from seqae.model.layers import Activation, Norm, dense_layers
from seqae.model.position_binding import PositionUnbinding
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack
from seqae.model.transformer import BlockNorm, PositionType, TransformerConfig, TransformerStack

# The first axis of each tensor is the batch, so that generation can drop finished rows without
# knowing the decoder.
DecoderState = tuple[Tensor, ...]
LatentAs = Literal["prefix", "add", "both"]


class Decoder(Component, nn.Module):
    """(B, Z) latents, and the tokens written so far, to features of the next token.

    Attributes:
        output_dim: F, known once `build` has run.
        autoregressive: whether it reads the tokens before the one to write.
    """

    output_dim: int
    autoregressive: ClassVar[bool] = True

    @abstractmethod
    def build(
        self, embedding_dim: int, latent_dim: int, max_length: int, num_latents: int = 1
    ) -> None:
        """Make the weights.

        Args:
            embedding_dim: E.
            latent_dim: Z, all vectors of the latent together.
            max_length: most tokens of a sentence, bos and eos counted.
            num_latents: K, how many vectors the latent consists of.
        """

    @abstractmethod
    def forward(self, embedded: Tensor, latent: Tensor) -> Tensor:
        """Compute the features of all positions under teacher forcing.

        Args:
            embedded: (B, T-1, E), the embeddings of the true previous tokens.
            latent: (B, Z).

        Returns:
            (B, T-1, F).
        """

    @abstractmethod
    def init_state(self, latent: Tensor) -> DecoderState:
        """Make the state before the first token from (B, Z) latents."""

    @abstractmethod
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Take the previous token (B, E): features (B, F) of the next one, and the next state."""


@final
class DenseDecoder(Decoder):
    """Dense layers from the latent to all positions at once; the last layer is linear.

    Args:
        hidden_dim: units of each layer before the last.
        num_layers: how many layers; 1 is the classic `x = W h + b`.
        activation: the function between layers.
        dropout: chance that a unit between layers is zeroed in training.
        normalize: whether the features of each position get layer normalisation, which keeps the
            scale of tied logits steady; not for an objective on embeddings.
        norm_type: normalisation between layers, before the activation: `layer` (Ba et al. 2016),
            `rms` (Zhang and Sennrich 2019) or `none`.
    """

    autoregressive = False

    def __init__(
        self,
        hidden_dim: int = 512,
        num_layers: int = 1,
        activation: Activation = "relu",
        dropout: float = 0.0,
        normalize: bool = False,
        norm_type: Norm = "none",
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("dropout", dropout, 0.0, 0.99)
        check_literal("activation", activation, Activation)
        check_literal("norm_type", norm_type, Norm)
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.activation, self.dropout = activation, dropout
        self.normalize, self.norm_type = normalize, norm_type

    @override
    def build(
        self, embedding_dim: int, latent_dim: int, max_length: int, num_latents: int = 1
    ) -> None:
        self.output_dim, self._positions = embedding_dim, max_length - 1
        sizes = [latent_dim] + [self.hidden_dim] * (self.num_layers - 1)
        sizes += [self._positions * embedding_dim]
        self.layers = dense_layers(sizes, self.activation, self.dropout, self.norm_type)
        self.norm = nn.LayerNorm(embedding_dim) if self.normalize else nn.Identity()

    @override
    def forward(self, embedded: Tensor, latent: Tensor) -> Tensor:
        return self._decode_all(latent)[:, : embedded.shape[1]]

    @override
    def init_state(self, latent: Tensor) -> DecoderState:
        return self._decode_all(latent), latent.new_zeros(len(latent), dtype=torch.int64)

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        features, position = state
        rows = torch.arange(len(position), device=position.device)
        return features[rows, position], (features, position + 1)

    def _decode_all(self, latent: Tensor) -> Tensor:
        """Decode (B, Z): features of every position, (B, max_length - 1, F)."""
        outputs = self.layers(latent).reshape(len(latent), self._positions, self.output_dim)
        features: Tensor = self.norm(outputs)
        return features


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
        self, embedding_dim: int, latent_dim: int, max_length: int, num_latents: int = 1
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

    @override
    def forward(self, embedded: Tensor, latent: Tensor) -> Tensor:
        positions = torch.arange(embedded.shape[1], device=embedded.device)[None]
        features, _ = self._run(embedded, positions, *self._condition(latent))
        return features

    @override
    def init_state(self, latent: Tensor) -> DecoderState:
        return latent.new_zeros(len(latent), dtype=torch.int64), *self._condition(latent)

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        position, context, bound, *hidden = state
        features, last = self._run(embedded[:, None], position[:, None], context, bound, *hidden)
        return features[:, 0], (position + 1, context, bound, *last)

    def _condition(self, latent: Tensor) -> tuple[Tensor, ...]:
        """Map (B, Z) to a constant input (B, E), the vector to unbind, and the first states."""
        hidden = torch.tanh(self.initial(latent)).reshape(-1, *self._state_shape)
        bound = self.bound_vector(latent)
        return self.context(latent), bound, *hidden.unbind(1)

    def _run(
        self, embedded: Tensor, positions: Tensor, context: Tensor, bound: Tensor, *hidden: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run (B, T, E) tokens at (B or 1, T) positions: features (B, T, E) and last states."""
        context = context[:, None].expand(-1, embedded.shape[1], -1)
        unbound = self.unbind(bound, positions)
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


@final
class TransformerDecoder(Decoder, PositionUnbinding):
    """A causal Transformer (Vaswani et al. 2017, pre-norm) that reads the latent.

    The latent is also unbound at each position (see PositionBinding); the result joins the input
    and is added to the output, as in GRUDecoder.

    Args:
        hidden_dim: features of a token, H.
        num_layers: how many blocks.
        num_heads: attention heads of each.
        feedforward_dim: hidden units of each block's feed-forward net.
        activation: the function between its two layers.
        dropout: chance that an attention weight, a hidden unit or a feature of what a block adds is
            zeroed in training.
        norm_type: `layer` (Ba et al. 2016) or `rms` (Zhang and Sennrich 2019).
        position_type: `rotary` (Su et al. 2021) or `learned` (Devlin et al. 2019).
        latent_as: `prefix`: each of the latent's K vectors becomes a position before bos, to which
            every token can attend (the memory scheme of Li et al. 2020, arXiv:2004.04092); `add`:
            the latent is added to each token's embedding (their embedding scheme); or `both`.
        position_dim: size of the vector that is unbound at each position; 0 unbinds nothing.
    """

    def __init__(
        self,
        hidden_dim: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward_dim: int = 1024,
        activation: Activation = "gelu",
        dropout: float = 0.0,
        norm_type: BlockNorm = "layer",
        position_type: PositionType = "rotary",
        latent_as: LatentAs = "both",
        position_dim: int = 512,
    ) -> None:
        super().__init__()
        sizes = hidden_dim, num_layers, num_heads, feedforward_dim
        self.stack_config = TransformerConfig(*sizes, activation, dropout, norm_type, position_type)
        check_literal("latent_as", latent_as, LatentAs)
        check_range("position_dim", position_dim, 0, 2**16)
        self.hidden_dim, self.num_layers, self.num_heads = hidden_dim, num_layers, num_heads
        self.feedforward_dim, self.activation, self.dropout = feedforward_dim, activation, dropout
        self.norm_type, self.position_type = norm_type, position_type
        self.latent_as, self.position_dim = latent_as, position_dim

    @override
    def build(
        self, embedding_dim: int, latent_dim: int, max_length: int, num_latents: int = 1
    ) -> None:
        self.output_dim = embedding_dim
        self._num_prefix = 0 if self.latent_as == "add" else num_latents
        if self.latent_as != "add":
            self.prefix = nn.Linear(latent_dim // num_latents, self.hidden_dim)
        if self.latent_as != "prefix":
            self.context = nn.Linear(latent_dim, embedding_dim)
        self.build_unbinding(latent_dim, embedding_dim, max_length)
        self.input = nn.Linear(embedding_dim, self.hidden_dim)
        self.stack = TransformerStack(self.stack_config, max_length + self._num_prefix)
        self.projection = nn.Linear(self.hidden_dim, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)

    @override
    def forward(self, embedded: Tensor, latent: Tensor) -> Tensor:
        context, bound, prefix = self._condition(latent)
        unbound = self.unbind(bound, torch.arange(embedded.shape[1], device=embedded.device))
        tokens = self.input(embedded + context[:, None] + unbound)
        states, _ = self.stack(torch.cat([prefix, tokens], dim=1), causal=True)
        return self._project(states[:, self._num_prefix :], unbound)

    @override
    def init_state(self, latent: Tensor) -> DecoderState:
        context, bound, prefix = self._condition(latent)
        _, cache = self.stack(prefix, causal=True)
        return context, bound, *cache

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        context, bound, *cache = state
        position = cache[0].shape[2] - self._num_prefix
        unbound = self.unbind(bound, torch.arange(position, position + 1, device=bound.device))
        token = self.input((embedded + context)[:, None] + unbound)
        states, extended = self.stack(token, cache=tuple(cache))
        return self._project(states, unbound)[:, 0], (context, bound, *extended)

    def _condition(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, Z) to context (B, E or 1), the vector to unbind, and prefix (B, K or 0, H)."""
        rows = len(latent)
        context = latent.new_zeros(rows, 1) if self.latent_as == "prefix" else self.context(latent)
        bound = self.bound_vector(latent)
        if self._num_prefix:
            prefix = self.prefix(latent.reshape(rows, self._num_prefix, -1))
        else:
            prefix = latent.new_zeros(rows, 0, self.hidden_dim)
        return context, bound, prefix

    def _project(self, states: Tensor, unbound: Tensor | float) -> Tensor:
        features: Tensor = self.norm(self.projection(states) + unbound)
        return features
