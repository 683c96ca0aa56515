"""Encoders: an embedded, padded sentence to one vector of fixed size.

Every encoder is told its own hyper-parameters when it is constructed and the sizes of its
neighbours in `build`, so that no size is written twice in a configuration. What stands in the
padding never matters: a backward layer reads each sentence from its own last token, and pooling
leaves padded positions out.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import Component, check_choice, check_range
from seqae.model.layers import ACTIVATIONS, NORMS, Activation, Norm, dense_layers
from seqae.model.pooling import (
    AttentionPooling,
    FirstPooling,
    MeanPooling,
    Pooling,
    PositionPooling,
    TransformerPooling,
)
from seqae.model.position_binding import PositionBinding
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack
from seqae.model.transformer import (
    BlockNorm,
    PositionType,
    TransformerStack,
    check_blocks,
    check_kinds,
)

RecurrentPooling = Literal["last", "mean_max", "position"]


class Encoder(Component, nn.Module):
    """(B, T, E) embedded tokens and a (B, T) mask to (B, H), or (B, K, H) where K > 1.

    Attributes:
        output_dim: H, known once `build` has run.
        num_latents: K, how many vectors it makes of a sentence.
    """

    output_dim: int
    num_latents: int = 1

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
            (B, H) float, or (B, K, H) where `num_latents` is more than 1.
        """


@final
class DenseEncoder(Encoder):
    """The padded sentence as one long vector through dense layers, `h = f(W x + b)` each.

    Args:
        hidden_dim: units of each layer, H.
        num_layers: how many layers.
        activation: the function f after each layer.
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
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("norm_type", norm_type, tuple(NORMS))
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
    """Recurrent states, and the embeddings below them, pooled to one vector.

    Args:
        hidden_dim: units of each direction.
        num_layers: how many layers.
        bidirectional: whether each layer also reads backward.
        dropout: chance that a feature of the states is zeroed in training.
        pooling: how states of all tokens become one vector. `last`: the last state of each
            direction (Cho et al. 2014); `mean_max`: their mean and maximum over the sentence;
            `position`: a linear map of state and embedding, bound to its position and summed (see
            PositionBinding). The last learns to copy unseen sentences in a tenth of the time.
        position_dim: size of the bound sum under `pooling: position`.
    """

    @property
    @abstractmethod
    def stack_type(self) -> type[RecurrentStack]:
        """What runs the recurrence; a class says it as an attribute."""

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
        check_choice("pooling", pooling, ("last", "mean_max", "position"))
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
        if self.pooling == "position":
            size = embedding_dim + stack.output_dim
            self.bound = nn.Linear(size, self.position_dim, bias=False)
            self.positions = PositionBinding(self.position_dim, max_length)
            self.output_dim = self.position_dim
        elif self.pooling == "mean_max":
            self.output_dim = 2 * stack.output_dim
        else:
            self.output_dim = stack.output_dim

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(dim=1)
        states, last = self.get_submodule(self.stack_type.name)(embedded, lengths)
        states, real = self.drop(states), mask[..., None]
        if self.pooling == "position":
            bound = self.bound(torch.cat([embedded, states], dim=2))
            return self.positions.bind(bound, mask)
        if self.pooling == "mean_max":
            mean = states.masked_fill(~real, 0.0).sum(dim=1) / lengths[:, None]
            return torch.cat([mean, states.masked_fill(~real, -torch.inf).amax(dim=1)], dim=1)
        ends: Tensor = self.drop(last[:, -2 if self.bidirectional else -1 :].flatten(1))
        return ends


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
        activation: the function of these.
        dropout: chance that an attention weight, a hidden unit or a feature of what a block adds is
            zeroed in training.
        norm_type: `layer` (Ba et al. 2016) or `rms` (Zhang and Sennrich 2019).
        position_type: `rotary` (Su et al. 2021) or `learned` (Devlin et al. 2019).
        pooling: how states of all tokens become one vector. `mean` over the sentence; `first`: the
            state of bos (Devlin et al. 2019); `attention`: learned queries, one for each vector,
            read the sentence (Lee et al. 2019); `position`: a linear map of state and embedding,
            bound to its position and summed (see PositionBinding), which learns to copy fastest.
        position_dim: size of the bound sum under `pooling: position`.
        num_latents: K, how many vectors; more than 1 under `pooling: attention`.
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
        check_blocks(hidden_dim, num_layers, num_heads, feedforward_dim, dropout)
        check_kinds(activation, norm_type, position_type)
        check_choice("pooling", pooling, ("mean", "first", "attention", "position"))
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
        self.stack = TransformerStack(
            self.hidden_dim,
            self.num_layers,
            self.num_heads,
            self.feedforward_dim,
            self.activation,
            self.dropout,
            self.norm_type,
            self.position_type,
            max_length,
        )
        self.output_dim = self.hidden_dim
        self.pool: Pooling
        if self.pooling == "mean":
            self.pool = MeanPooling()
        elif self.pooling == "first":
            self.pool = FirstPooling()
        elif self.pooling == "attention":
            self.pool = AttentionPooling(self.hidden_dim, self.num_heads, self.num_latents)
        else:
            size, self.output_dim = embedding_dim + self.hidden_dim, self.position_dim
            self.pool = PositionPooling(size, self.position_dim, max_length)

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        states, _ = self.stack(self.input(embedded), mask)
        pooled: Tensor = self.pool(embedded, states, mask)
        return pooled
