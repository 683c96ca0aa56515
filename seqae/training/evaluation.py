"""Evaluation: the means of a validation or a test over all sentences of all ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torchmetrics import SumMetric

from seqae.batch import Batch
from seqae.data.tokenizers import Tokenizer
from seqae.generation import greedy
from seqae.metrics.accuracy import ReconstructionMetric
from seqae.model.autoencoder import SequenceAutoencoder

# Counted beside the objective's values, which are means over one or the other.
TOKENS = "number of target tokens"
SENTENCES = "number of sentences"

Rows = list[list[int]]


class Evaluation:
    """Sum what the objective gives, and compare reconstructions with their references.

    Every rank must `update` or `skip` for the same batches. Sums, not torchmetrics' MeanMetric: it
    drops a NaN, or with `nan_strategy="disable"` the weights.

    Args:
        sentence_means: values that are means over sentences; the others are over target tokens.
        device: where the sums are kept.
    """

    def __init__(self, sentence_means: Iterable[str], device: torch.device) -> None:
        self._sentence_means, self._device = frozenset(sentence_means), device
        self._sums: dict[str, SumMetric] = {}
        self._reconstruction = ReconstructionMetric().to(device)

    def update(
        self,
        values: Mapping[str, Tensor],
        batch: Batch,
        predictions: Rows,
        references: Rows,
        tokenizer: Tokenizer,
    ) -> None:
        """Count a batch.

        Args:
            values: what the objective gives of it.
            batch: sentences.
            predictions: token ids that the model writes for each sentence, without bos and eos.
            references: token ids that it should write.
            tokenizer: turns both into text.
        """
        counts = {TOKENS: batch.num_targets, SENTENCES: len(batch)}
        for name, value in values.items():
            self._sum(name).update(value.double() * counts[self._count_of(name)])
        for name, count in counts.items():
            self._sum(name).update(count)
        self._reconstruction.update(
            predictions,
            references,
            tokenizer.decode(predictions),
            tokenizer.decode(references),
            is_lossless=[tokenizer.unk_id not in row for row in references],
        )

    def skip(self, names: Iterable[str]) -> None:
        """Count nothing, on a rank that only keeps pace with others which have one batch more.

        Args:
            names: of the objective's values, for which the ranks add up their sums.
        """
        for name in (*names, TOKENS, SENTENCES):
            self._sum(name).update(0.0)
        self._reconstruction.update([], [], [], [])

    def compute(self) -> dict[str, float]:
        """Compute all means, the same on all ranks; each of them must call this."""
        sums = {name: total.compute() for name, total in self._sums.items()}
        counts = {name: sums.pop(name) for name in (TOKENS, SENTENCES)}
        means = {name: float(total / counts[self._count_of(name)]) for name, total in sums.items()}
        scores = self._reconstruction.compute()._asdict()
        return means | {name: float(score) for name, score in scores.items()}

    def _count_of(self, name: str) -> str:
        return SENTENCES if name in self._sentence_means else TOKENS

    def _sum(self, name: str) -> SumMetric:
        if name not in self._sums:
            self._sums[name] = SumMetric(nan_strategy="disable").to(self._device)
            self._sums[name].set_dtype(torch.float64)
        return self._sums[name]


def reconstruct(model: SequenceAutoencoder, batch: Batch) -> tuple[Rows, Rows]:
    """Write each sentence from its latent.

    Args:
        model: in evaluation mode.
        batch: sentences.

    Returns:
        Predictions and references: token ids without bos and eos.
    """
    predictions = greedy(model, model.encode(batch).latent)
    target = batch.target_batch
    rows = zip(target.token_ids.tolist(), target.lengths.tolist(), strict=True)
    return predictions, [row[1 : length - 1] for row, length in rows]
