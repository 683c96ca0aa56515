"""MeanSummarizer: what the mean of the latents says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from typing_extensions import override

from seqae.component import check_range
from seqae.generation import Decoding
from seqae.summarizers.base import DecodingSpace
from seqae.summarizers.consensus import ConsensusSummarizer, Spoken
from seqae.summarizers.document import Budget


@final
class MeanSummarizer(ConsensusSummarizer):
    """Decodes the mean latent of sentences or reviews, as MeanSum does.

    Chu and Liu 2019 (arXiv:1810.05739), with an autoencoder that need not be trained for it. The
    mean of n unrelated latents is at an angle to each of them, as if noise of σ = √(n - 1) had
    perturbed it; a model that is told σ decodes it at the σ of the nearest input, and writes a
    likely sentence where the inputs have little in common. The evidence is all of the group.

    Args:
        num_beams: of a beam search; 1 is greedy.
    """

    kind: ClassVar[str] = "mean"

    def __init__(self, num_beams: int = 1) -> None:
        check_range("num_beams", num_beams, 1, 2**10)
        self.num_beams = num_beams

    @override
    def _speak(self, sentences: Sequence[str], space: DecodingSpace, budget: Budget) -> Spoken:
        latents = space.encode(sentences)
        mean = latents.mean(axis=0, keepdims=True)
        (text,) = space.decode_near(mean, list(latents), Decoding(num_beams=self.num_beams))
        return Spoken(text, tuple(range(len(sentences))))
