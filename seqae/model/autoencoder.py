"""SequenceAutoencoder: embed, encode, latent, decode, project; pure torch, no text, no files.

Shape letters, here and everywhere: B batch, T time (tokens), N real tokens of a batch,
E embedding_dim, H hidden_dim, F features of the decoder, Z latent_dim, V vocab_size.

    token_ids (B, T) -> embedded (B, T, E) -> (B, H), or K such vectors -> latent (B, Z)
        -> features (B, T-1, F) -> logits (B, T-1, V)

With a content encoder the latent has two named parts: the content, made of the token ids alone,
comes before what the latent layer makes, the order.

The latent is all that the decoder knows of the sentence. Logits are the expensive part (two thirds
of a training step at 10 k words), so the loss takes features at real tokens only.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Generator, Tensor, nn

from seqae.batch import MAX_LENGTH, Batch, Vocabulary
from seqae.component import Component, check_literal, check_part, check_range
from seqae.model.content_encoder import ContentEncoder
from seqae.model.decoders.base import Decoder, DecoderState
from seqae.model.encoders import Encoder
from seqae.model.latent_noise import LatentNoise
from seqae.model.latents import DeterministicLatent, Latent, LatentOutput
from seqae.model.transformer import TransformerStack

Head = Literal["tied", "linear", "nearest"]


@final
class SequenceAutoencoder(Component, nn.Module):
    """An autoencoder of token sequences.

    The parts are constructed with their own settings only; once the tokenizer is known, `build`
    gives them the sizes of their neighbours.

    Args:
        encoder: embedded tokens to one vector.
        latent: that vector to the latent.
        decoder: the latent to features for each token.
        embedding_dim: size of a token's embedding, E.
        head: how features become logits. `tied`: the embedding's own weights (Press and Wolf
            2017); `linear`: a separate output layer; `nearest`: minus the squared distance to each
            embedding, so that the most likely token is the nearest one (which a mean squared error
            on embeddings needs). The first and the last map features to E if the decoder gives
            another size.
        embedding_dropout: chance that a feature of an embedding is zeroed in training.
        train_embedding: false keeps the embedding as it was initialised, standard normal.
        latent_noise: how latents are perturbed in training, of which the decoder is told; null
            perturbs nothing. It needs a latent of unit scale (`normalize: layer`) and a decoder
            that reads the tokens before the one to write.
        content: what makes the part of the latent that says what is said, for similarity; null
            gives the latent no parts. It needs a DeterministicLatent, which makes the other part,
            `order`.
        nested_dropout: share of the sentences in training of whose latents the decoder gets only
            the first numbers, any count of them, so that these come to say most. `encode
            --document_dim` needs that; 0 always keeps all.

    Attributes:
        is_compiled: whether the loss over the vocabulary runs as compiled kernels; set by
            `compile_parts`.
    """

    def __init__(
        self,
        encoder: Encoder,
        latent: Latent,
        decoder: Decoder,
        embedding_dim: int = 256,
        head: Head = "tied",
        embedding_dropout: float = 0.0,
        train_embedding: bool = True,
        latent_noise: LatentNoise | None = None,
        content: ContentEncoder | None = None,
        nested_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_part("encoder", encoder, Encoder)
        check_part("latent", latent, Latent)
        check_part("decoder", decoder, Decoder)
        check_range("embedding_dim", embedding_dim, 1, 2**16)
        check_literal("head", head, Head)
        check_range("embedding_dropout", embedding_dropout, 0.0, 0.99)
        if latent_noise is not None:
            check_part("latent_noise", latent_noise, LatentNoise)
            _check_noise(latent, decoder)
        if content is not None:
            check_part("content", content, ContentEncoder)
            _check_content(latent)
        check_range("nested_dropout", nested_dropout, 0.0, 1.0)
        if nested_dropout:
            _check_nested(latent_noise, content)
        self.encoder, self.latent, self.decoder = encoder, latent, decoder
        self.latent_noise, self.content = latent_noise, content
        self.nested_dropout = nested_dropout
        self.embedding_dim, self.head = embedding_dim, head
        self.embedding_dropout, self.train_embedding = embedding_dropout, train_embedding
        self.vocabulary: Vocabulary | None = None
        self.max_length = 0
        self.is_compiled = False

    def build(self, vocabulary: Vocabulary, max_length: int) -> SequenceAutoencoder:
        """Make the weights.

        Args:
            vocabulary: the tokenizer's size and special ids.
            max_length: most tokens of a sentence, bos and eos counted.

        Returns:
            The model itself.
        """
        check_range("max_length", max_length, 3, MAX_LENGTH)
        self.vocabulary, self.max_length = vocabulary, max_length
        self.embedding = nn.Embedding(vocabulary.size, self.embedding_dim)
        self.embedding.weight.requires_grad_(self.train_embedding)
        self.encoder.build(self.embedding_dim, max_length)
        num_latents = self.encoder.num_latents
        self.latent.build(self.encoder.output_dim, num_latents)
        if self.content is not None:
            self.content.build(vocabulary)
            num_latents = 1  # to the decoder: content and order are no vectors of one size
        sizes = self.embedding_dim, self.latent_dim, max_length, num_latents
        self.decoder.build(*sizes, reads_noise=self.latent_noise is not None)
        self.output: nn.Module
        if self.head == "linear":
            self.output = nn.Linear(self.decoder.output_dim, vocabulary.size)
        elif self.decoder.output_dim != self.embedding_dim:
            self.output = nn.Linear(self.decoder.output_dim, self.embedding_dim)
        else:
            self.output = nn.Identity()
        if self.head == "tied":
            self.output_bias = nn.Parameter(torch.zeros(vocabulary.size))
        return self

    def compile_parts(self) -> None:
        """Run the loss over the vocabulary and the blocks of a Transformer as compiled kernels.

        The first training step compiles them; compiled.py says why only these.
        """
        self.is_compiled = True
        for module in self.modules():
            if isinstance(module, TransformerStack):
                module.is_compiled = True

    def embed(self, token_ids: Tensor) -> Tensor:
        """Embed (...) int64 ids: (..., E)."""
        embedded: Tensor = self.embedding(token_ids)
        return embedded

    @property
    def latent_dim(self) -> int:
        """Z, the size of a latent; known once `build` has run."""
        content_dim = 0 if self.content is None else self.content.content_dim
        return content_dim + self.latent.output_dim

    @property
    def parts(self) -> dict[str, slice]:
        """Where the named parts of a latent are, `content` and `order`; empty if it has none."""
        if self.content is None:
            return {}
        split = self.content.content_dim
        return {"content": slice(0, split), "order": slice(split, self.latent_dim)}

    def encode(self, batch: Batch, generator: Generator | None = None) -> LatentOutput:
        """Encode sentences.

        Args:
            batch: B sentences.
            generator: draws from the posterior, if there is one; without it, its mean is taken.

        Returns:
            The latent layer's output; its `latent` is (B, Z).
        """
        embedded = self._drop(self.embed(batch.token_ids))
        output: LatentOutput = self.latent(self.encoder(embedded, batch.mask), generator)
        if self.content is not None:
            content = self.content(batch.token_ids, batch.mask).to(output.latent.dtype)
            output.latent = torch.cat([content, output.latent], dim=1)
        return output

    def decode(self, decoder_input: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        """Decode latents under teacher forcing.

        Args:
            decoder_input: (B, T-1) int64, the previous tokens.
            latent: (B, Z).
            noise: (B,) σ by which each latent was perturbed, for a model with `latent_noise`; by
                default zero.

        Returns:
            Features (B, T-1, F).
        """
        embedded = self._drop(self.embed(decoder_input))
        latent = latent.to(embedded.dtype)
        features: Tensor = self.decoder(embedded, latent, self._told(latent, noise))
        return features

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits (B, T-1, V) under teacher forcing."""
        return self.logits(self.decode(batch.decoder_input, self.encode(batch).latent))

    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
        """Make the state from which generation starts, given (B, Z) and, as `decode`, (B,) σ."""
        # Latents are in float32 even if weights are in half precision.
        latent = latent.to(self.embedding.weight.dtype)
        return self.decoder.init_state(latent, self._told(latent, noise))

    def step(self, token: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Generate one token.

        Args:
            token: (B,) int64, the previous token; bos at first.
            state: from `init_state` or the previous step.

        Returns:
            Logits (B, V) and the next state.
        """
        features, state = self.decoder.step(self.embed(token), state)
        return self.logits(features), state

    def logits(self, features: Tensor) -> Tensor:
        """Map features (..., F) to logits (..., V)."""
        features, weight, bias = self.output_layer(features)
        return nn.functional.linear(features, weight, bias)

    def output_layer(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the last linear layer and its input, for a loss that never holds all logits.

        Args:
            features: (..., F) from `decode`.

        Returns:
            Input (..., D), weight (V, D) and bias (V,) whose linear map gives the logits.
        """
        if isinstance(self.output, nn.Linear) and self.head == "linear":
            return features, self.output.weight, self.output.bias
        predicted: Tensor = self.output(features)
        if self.head == "tied":
            # Embeddings start with unit variance; so scaled, the logits do too.
            return predicted * self.embedding_dim**-0.5, self.embedding.weight, self.output_bias
        # -|x - e|^2 = 2 x.e - |e|^2 - |x|^2, and the last term is the same for every token.
        return 2.0 * predicted, self.embedding.weight, -self.embedding.weight.pow(2).sum(dim=1)

    def predict_embedding(self, features: Tensor) -> Tensor:
        """Map features (..., F) to the embedding (..., E) of the token to write.

        Raises:
            ValueError: if the head is not `nearest`: the others predict no embedding.
        """
        if self.head != "nearest":
            raise ValueError(
                f"`head` must be nearest for an objective on embeddings, but it is {self.head} "
                f"instead. Set `model.autoencoder.head: nearest`."
            )
        predicted: Tensor = self.output(features)
        return predicted

    def _drop(self, embedded: Tensor) -> Tensor:
        return nn.functional.dropout(embedded, self.embedding_dropout, self.training)

    def _told(self, latent: Tensor, noise: Tensor | None) -> Tensor | None:
        """Return what the decoder is told of the noise."""
        if self.latent_noise is None:
            assert noise is None, "this model's decoder reads no noise"
            return None
        return latent.new_zeros(len(latent)) if noise is None else noise


def _check_content(latent: Latent) -> None:
    """Refuse a latent layer that has more to say of its latents than where they are."""
    if not isinstance(latent, DeterministicLatent):
        raise ValueError(
            f"`latent` must be a DeterministicLatent beside `content`, but it is "
            f"{type(latent).__name__} instead. Set `model.autoencoder.latent: "
            f"DeterministicLatent`, or leave out `content`."
        )


def _check_nested(latent_noise: LatentNoise | None, content: ContentEncoder | None) -> None:
    """Refuse what gives the numbers of a latent another meaning than their order."""
    for key, part in (("latent_noise", latent_noise), ("content", content)):
        if part is not None:
            raise ValueError(
                f"`{key}` must be null under `nested_dropout`, but it is a {type(part).__name__} "
                f"instead. Leave out one of them."
            )


def _check_noise(latent: Latent, decoder: Decoder) -> None:
    """Refuse parts that `latent_noise` does not fit."""
    if not latent.has_unit_scale:
        raise ValueError(
            f"`latent` must be of unit scale under `latent_noise`, but this "
            f"{type(latent).__name__} is not. Set `model.autoencoder.latent: "
            f"DeterministicLatent` and `model.autoencoder.latent.normalize: layer`, or leave out "
            f"`latent_noise`."
        )
    if not decoder.autoregressive:
        raise ValueError(
            f"`decoder` must read the tokens before the one to write under `latent_noise`, but it "
            f"is {type(decoder).__name__} instead. Set `model.autoencoder.decoder: GRUDecoder`, or "
            f"leave out `latent_noise`."
        )
