"""SummaryOperations: documents to summaries, by a method of seqae.summarizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import torch

from seqae.bundle.operations.long_texts import LongTextOperations
from seqae.bundle.operations.text_decoding import OneOrList
from seqae.component import check_choice, check_part, check_seed
from seqae.data.containers import list_items

# What summarizers import belongs to an extra, and this module to the core.
if TYPE_CHECKING:
    from seqae.summarizers import SentenceSpace, Summarizer

SENTENCES = 3  # of a summary if nothing is said: as many as the usual baseline of news takes


class SummaryOperations(LongTextOperations):
    """What is done with documents."""

    def summarize(
        self,
        documents: Any,
        method: str | Summarizer = "centroid",
        *,
        sentences: int | None = None,
        words: int | None = None,
        bytes: int | None = None,  # noqa: A002 - the name of the option
        ratio: float | None = None,
        space: SentenceSpace | None = None,
        language: str = "en",
        seed: SupportsIndex = 0,
    ) -> OneOrList:
        """Summarize documents; one that is not in a list gives one Summary.

        Args:
            documents: a text, or a list whose items are texts, or lists of the sentences or the
                reviews that one summary is wanted of.
            method: a summarizer, or the name of one with its defaults; `seqae summarize --help
                methods` lists them.
            sentences: most sentences of a summary; 3 if no length is given.
            words: most words of a summary, instead.
            bytes: most bytes of a summary, instead.
            ratio: most words of a summary as a share of those of the document, instead.
            space: what sentences are compared in; by default the latents of this model.
            language: whose rules cut texts into sentences, as ISO 639-1 code; those of `en` also
                know the full stops of other scripts.
            seed: of all random draws.

        Returns:
            A Summary for each document: its sentences, and for each the indices of the sentences of
            the document that it stands for.

        Raises:
            ValueError: if there is no such method or space, or not exactly one length.
        """
        from seqae.bundle.operations.sentence_space import LatentSpace
        from seqae.summarizers import Budget, Document, SentenceSpace, Summarizer, summarizers

        if isinstance(method, str):
            check_choice("method", method, tuple(summarizers()))
            method = summarizers()[method]()
        check_part("method", method, Summarizer)
        if sentences is words is bytes is ratio is None:
            sentences = SENTENCES
        budget = Budget(sentences, words, bytes, ratio)
        generator = torch.Generator().manual_seed(check_seed(seed))
        space = LatentSpace(self) if space is None else space
        check_part("space", space, SentenceSpace)
        is_one = isinstance(documents, str)
        read = [
            Document.read("documents", one, language=language)
            for one in ([documents] if is_one else list_items("documents", documents))
        ]
        summaries = [method.summarize(one, space, budget, generator) for one in read]
        return summaries[0] if is_one else summaries
