"""A small language model, which says how fluent samples are and how well they cover real text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from seqae.batch import Batch, Vocabulary
from seqae.data.batching import collate, like_length_batches, plan_batches
from seqae.metrics.nll import sentence_nll
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent

BATCH_TOKENS = 1024
LEARNING_RATE = 4e-3


class LanguageModel:
    """A decoder of this package whose latent is always zero: a GRU language model.

    Two of them are comparable that have read the same tokenizer's ids for as many steps.

    Args:
        vocabulary: of the tokenizer.
        max_length: most tokens of a sentence, bos and eos counted.
        hidden_dim: units of the GRU.
        embedding_dim: size of a token's embedding.
        seed: of weights and order.
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
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        self.model = SequenceAutoencoder(
            GRUEncoder(1),  # is never asked
            DeterministicLatent(1),
            GRUDecoder(hidden_dim, position_dim=0),
            embedding_dim,
        ).build(vocabulary, max_length)
        torch.set_rng_state(state)

    def fit(self, rows: Sequence[Sequence[int]], steps: int) -> LanguageModel:
        """Train on sentences, bos and eos included; AdamW, a rate that falls to zero in a cosine.

        Args:
            rows: token ids.
            steps: batches, of at most 1,024 tokens; as many whatever the number of sentences.

        Returns:
            The language model itself.
        """
        assert rows, "nothing to train on"  # there would be no first batch to wait for
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
        """The exponential of the nats per token, the ends counted."""
        nll, tokens = 0.0, 0
        for _, batch in like_length_batches(rows, self.vocabulary, BATCH_TOKENS):
            nll += float(self._nll(batch))
            tokens += batch.num_targets
        return math.exp(nll / tokens) if tokens else math.nan

    def _nll(self, batch: Batch) -> Tensor:
        """Sum over sentences, in nats."""
        nothing = torch.zeros(len(batch), 1)
        return sentence_nll(self.model, batch, nothing).sum()

    def _epochs(self, rows: Sequence[Sequence[int]]) -> Iterator[Batch]:
        lengths = np.asarray([len(row) for row in rows], np.int32)
        for epoch in itertools.count():
            for indices in plan_batches(lengths, BATCH_TOKENS, self.seed, epoch):
                yield collate([rows[i] for i in indices], self.vocabulary)
