"""SupervisedSummarizer: what a model writes that was trained on documents and their summaries."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.generation import Decoding
from seqae.summarizers.base import RewritingSpace, SentenceSpace, Summarizer
from seqae.summarizers.document import Budget, Document, Summary, SummarySentence

LEAST_COPIED = 0.5  # tokens of a sentence that is evidence


@final
class SupervisedSummarizer(Summarizer):
    """Writes a summary as those of the training pairs, looking back at the document.

    It is for models with attention (Bahdanau et al. 2015) or a pointer (See et al. 2017); the
    recipe is experiments/summarization_headlines. The text counts as one sentence of the summary,
    and is cut to a budget of words or bytes. The sentences that the pointer took its words from are
    the evidence, or all that the model read if it has no pointer or copied nothing.

    Args:
        num_beams: of the beam search; 1 is greedy.
        length_penalty: exponent of the length that a text's log-probability is divided by, for a
            beam search.
        no_repeat_ngram_size: length of sequences of tokens that are not written twice (Paulus et
            al. 2018); 0 allows repetition.
        evidence_share: a sentence is evidence if it gave at least this share of the copied tokens,
            and half of one.
    """

    kind: ClassVar[str] = "supervised"
    needs: ClassVar[type[SentenceSpace] | None] = RewritingSpace

    def __init__(
        self,
        num_beams: int = 4,
        length_penalty: float = 1.0,
        no_repeat_ngram_size: int = 3,
        evidence_share: float = 0.2,
    ) -> None:
        check_range("evidence_share", evidence_share, 0.0, 1.0)
        self.num_beams, self.length_penalty = num_beams, length_penalty
        self.no_repeat_ngram_size, self.evidence_share = no_repeat_ngram_size, evidence_share
        self._decoding  # noqa: B018 - which checks the others

    @property
    def _decoding(self) -> Decoding:
        return Decoding(
            num_beams=self.num_beams,
            length_penalty=self.length_penalty if self.num_beams > 1 else 0.0,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
        )

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        seed = int(torch.randint(2**31, (), generator=generator))
        text, points = space.rewrite(document.sentences, self._decoding, seed, budget.cut)
        if not text:
            return Summary(())
        total = float(points.sum())
        is_evidence = points >= max(self.evidence_share * total, LEAST_COPIED)
        if not is_evidence.any():
            is_evidence[:] = True
        return Summary((SummarySentence(text, tuple(is_evidence.nonzero()[0].tolist())),))
