"""SequenceAutoencoder: embed, encode, latent, decode, project; pure torch, no text, no files.

Shape letters, here and everywhere: B batch, T time (tokens), N real tokens of a batch,
E embedding_dim, H hidden_dim, F features of the decoder, Z latent_dim, V vocab_size.

    token_ids (B, T) -> embedded (B, T, E) -> (B, H), or K such vectors -> latent (B, Z)
        -> features (B, T-1, F) -> logits (B, T-1, V)

With a content encoder the latent has two named parts: the content, made of the token ids alone,
comes before what the latent layer makes, the order.

The latent is all that the decoder knows of the sentence, unless attention or a pointer reads the
memory, the state of each token. Logits are the expensive part (two thirds of a training step at
10 k words), so the loss takes features at real tokens only.
"""

from __future__ import annotations

from typing import Literal, cast, final

import torch
from torch import Generator, Tensor, nn

from seqae.batch import MAX_LENGTH, Batch, Vocabulary
from seqae.component import Component, check_literal, check_part, check_range
from seqae.model.adaptive.adaptive_softmax import AdaptiveSoftmax
from seqae.model.compatibility import check_memory, check_together
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.decoders.base import AttentionDecoder, Decoder, DecoderState
from seqae.model.encoders import Encoder
from seqae.model.int8_product import AnyEmbedding, Int8Embedding
from seqae.model.latents import Latent, LatentOutput
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.memory.copying import Copying, Pointed
from seqae.model.memory.cross_attention import Memory, memory_of
from seqae.model.transformer import TransformerBlock

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
        copying: a pointer that copies words of the text that was encoded, for paired text; null
            copies none. Names that training never saw need a tokenizer that spells every word.
        adaptive: puts rare words into clusters, for a vocabulary of tens of thousands; null
            computes the logits of all words for each token. It needs a `tied` or `linear` head.

    Attributes:
        longest_target: tokens of the longest text it was trained to write; 0 if unknown.
        is_int8: whether its weights are in 8 bits; see int8.py.
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
        copying: Copying | None = None,
        adaptive: AdaptiveSoftmax | None = None,
    ) -> None:
        super().__init__()
        check_part("encoder", encoder, Encoder)
        check_part("latent", latent, Latent)
        check_part("decoder", decoder, Decoder)
        check_range("embedding_dim", embedding_dim, 1, 2**16)
        check_literal("head", head, Head)
        check_range("embedding_dropout", embedding_dropout, 0.0, 0.99)
        check_range("nested_dropout", nested_dropout, 0.0, 1.0)
        optional = latent_noise, content, copying, adaptive
        check_together(latent, decoder, head, nested_dropout, *optional)
        self.encoder, self.latent, self.decoder = encoder, latent, decoder
        self.latent_noise, self.content, self.copying, self.adaptive = optional
        self.nested_dropout = nested_dropout
        self.embedding_dim, self.head = embedding_dim, head
        self.embedding_dropout, self.train_embedding = embedding_dropout, train_embedding
        self.vocabulary: Vocabulary | None = None
        self.max_length = self.longest_target = 0
        self.is_compiled = self.is_int8 = False

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
        self.embedding: AnyEmbedding = nn.Embedding(vocabulary.size, self.embedding_dim)
        self.embedding.weight.requires_grad_(self.train_embedding)
        self.encoder.build(self.embedding_dim, max_length)
        num_latents = self.encoder.num_latents
        self.latent.build(self.encoder.output_dim, num_latents)
        if self.content is not None:
            self.content.build(vocabulary)
            num_latents = 1  # to the decoder: content and order are no vectors of one size
        sizes = self.embedding_dim, self.latent_dim, max_length, num_latents
        memory_dim = self.encoder.states_dim + self.embedding_dim
        if isinstance(self.decoder, AttentionDecoder):
            self.decoder.build(*sizes, memory_dim=memory_dim)
        else:
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
        if self.copying is not None:
            self.copying.build(self.decoder.output_dim, memory_dim, vocabulary)
        if self.adaptive is not None:
            tied = self.head == "tied"
            self.adaptive.build(self.embedding_dim if tied else self.decoder.output_dim, vocabulary)
        return self

    def compile_parts(self) -> None:
        """Run the loss over the vocabulary and the blocks of a Transformer as compiled kernels.

        The first training step compiles them; compiled.py says why only these.
        """
        self.is_compiled = True
        for module in self.modules():
            if isinstance(module, TransformerBlock):
                module.is_compiled = True

    def embed(self, token_ids: Tensor) -> Tensor:
        """Embed (...) int64 ids: (..., E)."""
        return cast("Tensor", self.embedding(token_ids))

    @property
    def latent_dim(self) -> int:
        """Z, the size of a latent; known once `build` has run."""
        return self.latent.output_dim + (self.content.content_dim if self.content else 0)

    @property
    def parts(self) -> dict[str, slice]:
        """Where the named parts of a latent are, `content` and `order`; empty if it has none."""
        if self.content is None:
            return {}
        split = self.content.content_dim
        return {"content": slice(0, split), "order": slice(split, self.latent_dim)}

    @property
    def reads_memory(self) -> bool:
        """Whether the decoder looks back at the text, so that a latent alone cannot be decoded."""
        return self.copying is not None or isinstance(self.decoder, AttentionDecoder)

    def encode(self, batch: Batch, generator: Generator | None = None) -> LatentOutput:
        """Encode sentences.

        Args:
            batch: B sentences.
            generator: draws from the posterior, if there is one; without it, its mean is taken.

        Returns:
            The latent layer's output; its `latent` is (B, Z). With the memory, if that is read.
        """
        embedded, memory = self._drop(self.embed(batch.token_ids)), None
        if self.reads_memory:
            assert self.vocabulary is not None
            hidden, states = self.encoder.read(embedded, batch.mask)
            ids, pad_id = batch.token_ids, self.vocabulary.pad_id
            memory = memory_of(states, embedded, batch.mask, ids, pad_id)
        else:
            hidden = self.encoder(embedded, batch.mask)
        output: LatentOutput = self.latent(hidden, generator)
        output.memory = memory
        if self.content is not None:
            content = self.content(batch.token_ids, batch.mask).to(output.latent.dtype)
            output.latent = torch.cat([content, output.latent], dim=1)
        return output

    def decode(
        self,
        decoder_input: Tensor,
        latent: Tensor,
        noise: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Decode latents to features (B, T-1, F) under teacher forcing.

        Args:
            decoder_input: (B, T-1) int64, the previous tokens.
            latent: (B, Z).
            noise: (B,) σ by which each latent was perturbed, for a model with `latent_noise`; by
                default zero.
            memory: of the texts that were encoded, if the decoder looks back at them.
        """
        embedded = self._drop(self.embed(decoder_input))
        latent = latent.to(embedded.dtype)
        check_memory(self.reads_memory, memory)
        if isinstance(self.decoder, AttentionDecoder):
            return cast("Tensor", self.decoder(embedded, latent, None, memory))
        return cast("Tensor", self.decoder(embedded, latent, self._told(latent, noise)))

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits (B, T-1, V) under teacher forcing."""
        encoded = self.encode(batch)
        features = self.decode(batch.decoder_input, encoded.latent, memory=encoded.memory)
        return self.logits(features, encoded.memory, batch.decoder_input)

    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: Memory | None = None
    ) -> DecoderState:
        """Make the state from which generation starts, given (B, Z) and the rest as `decode`."""
        # Latents are in float32 even if weights are in half precision.
        latent = latent if self.is_int8 else latent.to(self.embedding.weight.dtype)
        check_memory(self.reads_memory, memory)
        if isinstance(self.decoder, AttentionDecoder):
            state = self.decoder.init_state(latent, None, memory)
        else:
            state = self.decoder.init_state(latent, self._told(latent, noise))
        if self.copying is None:
            return state
        assert memory is not None
        return *self.copying.start(memory), *state

    def step(
        self, token: Tensor, state: DecoderState, count: int | None = None
    ) -> tuple[Tensor, DecoderState]:
        """Generate one token.

        Args:
            token: (B,) int64, the previous token; bos at first.
            state: from `init_state` or the previous step.
            count: how many of a row's highest logits are needed, pad and bos apart; None for all.
                A model with `adaptive` may leave the others at minus infinity, or out at the end.

        Returns:
            Logits (B, V) and the next state.
        """
        if self.copying is None:
            features, state = self.decoder.step(self.embed(token), state)
            if self.adaptive is not None and count is not None:
                return self.adaptive.best(*self.output_layer(features), count), state
            return self.logits(features), state
        size = self.copying.state_size
        pointed = self.copying.advance(state[:size], token)
        features, state = self.decoder.step(self.embed(token), state[size:])
        return self._mixed(features[:, None], pointed)[:, 0], (*pointed, *state)

    def logits(
        self, features: Tensor, memory: Memory | None = None, decoder_input: Tensor | None = None
    ) -> Tensor:
        """Map features (..., F) to logits (..., V); to copy, (B, T, F) and what `decode` read."""
        if self.copying is not None:
            assert memory is not None
            assert decoder_input is not None
            return self._mixed(features, self.copying.read(memory, decoder_input))
        if self.adaptive is not None:
            return self.adaptive.log_probabilities(*self.output_layer(features))
        return self._product(features)

    def _mixed(self, features: Tensor, pointed: Pointed) -> Tensor:
        """Mix the vocabulary with the pointer: log-probabilities (B, T, V)."""
        assert self.copying is not None
        return self.copying.log_probabilities(self._product(features), features, *pointed)

    def _product(self, features: Tensor) -> Tensor:
        """Map features (..., F) to the logits of the output layer, (..., V)."""
        if isinstance(self.embedding, Int8Embedding) and self.head == "tied":
            inputs = self.output(features) * self.embedding_dim**-0.5
            return cast("Tensor", self.embedding.matrix(inputs)) + self.output_bias
        if self.head == "linear":
            return cast("Tensor", self.output(features))
        return nn.functional.linear(*self.output_layer(features))

    def output_layer(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the last linear layer and its input, for a loss that never holds all logits.

        Args:
            features: (..., F) from `decode`.

        Returns:
            Input (..., D), weight (V, D) and bias (V,) whose linear map gives the logits.
        """
        if self.head == "linear":
            return features, cast("Tensor", self.output.weight), cast("Tensor", self.output.bias)
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
        return cast("Tensor", self.output(features))

    def _drop(self, embedded: Tensor) -> Tensor:
        return nn.functional.dropout(embedded, self.embedding_dropout, self.training)

    def _told(self, latent: Tensor, noise: Tensor | None) -> Tensor | None:
        """Return what the decoder is told of the noise."""
        if self.latent_noise is None:
            assert noise is None, "this model's decoder reads no noise"
            return None
        return latent.new_zeros(len(latent)) if noise is None else noise
