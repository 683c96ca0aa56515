"""EvaluationMetrics: means over a validation or test split, exact on any number of ranks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import SumMetric

from seqae.batch import Batch
from seqae.data.tokenizers import Tokenizer
from seqae.metrics.accuracy import ReconstructionMetric

# Weights of the means, beside the objective's own names.
TOKENS = "number of target tokens"
SENTENCES = "number of sentences"

# Share of the predictions that had not ended at twice the length of their reference.
CUT = "cut_share"


class EvaluationMetrics(nn.Module):
    """Means of the objective's values, and metrics of the free-running reconstruction.

    Values are summed in float64 over batches and ranks and divided at the end; a mean of the ranks'
    means would be wrong if these have different numbers of tokens.

    Args:
        sentence_means: names of the values that are means over sentences; others are over tokens.
    """

    def __init__(self, sentence_means: Collection[str]) -> None:
        super().__init__()
        self.sentence_means = sentence_means
        self.reconstruction = ReconstructionMetric()
        self.sums: dict[str, SumMetric] = {}

    def update(
        self,
        values: Mapping[str, Tensor],
        batch: Batch,
        predictions: Sequence[Sequence[int]],
        references: Sequence[Sequence[int]],
        is_cut: Sequence[bool],
        tokenizer: Tokenizer,
    ) -> None:
        """Count a batch.

        Args:
            values: of the objective, () each.
            batch: B sentences.
            predictions: B rows of ids, without bos and eos.
            references: B rows of ids, without bos and eos.
            is_cut: whether each prediction was cut because it did not end.
            tokenizer: makes texts of the rows.
        """
        weights = {TOKENS: batch.num_targets, SENTENCES: len(batch)}
        for name, value in values.items():
            self._sum_of(name, value.device).update(value.double() * weights[self._unit(name)])
        for name, weight in weights.items():
            self._sum_of(name, batch.token_ids.device).update(weight)
        self._sum_of(CUT, batch.token_ids.device).update(float(sum(is_cut)))
        self.reconstruction.update(
            predictions,
            references,
            tokenizer.decode(predictions),
            tokenizer.decode(references),
            is_lossless=[tokenizer.unk_id not in row for row in references],
        )

    def update_with_nothing(self, values: Mapping[str, Tensor]) -> None:
        """Count an empty batch, so that all ranks have the same sums to exchange."""
        device = next(iter(values.values())).device
        for name in (*values, TOKENS, SENTENCES, CUT):
            self._sum_of(name, device).update(0.0)
        self.reconstruction.update([], [], [], [])

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics over all ranks, by name."""
        sums = {name: total.compute() for name, total in self.sums.items()}
        weights = {name: sums.pop(name) for name in (TOKENS, SENTENCES)}
        means = {name: total / weights[self._unit(name)] for name, total in sums.items()}
        return means | self.reconstruction.compute()._asdict()

    def reset(self) -> None:
        """Start from zero."""
        totals: Iterable[SumMetric | ReconstructionMetric] = self.sums.values()
        for total in (self.reconstruction, *totals):
            total.reset()

    def _unit(self, name: str) -> str:
        return SENTENCES if name == CUT or name in self.sentence_means else TOKENS

    def _sum_of(self, name: str, device: torch.device) -> SumMetric:
        # Sums, because MeanMetric drops a NaN, or with nan_strategy="disable" the weights.
        if name not in self.sums:
            self.sums[name] = SumMetric(nan_strategy="disable").to(device)
            self.sums[name].set_dtype(torch.float64)
        return self.sums[name]
