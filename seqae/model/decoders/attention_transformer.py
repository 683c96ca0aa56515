"""AttentionTransformerDecoder: a causal Transformer that looks back at the text encoded."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from typing_extensions import override

from seqae.model.decoders.base import AttentionDecoder, DecoderState
from seqae.model.layers import Activation
from seqae.model.memory.cross_attention import Memory
from seqae.model.transformer import BlockNorm, PositionType, TransformerConfig, TransformerStack


@final
class AttentionTransformerDecoder(AttentionDecoder):
    """A causal Transformer (Vaswani et al. 2017, pre-norm) that attends to the text encoded.

    The latent is added to the embedding of each token.

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
    ) -> None:
        super().__init__()
        sizes = hidden_dim, num_layers, num_heads, feedforward_dim
        self.stack_config = TransformerConfig(*sizes, activation, dropout, norm_type, position_type)
        self.hidden_dim, self.num_layers, self.num_heads = hidden_dim, num_layers, num_heads
        self.feedforward_dim, self.activation, self.dropout = feedforward_dim, activation, dropout
        self.norm_type, self.position_type = norm_type, position_type

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
        self.output_dim = embedding_dim
        self.input = nn.Linear(embedding_dim, self.hidden_dim)
        self.context = nn.Linear(latent_dim, self.hidden_dim)
        self.stack = TransformerStack(self.stack_config, max_length, memory_dim)
        self.projection = nn.Linear(self.hidden_dim, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)

    @override
    def forward(
        self,
        embedded: Tensor,
        latent: Tensor,
        noise: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        context, *read = self.init_state(latent, noise, memory)
        tokens = self.input(embedded) + context[:, None]
        states, _ = self.stack(tokens, causal=True, memory=tuple(read))
        return self._project(states)

    @override
    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: Memory | None = None
    ) -> DecoderState:
        assert memory is not None
        assert noise is None
        return self.context(latent), *self.stack.read(memory.states), memory.mask

    @override
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        width = 2 + 2 * self.num_layers
        (context, *read), cache = state[:width], state[width:]
        token = (self.input(embedded) + context)[:, None]
        states, cache = self.stack(token, cache=cache, memory=tuple(read))
        return self._project(states)[:, 0], (context, *read, *cache)

    def _project(self, states: Tensor) -> Tensor:
        features: Tensor = self.norm(self.projection(states))
        return features
