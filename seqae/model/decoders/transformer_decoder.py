"""TransformerDecoder: causal attention, with the latent as prefix, added, or both."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import check_literal, check_range
from seqae.model.decoders.base import Decoder, DecoderState
from seqae.model.latents.latent_noise import NoiseReading, gate
from seqae.model.layers import Activation
from seqae.model.position_binding import PositionUnbinding
from seqae.model.transformer import BlockNorm, PositionType, TransformerConfig, TransformerStack

LatentAs = Literal["prefix", "add", "both"]


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
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
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
        self.noise_reading: NoiseReading | None = None
        if reads_noise:
            context = 0 if self.latent_as == "prefix" else embedding_dim
            prefix = self.hidden_dim if self._num_prefix else 0
            sizes = {"context": context, "prefix": prefix, "gate": self.position_dim}
            self.noise_reading = NoiseReading(sizes)

    @override
    def forward(self, embedded: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        context, bound, prefix = self._condition(latent, noise)
        unbound = self.unbind_first(bound, embedded.shape[1])
        tokens = self.input(embedded + context[:, None] + unbound)
        states, _ = self.stack(torch.cat([prefix, tokens], dim=1), causal=True)
        return self._project(states[:, self._num_prefix :], unbound)

    @override
    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
        context, bound, prefix = self._condition(latent, noise)
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

    def _condition(self, latent: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, Z) to context (B, E or 1), the vector to unbind, and prefix (B, K or 0, H)."""
        read: dict[str, Tensor] = {}
        if self.noise_reading is not None:
            assert noise is not None
            latent, read = self.noise_reading(latent, noise)
        rows = len(latent)
        context = latent.new_zeros(rows, 1) if self.latent_as == "prefix" else self.context(latent)
        bound = self.bound_vector(latent)
        if self._num_prefix:
            prefix = self.prefix(latent.reshape(rows, self._num_prefix, -1))
        else:
            prefix = latent.new_zeros(rows, 0, self.hidden_dim)
        if "context" in read:
            context = context + read["context"]
        if "prefix" in read:
            prefix = prefix + read["prefix"][:, None]
        if "gate" in read:
            bound = bound * gate(read["gate"])
        return context, bound, prefix

    def _project(self, states: Tensor, unbound: Tensor | float) -> Tensor:
        features: Tensor = self.norm(self.projection(states) + unbound)
        return features
