"""Transformer encoder and decoder: pre-norm blocks between an input layer and pooling or output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor, nn

from seqae.component import check_choice, check_range
from seqae.model.attention import BlockNorm, PositionType, TransformerStack
from seqae.model.decoders import Decoder, State
from seqae.model.encoders import Encoder
from seqae.model.layers import ACTIVATIONS, Activation, PositionBinding

TransformerPooling = Literal["mean", "first", "attention", "position"]
LatentAs = Literal["prefix", "add", "both"]


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

    def build(self, embedding_dim: int, max_length: int) -> None:  # noqa: D102
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

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        states, _ = self.stack(self.input(embedded), mask)
        pooled: Tensor = self.pool(embedded, states, mask)
        return pooled


class Pooling(nn.Module, ABC):
    """Embeddings (B, T, E), states (B, T, H) and mask (B, T) to (B, H), or (B, K, H)."""

    @abstractmethod
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Pool; what stands in the padding does not matter."""


@final
class MeanPooling(Pooling):
    """The mean state of the real tokens."""

    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        total = states.masked_fill(~mask[..., None], 0.0).sum(dim=1)
        return total / mask.sum(dim=1, keepdim=True)


@final
class FirstPooling(Pooling):
    """The state of the first token, bos, which has read all the others."""

    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return states[:, 0]


@final
class AttentionPooling(Pooling):
    """K learned queries read the sentence: pooling by multi-head attention.

    As in the Set Transformer (Lee et al. 2019, arXiv:1810.00825, equation 11) without its
    feed-forward part.

    Args:
        hidden_dim: features of a state, H.
        num_heads: attention heads.
        num_latents: K.
    """

    def __init__(self, hidden_dim: int, num_heads: int, num_latents: int) -> None:
        super().__init__()
        self.num_heads, self.num_latents = num_heads, num_latents
        self.queries = nn.Parameter(torch.empty(num_latents, hidden_dim))
        nn.init.normal_(self.queries)
        self.projection = nn.Linear(hidden_dim, 2 * hidden_dim, bias=False)
        self.output = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        rows, steps, size = states.shape
        parts = self.projection(states).reshape(rows, steps, 2, self.num_heads, -1)
        key, value = parts.permute(2, 0, 3, 1, 4)
        query = self.queries.reshape(self.num_latents, self.num_heads, -1).transpose(0, 1)
        query = query.to(key.dtype).expand(rows, -1, -1, -1)
        read = nn.functional.scaled_dot_product_attention(query, key, value, mask[:, None, None])
        pooled: Tensor = self.output(read.transpose(1, 2).reshape(rows, self.num_latents, size))
        return pooled[:, 0] if self.num_latents == 1 else pooled


@final
class PositionPooling(Pooling):
    """The sum of state and embedding, mapped and bound to its position; see PositionBinding.

    Args:
        input_dim: features of embedding and state together.
        position_dim: size of the sum.
        max_length: number of positions.
    """

    def __init__(self, input_dim: int, position_dim: int, max_length: int) -> None:
        super().__init__()
        self.bound = nn.Linear(input_dim, position_dim, bias=False)
        self.positions = PositionBinding(position_dim, max_length)

    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        return self.positions.bind(self.bound(torch.cat([embedded, states], dim=2)), mask)


@final
class TransformerDecoder(Decoder):
    """A causal Transformer (Vaswani et al. 2017, pre-norm) that reads the latent.

    Under `position_dim` the latent is also unbound at each position (see PositionBinding); what
    comes out joins the input and is added to the output, as in GRUDecoder.

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
        latent_as: `prefix`: each of the latent's K vectors becomes a position before bos, which
            every token can read (the memory scheme of Li et al. 2020, arXiv:2004.04092); `add`: the
            latent is added to each token's embedding (their embedding scheme); or `both`.
        position_dim: size of the vector that is unbound at each position; 0 leaves that out.
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
        check_blocks(hidden_dim, num_layers, num_heads, feedforward_dim, dropout)
        check_kinds(activation, norm_type, position_type)
        check_choice("latent_as", latent_as, ("prefix", "add", "both"))
        check_range("position_dim", position_dim, 0, 2**16)
        self.hidden_dim, self.num_layers, self.num_heads = hidden_dim, num_layers, num_heads
        self.feedforward_dim, self.activation, self.dropout = feedforward_dim, activation, dropout
        self.norm_type, self.position_type = norm_type, position_type
        self.latent_as, self.position_dim = latent_as, position_dim

    def build(  # noqa: D102
        self, embedding_dim: int, latent_dim: int, max_length: int, num_latents: int = 1
    ) -> None:
        self.output_dim = embedding_dim
        self._num_prefix = 0 if self.latent_as == "add" else num_latents
        if self.latent_as != "add":
            self.prefix = nn.Linear(latent_dim // num_latents, self.hidden_dim)
        if self.latent_as != "prefix":
            self.context = nn.Linear(latent_dim, embedding_dim)
        if self.position_dim:
            self.bound = nn.Linear(latent_dim, self.position_dim)
            self.unbound = nn.Linear(self.position_dim, embedding_dim, bias=False)
            self.positions = PositionBinding(self.position_dim, max_length)
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
            max_length + self._num_prefix,
        )
        self.projection = nn.Linear(self.hidden_dim, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)

    def forward(self, embedded: Tensor, latent: Tensor) -> Tensor:  # noqa: D102
        context, bound, prefix = self._read(latent)
        unbound = self._unbind(bound, 0, embedded.shape[1])
        tokens = self.input(embedded + context[:, None] + unbound)
        states, _ = self.stack(torch.cat([prefix, tokens], dim=1), causal=True)
        return self._write(states[:, self._num_prefix :], unbound)

    def init_state(self, latent: Tensor) -> State:  # noqa: D102
        context, bound, prefix = self._read(latent)
        _, cache = self.stack(prefix, causal=True)
        return context, bound, *cache

    def step(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        context, bound, *cache = state
        position = cache[0].shape[2] - self._num_prefix
        unbound = self._unbind(bound, position, position + 1)
        token = self.input((embedded + context)[:, None] + unbound)
        states, extended = self.stack(token, cache=tuple(cache))
        return self._write(states, unbound)[:, 0], (context, bound, *extended)

    def _read(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Context (B, E or 1), vector to unbind (B, position_dim or 0), prefix (B, K or 0, H)."""
        rows = len(latent)
        context = latent.new_zeros(rows, 1) if self.latent_as == "prefix" else self.context(latent)
        bound = self.bound(latent) if self.position_dim else latent[:, :0]
        if self._num_prefix:
            prefix = self.prefix(latent.reshape(rows, self._num_prefix, -1))
        else:
            prefix = latent.new_zeros(rows, 0, self.hidden_dim)
        return context, bound, prefix

    def _unbind(self, bound: Tensor, start: int, end: int) -> Tensor | float:
        """What stands at positions start ... end - 1, (B, end - start, E)."""
        if not self.position_dim:
            return 0.0
        places = self.positions(torch.arange(start, end, device=bound.device))
        unbound: Tensor = self.unbound(bound[:, None] * places)
        return unbound

    def _write(self, states: Tensor, unbound: Tensor | float) -> Tensor:
        features: Tensor = self.norm(self.projection(states) + unbound)
        return features


def check_blocks(
    hidden_dim: int, num_layers: int, num_heads: int, feedforward_dim: int, dropout: float
) -> None:
    """Refuse sizes of which no block can be made.

    Raises:
        ValueError: in the house grammar.
    """
    check_range("hidden_dim", hidden_dim, 2, 2**16)
    check_range("num_layers", num_layers, 1, 64)
    check_range("num_heads", num_heads, 1, 2**10)
    check_range("feedforward_dim", feedforward_dim, 1, 2**18)
    check_range("dropout", dropout, 0.0, 0.99)
    if hidden_dim % (2 * num_heads):
        raise ValueError(
            f"`hidden_dim` must be a multiple of twice `num_heads`, {2 * num_heads}, but it is "
            f"{hidden_dim} instead. Choose another size or another number of heads."
        )


def check_kinds(activation: str, norm_type: str, position_type: str) -> None:
    """Refuse kinds that a block does not know.

    Raises:
        ValueError: in the house grammar.
    """
    check_choice("activation", activation, tuple(ACTIVATIONS))
    check_choice("norm_type", norm_type, ("layer", "rms"))
    check_choice("position_type", position_type, ("rotary", "learned"))
