"""PopularCodesSummarizer: what the most frequent codes say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from seqae.component import check_range
from seqae.generation import Decoding
from seqae.summarizers.base import DecodingSpace
from seqae.summarizers.consensus import ConsensusSummarizer, Spoken
from seqae.summarizers.document import Budget

Codes = NDArray[np.int64]


@final
class PopularCodesSummarizer(ConsensusSummarizer):
    """Decodes the codes that most sentences have, of a model with a `VectorQuantisedLatent`.

    After HERCULES (Hosking et al. 2023, arXiv:2305.11603), which counts paths of a hierarchy of
    codes: what many say has a frequent encoding. Here the codes have places, not levels. At each
    place it takes the most frequent code, of equally frequent ones that with the vector nearest to
    the mean; so what more than half of the sentences say wins against any outlier, as in a median.
    Sentences that have at least as many of these codes as the average one are the evidence.

    Args:
        num_beams: of a beam search; 1 is greedy.
    """

    kind: ClassVar[str] = "codes"

    def __init__(self, num_beams: int = 1) -> None:
        check_range("num_beams", num_beams, 1, 2**10)
        self.num_beams = num_beams

    @override
    def _speak(self, sentences: Sequence[str], space: DecodingSpace, budget: Budget) -> Spoken:
        latents, codes = space.encode(sentences), space.codes(sentences)
        popular = most_popular(codes, distances(latents, codes.shape[1]))
        latent = space.lookup(popular[None])
        (text,) = space.decode(latent, None, Decoding(num_beams=self.num_beams))
        shared = (codes == popular).mean(axis=1)
        is_evidence = shared >= shared.mean() - 1e-9
        return Spoken(text, tuple(is_evidence.nonzero()[0].tolist()))


def most_popular(codes: Codes, distance: NDArray[Any]) -> Codes:
    """Find the most frequent code at each place.

    Args:
        codes: (n, C) of n sentences.
        distance: (n, C), by which equally frequent codes are chosen, the lowest first.

    Returns:
        (C,), of each place.
    """
    # (n, C): how many sentences have each sentence's code.
    count = (codes[:, None] == codes[None]).sum(axis=1)
    best = np.where(count == count.max(axis=0), distance, np.inf).argmin(axis=0)
    popular: Codes = codes[best, np.arange(codes.shape[1])]
    return popular


def distances(latents: NDArray[Any], places: int) -> NDArray[Any]:
    """Compute how far the vector of each code is from the mean of its place: (n, C).

    Args:
        latents: (n, Z), the vectors of C places one after the other.
        places: C.
    """
    parts = latents.reshape(len(latents), places, -1)
    far: NDArray[Any] = np.linalg.norm(parts - parts.mean(axis=0), axis=2)
    return far
