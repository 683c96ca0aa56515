"""Decoder: the contract of what maps a latent to features of each token to write.

`forward` is teacher forcing, all positions in one call. `init_state` and `step` write one token at
a time; tests hold both to the same logits.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from seqae.component import Component
from seqae.model.memory.cross_attention import Memory

# The first axis of each tensor is the batch, so that generation can drop finished rows without
# knowing the decoder.
DecoderState = tuple[Tensor, ...]


class Decoder(Component, nn.Module):
    """(B, Z) latents, and the tokens written so far, to features of the next token.

    Attributes:
        output_dim: F, known once `build` has run.
        autoregressive: whether it reads the tokens before the one to write. Such a decoder can
            also be told how noisy a latent is.
    """

    output_dim: int
    autoregressive: ClassVar[bool] = True

    @abstractmethod
    def build(
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
    ) -> None:
        """Make the weights.

        Args:
            embedding_dim: E.
            latent_dim: Z, all vectors of the latent together.
            max_length: most tokens of a sentence, bos and eos counted.
            num_latents: K, how many vectors the latent consists of.
            reads_noise: whether it is told how noisy a latent is.
        """

    @abstractmethod
    def forward(self, embedded: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        """Compute the features of all positions under teacher forcing.

        Args:
            embedded: (B, T-1, E), the embeddings of the true previous tokens.
            latent: (B, Z).
            noise: (B,) σ of each latent, if the decoder was built to read it.

        Returns:
            (B, T-1, F).
        """

    @abstractmethod
    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
        """Make the state before the first token from (B, Z) latents and, if read, (B,) σ."""

    @abstractmethod
    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Take the previous token (B, E): features (B, F) of the next one, and the next state."""


class AttentionDecoder(Decoder):
    """A decoder that also looks back at the text that was encoded, token by token.

    It writes another text (a summary of a document) and is no bottleneck: what it writes depends on
    more than the latent. Its methods are given the memory, on which they insist.
    """

    @override
    @abstractmethod
    def build(
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
        memory_dim: int = 0,
    ) -> None:
        """Make the weights.

        Args:
            embedding_dim: as the base class, as the next ones.
            latent_dim: Z.
            max_length: most tokens.
            num_latents: K.
            reads_noise: always false.
            memory_dim: features of a state of the memory.
        """

    @override
    @abstractmethod
    def forward(
        self,
        embedded: Tensor,
        latent: Tensor,
        noise: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Compute the features of all positions under teacher forcing.

        Args:
            embedded: as the base class, as the next ones.
            latent: (B, Z).
            noise: always None.
            memory: of the B texts that were encoded.

        Returns:
            (B, T-1, F).
        """

    @override
    @abstractmethod
    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: Memory | None = None
    ) -> DecoderState:
        """Make the state before the first token from (B, Z) latents and their memory."""
