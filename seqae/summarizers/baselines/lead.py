"""Baselines that do not look at what is said: the beginning, half of the words, a random choice."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.summarizers.base import Summarizer
from seqae.summarizers.document import Budget, Document, Summary
from seqae.summarizers.ranking import beginning, fill


@final
class LeadSummarizer(Summarizer):
    """Takes the beginning of the document, of words and bytes exactly as many as are allowed.

    In news it is hard to beat (Nenkova 2005, "Automatic text summarization of newswire", AAAI).
    """

    kind: ClassVar[str] = "lead"

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        return beginning(document, budget)


@final
class PrefixSummarizer(Summarizer):
    """Takes the first words of the document, a share of all, whatever the budget.

    It is what compressions of single sentences are compared with (Févry and Phang 2018,
    arXiv:1809.02669; Schumann et al. 2020, arXiv:2005.01791).

    Args:
        share: of the words.
    """

    kind: ClassVar[str] = "prefix"

    def __init__(self, share: float = 0.5) -> None:
        check_range("share", share, 1e-6, 1.0)
        self.share = share

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        return beginning(document, Budget(ratio=self.share).of(document))


@final
class RandomSummarizer(Summarizer):
    """Takes random sentences, all equally likely."""

    kind: ClassVar[str] = "random"

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        order: list[int] = torch.randperm(len(document), generator=generator).tolist()
        return fill(document, order, budget)
