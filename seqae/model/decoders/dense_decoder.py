"""DenseDecoder: all positions at once, from the latent alone."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import check_literal, check_range
from seqae.model.decoders.base import Decoder, DecoderState
from seqae.model.layers import Activation, Norm, dense_layers


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
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
    ) -> None:
        assert not reads_noise, "SequenceAutoencoder refuses it"
        self.output_dim, self._positions = embedding_dim, max_length - 1
        sizes = [latent_dim] + [self.hidden_dim] * (self.num_layers - 1)
        sizes += [self._positions * embedding_dim]
        self.layers = dense_layers(sizes, self.activation, self.dropout, self.norm_type)
        self.norm = nn.LayerNorm(embedding_dim) if self.normalize else nn.Identity()

    @override
    def forward(self, embedded: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        return self._decode_all(latent)[:, : embedded.shape[1]]

    @override
    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
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
