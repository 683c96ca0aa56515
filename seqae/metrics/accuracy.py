"""How well a sentence was written back: token accuracy, exact match, corpus BLEU.

All three are kept as sums and counts, so that they add up over batches and over ranks without a
padded or repeated sentence changing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor
from torchmetrics import Metric


class ReconstructionScores(NamedTuple):
    """The figures of a set of sentences.

    Attributes:
        token_accuracy: share of the references' tokens, the end of sentence counted, that stand at
            the same place in what was written. A token too many or too few shifts all that follow.
        exact_match: share of sentences written back without any difference.
        bleu: corpus BLEU (Papineni et al. 2002) as sacreBLEU computes it on detokenised text
            (tokenizer 13a, exponential smoothing), 0 to 100.
    """

    token_accuracy: float
    exact_match: float
    bleu: float


class ReconstructionMetric(Metric):
    """Sums over batches and ranks; `compute()` gives a ReconstructionScores.

    Give it token ids without special tokens and the text of both sides.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        # sacreBLEU warns of inputs that look tokenised already; that a sentence ends in " ." says
        # nothing here, since both sides come from the same corpus.
        self._bleu = BLEU(force=True)
        for name, size in {
            "token_hits": 1,
            "tokens": 1,
            "exact": 1,
            "sentences": 1,
            "ngram_hits": 4,
            "ngrams": 4,
            "written_words": 1,
            "reference_words": 1,
        }.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        self.token_hits: Tensor
        self.tokens: Tensor
        self.exact: Tensor
        self.sentences: Tensor
        self.ngram_hits: Tensor
        self.ngrams: Tensor
        self.written_words: Tensor
        self.reference_words: Tensor

    def update(
        self,
        written: Sequence[Sequence[int]],
        reference: Sequence[Sequence[int]],
        written_text: Sequence[str],
        reference_text: Sequence[str],
        is_whole: Sequence[bool] | None = None,
    ) -> None:
        """Count some sentences.

        Args:
            written: for each sentence the ids that the model wrote, without bos and eos.
            reference: the ids that it should have written.
            written_text: the same as text.
            reference_text: the sentences themselves.
            is_whole: for each sentence, whether `reference_text` is all of it; what lacks an
                unknown word is never an exact match. By default all are.
        """
        for hypothesis, truth in zip(written, reference, strict=True):
            self.token_hits += token_hits(hypothesis, truth)
            self.tokens += len(truth) + 1
        whole = [True] * len(reference_text) if is_whole is None else is_whole
        sides = zip(written_text, reference_text, whole, strict=True)
        self.exact += sum(w == r and all_of_it for w, r, all_of_it in sides)
        self.sentences += len(reference_text)
        if reference_text:
            bleu = self._bleu.corpus_score(list(written_text), [list(reference_text)])
            self.ngram_hits += self._row(bleu.counts)
            self.ngrams += self._row(bleu.totals)
            self.written_words += bleu.sys_len
            self.reference_words += bleu.ref_len

    def compute(self) -> ReconstructionScores:
        """The figures so far; not a number where nothing was counted."""
        if not self.sentences:
            return ReconstructionScores(float("nan"), float("nan"), float("nan"))
        bleu = BLEU.compute_bleu(
            [int(n) for n in self.ngram_hits.tolist()],
            [int(n) for n in self.ngrams.tolist()],
            int(self.written_words),
            int(self.reference_words),
            smooth_method="exp",
        )
        return ReconstructionScores(
            token_accuracy=float(self.token_hits / self.tokens),
            exact_match=float(self.exact / self.sentences),
            bleu=float(bleu.score),
        )

    def _row(self, numbers: Sequence[Any]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=self.ngrams.device)


def token_hits(written: Sequence[int], reference: Sequence[int]) -> int:
    """Count the reference's tokens, its end counted, that stand at the same place.

    Args:
        written: ids without bos and eos.
        reference: ids without bos and eos.
    """
    hits = sum(w == r for w, r in zip(written, reference, strict=False))
    return hits + (len(written) == len(reference))
