"""Accuracy of reconstructions: token accuracy, exact match, corpus BLEU.

All three are kept as sums and counts, so that they add up over batches and over ranks, and padded
or repeated sentences cannot change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqae.extras import extra
from seqae.metrics.segmenter import NAME, tokenize, words

with extra("eval"):
    from sacrebleu import __version__ as VERSION  # noqa: N812
    from sacrebleu.metrics.bleu import BLEU
    from torchmetrics import Metric

ORDERS = 4  # of BLEU's n-grams


class ReconstructionScores(NamedTuple):
    """The scores of a set of sentences.

    Attributes:
        token_accuracy: share of the references' tokens, the end of sentence counted, that the
            prediction has at the same position. An extra or missing token shifts all that follow.
        exact_match: share of predictions that equal their reference in every character.
        bleu: corpus BLEU (Papineni et al. 2002) as sacreBLEU computes it on detokenised text
            (exponential smoothing), 0 to 100. Words are those of `seqae.metrics.segmenter`, and
            n-grams longer than every reference do not count: see `bleu_signature`.
    """

    token_accuracy: float
    exact_match: float
    bleu: float


class ReconstructionMetric(Metric):
    """Sum up the counts of a ReconstructionScores over batches and ranks.

    `update` takes the token ids, without special tokens, and the text of both sides.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        # Without `force` sacreBLEU warns of sentences that end in " .", as if they were tokenised.
        self._bleu = BLEU(tokenize="none", force=True)
        for name, size in {
            "token_hits": 1,
            "tokens": 1,
            "exact": 1,
            "sentences": 1,
            "ngram_hits": ORDERS,
            "ngrams": ORDERS,
            "predicted_words": 1,
            "reference_words": 1,
        }.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        longest = torch.zeros(1, dtype=torch.float64)
        self.add_state("longest_reference", longest, dist_reduce_fx="max")
        self.token_hits: Tensor
        self.tokens: Tensor
        self.exact: Tensor
        self.sentences: Tensor
        self.ngram_hits: Tensor
        self.ngrams: Tensor
        self.predicted_words: Tensor
        self.reference_words: Tensor
        self.longest_reference: Tensor

    def update(
        self,
        predictions: Sequence[Sequence[int]],
        references: Sequence[Sequence[int]],
        predicted_texts: Sequence[str],
        reference_texts: Sequence[str],
        is_lossless: Sequence[bool] | None = None,
    ) -> None:
        """Count some sentences.

        Args:
            predictions: token ids that the model generated for each sentence, without bos and eos.
            references: token ids of the true sentences, without bos and eos.
            predicted_texts: the predictions as text.
            reference_texts: the references as text.
            is_lossless: for each sentence, whether its reference text is complete; one that lacks
                an unknown word is never an exact match. By default all are complete.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            self.token_hits += token_hits(prediction, reference)
            self.tokens += len(reference) + 1
        complete = [True] * len(reference_texts) if is_lossless is None else is_lossless
        rows = zip(predicted_texts, reference_texts, complete, strict=True)
        self.exact += sum(p == r and is_complete for p, r, is_complete in rows)
        self.sentences += len(reference_texts)
        if reference_texts:
            expected = [tokenize(text) for text in reference_texts]
            bleu = self._bleu.corpus_score([tokenize(text) for text in predicted_texts], [expected])
            longest = self._to_tensor([max(len(text.split()) for text in expected)])
            self.longest_reference = torch.maximum(self.longest_reference, longest)
            self.ngram_hits += self._to_tensor(bleu.counts)
            self.ngrams += self._to_tensor(bleu.totals)
            self.predicted_words += bleu.sys_len
            self.reference_words += bleu.ref_len

    def compute(self) -> ReconstructionScores:
        """Compute the scores so far; NaN if nothing was counted."""
        if not self.sentences:
            return ReconstructionScores(*[float("nan")] * len(ReconstructionScores._fields))
        bleu = BLEU.compute_bleu(
            [int(n) for n in self.ngram_hits.tolist()],
            [int(n) for n in self.ngrams.tolist()],
            int(self.predicted_words),
            int(self.reference_words),
            smooth_method="exp",
            max_ngram_order=effective_order(int(self.longest_reference)),
        )
        return ReconstructionScores(
            token_accuracy=float(self.token_hits / self.tokens),
            exact_match=float(self.exact / self.sentences),
            bleu=float(bleu.score),
        )

    def _to_tensor(self, numbers: Sequence[Any]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=self.ngrams.device)


def effective_order(longest: int) -> int:
    """Choose the n of BLEU's longest n-grams: 4, or fewer if no reference has as many words.

    sacreBLEU alone scores a corpus of two-word sentences that is reproduced perfectly as 0, because
    it has no n-gram of order 3 or 4.

    Args:
        longest: number of words of the longest reference.
    """
    return max(1, min(ORDERS, longest))


def bleu_signature(references: Sequence[str]) -> str:
    """Describe how BLEU was computed, in the form of sacreBLEU's signatures (Post 2018).

    Args:
        references: all of the corpus. Their longest decides the effective order, which is 4 for all
            but corpora of very short texts; then the score is exactly sacreBLEU's with `eff:no`.
    """
    order = effective_order(max((len(words(text)) for text in references), default=0))
    eff = "no" if order == ORDERS else str(order)
    return f"nrefs:1|case:mixed|eff:{eff}|tok:{NAME}|smooth:exp|version:{VERSION}"


def token_hits(prediction: Sequence[int], reference: Sequence[int]) -> int:
    """Count the reference's tokens, its end included, that the prediction has at their position.

    Args:
        prediction: ids without bos and eos.
        reference: ids without bos and eos.
    """
    hits = sum(p == r for p, r in zip(prediction, reference, strict=False))
    return hits + (len(prediction) == len(reference))
