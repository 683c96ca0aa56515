"""Poolings: the states of all tokens to one vector, or K vectors, of a sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.batch import is_everywhere
from seqae.model.position_binding import PositionBinding


class Pooling(nn.Module, ABC):
    """Embeddings (B, T, E), states (B, T, H) and mask (B, T) to (B, D), or (B, K, D)."""

    @abstractmethod
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Pool the real tokens; padding must not matter."""


@final
class MeanPooling(Pooling):
    """The mean state of the real tokens."""

    @override
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(states, mask)


@final
class MeanMaxPooling(Pooling):
    """The mean state of the real tokens, beside the maximum of each feature: D = 2 H."""

    @override
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        highest = states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
        return torch.cat([masked_mean(states, mask), highest], dim=1)


@final
class FirstPooling(Pooling):
    """The state of the first token, bos, which has read all the others."""

    @override
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
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

    @override
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        rows, steps, size = states.shape
        parts = self.projection(states).reshape(rows, steps, 2, self.num_heads, -1)
        key, value = parts.permute(2, 0, 3, 1, 4)
        query = self.queries.reshape(self.num_latents, self.num_heads, -1).transpose(0, 1)
        query = query.to(key.dtype).expand(rows, -1, -1, -1)
        readable = None if is_everywhere(mask) else mask[:, None, None]
        attended = nn.functional.scaled_dot_product_attention(query, key, value, readable)
        attended = attended.transpose(1, 2).reshape(rows, self.num_latents, size)
        pooled: Tensor = self.output(attended)
        return pooled[:, 0] if self.num_latents == 1 else pooled


@final
class PositionPooling(Pooling):
    """The sum of state and embedding, mapped and bound to its position; see PositionBinding.

    Args:
        input_dim: features of embedding and state together, E + H.
        position_dim: size of the sum.
        max_length: number of positions.
    """

    def __init__(self, input_dim: int, position_dim: int, max_length: int) -> None:
        super().__init__()
        self.bound = nn.Linear(input_dim, position_dim, bias=False)
        self.positions = PositionBinding(position_dim, max_length)

    @override
    def forward(self, embedded: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        return pool_by_position(self.bound, self.positions, embedded, states, mask)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Take the mean of the real tokens' states, (B, T, H) to (B, H)."""
    total = states.masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True)


def pool_by_position(
    bound: nn.Linear, positions: PositionBinding, embedded: Tensor, states: Tensor, mask: Tensor
) -> Tensor:
    """Pool as PositionPooling does, by the weights of another module.

    Bundles have those of a recurrent encoder in the encoder itself.
    """
    return positions.bind_mapped(torch.cat([embedded, states], dim=2), bound, mask)
