"""AttentionGRUDecoder: a recurrence that looks back at the text that was encoded."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import check_range
from seqae.model.decoders.base import AttentionDecoder, DecoderState
from seqae.model.memory.cross_attention import CrossAttention, Memory
from seqae.model.recurrent import GRUStack


@final
class AttentionGRUDecoder(AttentionDecoder):
    """A GRU that looks back at every token of the text that was encoded.

    A first layer reads what was written; from its states it attends to the text, and the layers
    above read what it found there, so that they know what was said already (the arrangement of Wu
    et al. 2016, arXiv:1609.08144, section 3). Attention that feeds the first layer (Bahdanau et al.
    2015) could do no more, and would have to be computed step by step in training too. The latent
    makes the first states.

    Args:
        hidden_dim: units of each layer, and features of what is read.
        num_layers: layers above the attention.
        num_heads: attention heads, which share the features.
        dropout: chance that an attention weight or a feature of the states is zeroed in training.
    """

    def __init__(
        self, hidden_dim: int = 256, num_layers: int = 1, num_heads: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("num_heads", num_heads, 1, 2**10)
        check_range("dropout", dropout, 0.0, 0.99)
        if hidden_dim % num_heads:
            raise ValueError(
                f"`hidden_dim` must be a multiple of `num_heads`, {num_heads}, but it is "
                f"{hidden_dim} instead. Choose another size or another number of heads."
            )
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.num_heads, self.dropout = num_heads, dropout

    @override
    def build(
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
        memory_dim: int = 0,
    ) -> None:
        size = self.hidden_dim
        self.output_dim = embedding_dim
        self.initial = nn.Linear(latent_dim, (1 + self.num_layers) * size)
        self.below = GRUStack(embedding_dim, size)
        self.attention = CrossAttention(size, memory_dim, size, self.num_heads, self.dropout)
        self.above = GRUStack(2 * size, size, self.num_layers, dropout=self.dropout)
        self.drop = nn.Dropout(self.dropout)
        self.projection = nn.Linear(2 * size, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)

    @override
    def forward(
        self,
        embedded: Tensor,
        latent: Tensor,
        noise: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        return self._run(embedded, self.init_state(latent, noise, memory))[0]

    @override
    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: Memory | None = None
    ) -> DecoderState:
        assert memory is not None
        assert noise is None
        first = torch.tanh(self.initial(latent)).reshape(len(latent), -1, self.hidden_dim)
        return first[:, :1], first[:, 1:], memory.mask, *self.attention.read(memory.states)

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        features, state = self._run(embedded[:, None], state)
        return features[:, 0], state

    def _run(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Run (B, T, E) tokens from a state: features (B, T, E) and the next state."""
        first, rest, mask, key, value = state
        states, (first,) = self.below.extend(embedded, (first,))
        found = self.attention(states, (key, value), mask)
        states = self.drop(torch.cat([states, found], dim=2))
        above, (rest,) = self.above.extend(states, (rest,))
        features: Tensor = self.norm(self.projection(torch.cat([self.drop(above), found], dim=2)))
        return features, (first, rest, mask, key, value)
