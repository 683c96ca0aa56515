"""Cross-attention: the memory of the text that was read, for decoders that look back at it.

A summary does not fit into one vector with its document. A decoder with attention reads the state
of each of its tokens instead; such a model rewrites texts, and its latent alone cannot be decoded.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from typing_extensions import override

# Keys and values of the memory, (B, heads, S, D / heads) each. The batch comes first, as in every
# state of a decoder.
ReadMemory = tuple[Tensor, Tensor]


class Memory(NamedTuple):
    """What a decoder can look at of B texts of up to S tokens.

    Attributes:
        states: (B, S, D) float, the encoder's state of each token beside its embedding.
        mask: (B, S) bool, True at real tokens; every text has at least bos and eos.
        token_ids: (B, S) int64, pad where there is no real token.
    """

    states: Tensor
    mask: Tensor
    token_ids: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Take some texts, without the columns in which all of these have padding."""
        mask = self.mask[rows]
        width = int(mask.sum(dim=1).amax()) if len(mask) else 0
        return Memory(self.states[rows, :width], mask[:, :width], self.token_ids[rows, :width])


@final
class CrossAttention(nn.Module):
    """Multi-head scaled dot-product attention to a memory (Vaswani et al. 2017), without biases.

    Args:
        query_dim: features of what looks.
        memory_dim: features of a state of the memory, D.
        hidden_dim: features of what is read, of all heads together.
        num_heads: how many heads share them.
        dropout: chance that an attention weight is zeroed in training.
    """

    def __init__(
        self, query_dim: int, memory_dim: int, hidden_dim: int, num_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(query_dim, hidden_dim, bias=False)
        self.key_value = nn.Linear(memory_dim, 2 * hidden_dim, bias=False)

    def read(self, states: Tensor) -> ReadMemory:
        """Make keys and values of (B, S, D) states, once for all steps of generation."""
        key, value = self.key_value(states).chunk(2, dim=2)
        return self._split(key), self._split(value)

    @override
    def forward(self, queries: Tensor, memory: ReadMemory, mask: Tensor) -> Tensor:
        """Look at the memory from T places.

        Args:
            queries: (B, T, query_dim).
            memory: from `read`.
            mask: (B, S) bool, False where nothing may be read.

        Returns:
            (B, T, hidden_dim).
        """
        attended = nn.functional.scaled_dot_product_attention(
            self._split(self.query(queries)),
            *memory,
            mask[:, None, None],
            self.dropout if self.training else 0.0,
        )
        return attended.transpose(1, 2).flatten(2)

    def _split(self, rows: Tensor) -> Tensor:
        """Split (B, T, H) among the heads: (B, heads, T, H / heads)."""
        return rows.reshape(*rows.shape[:2], self.num_heads, -1).transpose(1, 2)


def memory_of(
    states: Tensor, embedded: Tensor, mask: Tensor, token_ids: Tensor, pad_id: int
) -> Memory:
    """Make the memory of B texts from the encoder's states and the tokens' embeddings."""
    return Memory(torch.cat([states, embedded], 2), mask, token_ids.masked_fill(~mask, pad_id))
