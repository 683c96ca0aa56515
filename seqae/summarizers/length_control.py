"""ReconstructionSummarizer: the sentences that say most, written again and shorter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.generation import Decoding
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.summarizers.base import DecodingSpace, Latents, SentenceSpace, Summarizer
from seqae.summarizers.document import Budget, Document, Summary, SummarySentence
from seqae.summarizers.extractive import by_score, centrality

with extra("eval"):
    from sklearn.preprocessing import normalize

NOISES = (0.0, 0.5, 1.0)


@final
class ReconstructionSummarizer(Summarizer):
    """Decodes the latents of single sentences, those nearest the centroid first.

    With a model that was trained to leave words out this is the sentence compression of Févry and
    Phang 2018 (arXiv:1809.02669); the recipe is experiments/summarization_compression. Any other
    model writes a sentence of the same length again, or, told that its latent is noisy, a likely
    one near it. Of these versions it takes one that fits into what is left of the budget, the one
    whose own latent is nearest to that of the sentence. The evidence is the one sentence.

    Args:
        noises: the σ at which each latent is decoded; by default 0, 0.5 and 1. A model that is not
            told σ writes one version.
        num_beams: of a beam search; 1 is greedy.
    """

    kind: ClassVar[str] = "reconstruct"
    needs: ClassVar[type[SentenceSpace] | None] = DecodingSpace

    def __init__(self, noises: list[float] | None = None, num_beams: int = 1) -> None:
        if noises is not None and not noises:
            raise ValueError(
                "`noises` must be one number or more, but it is [] instead. Write [0.0], or leave "
                "it out."
            )
        for noise in noises or ():
            check_range("noises", noise, 0.0, MAX_NOISE)
        check_range("num_beams", num_beams, 1, 2**10)
        self.noises, self.num_beams = noises, num_beams

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        latents = space.encode(document.sentences)
        taken: dict[int, str] = {}
        for index in by_score(centrality(normalize(space.compared(latents)))):
            said = [taken[i] for i in sorted(taken)]
            if said and not budget.fits([*said, "x"]):
                break
            versions = self._versions(space, latents[index])
            fitting = [text for text in versions if budget.fits([*said, text])]
            if fitting:
                taken[index] = fitting[0]
            elif versions and not taken:
                taken[index] = budget.cut(versions[0])
        return Summary(tuple(SummarySentence(taken[i], (i,)) for i in sorted(taken)))

    def _versions(self, space: DecodingSpace, latent: Latents) -> Sequence[str]:
        """Write a sentence in other words: different texts, the one nearest to it first.

        There are none if the model writes nothing: a copy would pass for what it has written.
        """
        noises = np.array(NOISES if self.noises is None else self.noises, dtype=np.float32)
        decoding = Decoding(num_beams=self.num_beams)
        texts = space.decode(np.tile(latent, (len(noises), 1)), noises, decoding)
        texts = [text for text in dict.fromkeys(texts) if text]
        if not texts:
            return []
        own = normalize(space.compared(latent[None]))[0]
        order = by_score(normalize(space.compared(space.encode(texts))) @ own)
        return [texts[index] for index in order]
