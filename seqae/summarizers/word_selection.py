"""WordSelectionSummarizer: sentences cut to a length, by the words that the decoder would write."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

from torch import Generator
from typing_extensions import override

from seqae.component import check_range
from seqae.extras import extra
from seqae.metrics.segmenter import blank_separated
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.summarizers.base import DecodingSpace, Latents, SentenceSpace, Summarizer
from seqae.summarizers.document import Budget, Document, Summary, SummarySentence, joined
from seqae.summarizers.extractive import by_score, centrality

with extra("eval"):
    from sklearn.preprocessing import normalize


@final
class WordSelectionSummarizer(Summarizer):
    """Keeps the words of single sentences that the decoder would write, exactly as many as fit.

    Reconstruction under a bound of length: of all subsequences of a sentence's words the one that
    is likeliest under the decoder, given the sentence's own latent. Schumann et al. 2020
    (arXiv:2005.01791) select words so by hill climbing, with a language model and a similarity;
    here one decoder is both. Names that the model never saw are kept as they are. Sentences nearest
    the centroid come first; the evidence is the one sentence.

    Args:
        share: of a sentence's words that are kept, if the summary may have several sentences; a
            document of one sentence keeps as many as fit.
        noise: the σ at which the latent is read: 0 is the sentence itself, more a likelier one. A
            model that is not told σ ignores it.
    """

    kind: ClassVar[str] = "shorten"
    needs: ClassVar[type[SentenceSpace] | None] = DecodingSpace

    def __init__(self, share: float = 0.5, noise: float = 1.0) -> None:
        check_range("share", share, 0.01, 1.0)
        check_range("noise", noise, 0.0, MAX_NOISE)
        self.share, self.noise = share, noise

    @override
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        latents = space.encode(document.sentences)
        taken: dict[int, str] = {}
        for index in by_score(centrality(normalize(space.compared(latents)))):
            said = [taken[i] for i in sorted(taken)]
            is_alone = len(document) == 1 and budget.sentences is None
            text = self._shorten(
                document.sentences[index],
                latents[index],
                space,
                1.0 if is_alone else self.share,
                budget,
                said,
            )
            if text is None:
                break
            taken[index] = text
        return Summary(tuple(SummarySentence(taken[i], (i,)) for i in sorted(taken)))

    def _shorten(
        self,
        sentence: str,
        latent: Latents,
        space: DecodingSpace,
        share: float,
        budget: Budget,
        said: list[str],
    ) -> str | None:
        """Shorten a sentence so that it fits behind what is said; None if less than half does.

        Words differ in bytes, so that for a budget of bytes fewer are tried until they fit.
        """
        words = blank_separated(sentence)
        wanted = math.ceil(share * len(words))
        least = 1 if not said else math.ceil(wanted / 2)
        kept = wanted
        if budget.words is not None:
            kept = min(wanted, budget.amount - budget.size(said))
        largest = max(budget.size([word]) for word in words)
        while kept >= least:
            text = joined([words[i] for i in space.select(words, latent, kept, self.noise)])
            if budget.fits([*said, text]):
                return text
            excess = budget.size([*said, text]) - budget.amount
            kept -= max(1, excess // (largest + 1))  # as many words as must go, with their blanks
        return None if said else budget.cut(sentence)
