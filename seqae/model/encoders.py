"""Encoders: an embedded, padded sentence to one vector of fixed size, or K vectors.

An encoder takes its own hyper-parameters in the constructor and the sizes of its neighbours in
`build`, so that a configuration has no size twice. Padding never matters: a backward layer reads
each sentence from its own last token, and pooling leaves padded positions out.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, final

from torch import Tensor, nn
from typing_extensions import assert_never, override

from seqae.component import Component, check_literal, check_range
from seqae.model.layers import ACTIVATIONS, NORMS, Activation, Norm, dense_layers
from seqae.model.pooling import (
    AttentionPooling,
    FirstPooling,
    MeanMaxPooling,
    MeanPooling,
    Pooling,
    PositionPooling,
    pool_by_position,
)
from seqae.model.position_binding import PositionBinding
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack
from seqae.model.transformer import BlockNorm, PositionType, TransformerConfig, TransformerStack

RecurrentPooling = Literal["last", "mean_max", "position"]
TransformerPooling = Literal["mean", "first", "attention", "position"]


class Encoder(Component, nn.Module):
    """(B, T, E) embedded tokens and a (B, T) mask to (B, H), or to (B, K, H) if K > 1.

    Attributes:
        output_dim: H, known once `build` has run.
        num_latents: K, how many vectors it makes of each sentence.
        states_dim: features of the state that it has of each token; known once `build` has run, 0
            if it has none.
    """

    output_dim: int
    num_latents: int = 1
    states_dim: int = 0

    @abstractmethod
    def build(self, embedding_dim: int, max_length: int) -> None:
        """Make the weights.

        Args:
            embedding_dim: E.
            max_length: most tokens of a sentence, bos and eos counted.
        """

    @abstractmethod
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            embedded: (B, T, E) float.
            mask: (B, T) bool, True at real tokens, which come first in each row.

        Returns:
            (B, H) float, or (B, K, H) if `num_latents` is more than 1.
        """

    def read(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch for a decoder that looks back at it.

        Args:
            embedded: as `forward`.
            mask: as `forward`.

        Returns:
            What `forward` returns, and the states (B, T, states_dim) of the tokens, arbitrary in
            the padding.
        """
        hidden: Tensor = self(embedded, mask)
        return hidden, embedded[..., :0]


@final
class DenseEncoder(Encoder):
    """Dense layers, `h = f(W x + b)` each, over the padded sentence as one long vector x.

    Args:
        hidden_dim: units of each layer, H.
        num_layers: how many layers.
        activation: the function f, after each layer.
        dropout: chance that a unit is zeroed in training, after each layer but the last.
        norm_type: normalisation of W x + b before f: `layer` (Ba et al. 2016), `rms` (Zhang and
            Sennrich 2019) or `none`.
    """

    def __init__(
        self,
        hidden_dim: int = 512,
        num_layers: int = 1,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm_type: Norm = "none",
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("dropout", dropout, 0.0, 0.99)
        check_literal("activation", activation, Activation)
        check_literal("norm_type", norm_type, Norm)
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.activation, self.dropout, self.norm_type = activation, dropout, norm_type

    @override
    def build(self, embedding_dim: int, max_length: int) -> None:
        self.output_dim = self.hidden_dim
        self._max_length = max_length
        sizes = [max_length * embedding_dim] + [self.hidden_dim] * self.num_layers
        self.layers = nn.Sequential(
            dense_layers(sizes, self.activation, self.dropout, self.norm_type),
            *([] if self.norm_type == "none" else [NORMS[self.norm_type](self.hidden_dim)]),
            ACTIVATIONS[self.activation](),
        )

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        padded = embedded.masked_fill(~mask[..., None], 0.0)
        padded = nn.functional.pad(padded, (0, 0, 0, self._max_length - padded.shape[1]))
        hidden: Tensor = self.layers(padded.flatten(1))
        return hidden


class RecurrentEncoder(Encoder):
    """A recurrence whose states, with the embeddings that it read, are pooled to one vector.

    Args:
        hidden_dim: units of each direction.
        num_layers: how many layers.
        bidirectional: whether each layer also reads backward.
        dropout: chance that a feature of the states is zeroed in training.
        pooling: how states of all tokens become one vector. `last`: the last state of each
            direction (Cho et al. 2014); `mean_max`: their mean and maximum over the sentence;
            `position`: a linear map of state and embedding, bound to its position and summed (see
            PositionBinding), which learns to copy unseen sentences in a tenth of the time.
        position_dim: size of the bound sum under `pooling: position`.
    """

    @property
    @abstractmethod
    def stack_type(self) -> type[RecurrentStack]:
        """The recurrent layers; a subclass sets it as a class attribute."""

    def __init__(
        self,
        hidden_dim: int = 256,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        pooling: RecurrentPooling = "position",
        position_dim: int = 512,
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("dropout", dropout, 0.0, 0.99)
        check_literal("pooling", pooling, RecurrentPooling)
        check_range("position_dim", position_dim, 1, 2**16)
        self.hidden_dim, self.num_layers, self.bidirectional = hidden_dim, num_layers, bidirectional
        self.dropout, self.pooling, self.position_dim = dropout, pooling, position_dim

    @override
    def build(self, embedding_dim: int, max_length: int) -> None:
        stack = self.stack_type(
            embedding_dim, self.hidden_dim, self.num_layers, self.bidirectional, self.dropout
        )
        self.add_module(self.stack_type.name, stack)
        self.drop = nn.Dropout(self.dropout)
        self.output_dim = self.states_dim = stack.output_dim
        if self.pooling == "position":
            size, self.output_dim = embedding_dim + stack.output_dim, self.position_dim
            self.bound = nn.Linear(size, self.position_dim, bias=False)
            self.positions = PositionBinding(self.position_dim, max_length)
        elif self.pooling == "mean_max":
            self.output_dim = 2 * stack.output_dim
            self.mean_max = MeanMaxPooling()
        elif self.pooling != "last":
            assert_never(self.pooling)

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.read(embedded, mask)[0]

    @override
    def read(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        stack = self.get_submodule(self.stack_type.name)
        states, last = stack(embedded, mask.sum(dim=1))
        states = self.drop(states)
        if self.pooling == "position":
            pooled = pool_by_position(self.bound, self.positions, embedded, states, mask)
        elif self.pooling == "mean_max":
            pooled = self.mean_max(embedded, states, mask)
        else:
            pooled = self.drop(last[:, -2 if self.bidirectional else -1 :].flatten(1))
        return pooled, states


@final
class GRUEncoder(RecurrentEncoder):
    """A GRU (Cho et al. 2014) whose states are pooled to one vector."""

    stack_type = GRUStack


@final
class LSTMEncoder(RecurrentEncoder):
    """An LSTM (Hochreiter and Schmidhuber 1997) whose outputs are pooled to one vector."""

    stack_type = LSTMStack


@final
class TransformerEncoder(Encoder):
    """A Transformer (Vaswani et al. 2017, pre-norm) whose states are pooled to K vectors.

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
        pooling: how states of all tokens become one vector. `mean` over the sentence; `first`: the
            state of bos (Devlin et al. 2019); `attention`: learned queries, one for each vector,
            attend to the sentence (Lee et al. 2019); `position`: a linear map of state and
            embedding, bound to its position and summed (see PositionBinding), which learns to copy
            fastest.
        position_dim: size of the bound sum under `pooling: position`.
        num_latents: K, how many vectors; more than 1 need `pooling: attention`.
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
        pooling: TransformerPooling = "position",
        position_dim: int = 512,
        num_latents: int = 1,
    ) -> None:
        super().__init__()
        sizes = hidden_dim, num_layers, num_heads, feedforward_dim
        self.stack_config = TransformerConfig(*sizes, activation, dropout, norm_type, position_type)
        check_literal("pooling", pooling, TransformerPooling)
        check_range("position_dim", position_dim, 1, 2**16)
        check_range("num_latents", num_latents, 1, 2**10)
        if num_latents > 1 and pooling != "attention":
            raise ValueError(
                f"`num_latents` must be 1 under `pooling: {pooling}`, but it is {num_latents} "
                f"instead. Set `pooling: attention`."
            )
        self.hidden_dim, self.num_layers, self.num_heads = hidden_dim, num_layers, num_heads
        self.feedforward_dim, self.activation, self.dropout = feedforward_dim, activation, dropout
        self.norm_type, self.position_type = norm_type, position_type
        self.pooling, self.position_dim, self.num_latents = pooling, position_dim, num_latents

    @override
    def build(self, embedding_dim: int, max_length: int) -> None:
        self.input = nn.Linear(embedding_dim, self.hidden_dim)
        self.stack = TransformerStack(self.stack_config, max_length)
        self.output_dim = self.states_dim = self.hidden_dim
        self.pool: Pooling
        if self.pooling == "mean":
            self.pool = MeanPooling()
        elif self.pooling == "first":
            self.pool = FirstPooling()
        elif self.pooling == "attention":
            self.pool = AttentionPooling(self.hidden_dim, self.num_heads, self.num_latents)
        elif self.pooling == "position":
            size, self.output_dim = embedding_dim + self.hidden_dim, self.position_dim
            self.pool = PositionPooling(size, self.position_dim, max_length)
        else:
            assert_never(self.pooling)

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.read(embedded, mask)[0]

    @override
    def read(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.stack(self.input(embedded), mask)
        return self.pool(embedded, states, mask), states
