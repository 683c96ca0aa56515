"""A small language model, which measures fluency of samples and their coverage of real text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from seqae.batch import Batch, Vocabulary
from seqae.data.batches.batching import plan_batches
from seqae.data.batches.padding import collate, like_length_batches
from seqae.metrics.nll import sentence_nll
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent

BATCH_TOKENS = 1024
LEARNING_RATE = 4e-3


class LanguageModel:
    """A GRU language model: a decoder of this package whose latent is always zero.

    Two language models are comparable if they trained on the same tokenizer's ids for equally many
    steps.

    Args:
        vocabulary: of the tokenizer.
        max_length: tokens of a sentence at most, bos and eos included.
        hidden_dim: units of the GRU.
        embedding_dim: size of a token's embedding.
        seed: of the weights and of the order of batches.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_length: int,
        hidden_dim: int = 192,
        embedding_dim: int = 96,
        seed: int = 0,
    ) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = SequenceAutoencoder(
                GRUEncoder(1),  # never called: an autoencoder must have one
                DeterministicLatent(1),
                GRUDecoder(hidden_dim, position_dim=0),
                embedding_dim,
            ).build(vocabulary, max_length)

    def fit(self, rows: Sequence[Sequence[int]], steps: int) -> LanguageModel:
        """Train with AdamW, whose learning rate falls to zero along a cosine.

        Args:
            rows: token ids of sentences, bos and eos included.
            steps: number of batches, of at most 1,024 tokens each.

        Returns:
            The language model itself.
        """
        assert rows, "nothing to train on"  # would wait for a first batch forever
        weights = [*self.model.embedding.parameters(), *self.model.decoder.parameters()]
        weights += [*self.model.output.parameters(), self.model.output_bias]
        optimizer = torch.optim.AdamW(weights, LEARNING_RATE, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps)
        )
        for _, batch in zip(range(steps), self._epochs(rows), strict=False):
            optimizer.zero_grad()
            torch.autograd.backward(self._nll(batch) / batch.num_targets)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
        return self

    @torch.inference_mode()
    def perplexity(self, rows: Sequence[Sequence[int]]) -> float:
        """Compute the exponential of the nats per token, the ends of sentences included."""
        nll, tokens = 0.0, 0
        for _, batch in like_length_batches(rows, self.vocabulary, BATCH_TOKENS):
            nll += float(self._nll(batch))
            tokens += batch.num_targets
        return math.exp(nll / tokens) if tokens else math.nan

    def _nll(self, batch: Batch) -> Tensor:
        """Compute -log p of a batch, summed over its sentences, in nats."""
        zero_latent = torch.zeros(len(batch), 1)
        return sentence_nll(self.model, batch, zero_latent).sum()

    def _epochs(self, rows: Sequence[Sequence[int]]) -> Iterator[Batch]:
        lengths = np.asarray([len(row) for row in rows], np.int32)
        for epoch in itertools.count():
            for indices in plan_batches(lengths, BATCH_TOKENS, self.seed, epoch):
                yield collate([rows[i] for i in indices], self.vocabulary)
