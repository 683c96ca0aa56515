"""LatentSpace: what a summarizer reads sentences with, if that is a model's latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from typing_extensions import override

from seqae.bundle.latent_ops import Latents
from seqae.bundle.long_texts import LongTextOperations
from seqae.generation import Decoding
from seqae.summarizers.base import GREEDY, DecodingSpace


@final
class LatentSpace(DecodingSpace):
    """The latents of a model.

    The latents of the sentences that were encoded last are kept, because several methods read the
    same document.

    Args:
        model: a trained model.
    """

    name: ClassVar[str] = "latent"

    def __init__(self, model: LongTextOperations) -> None:
        self.model = model
        self._last: tuple[tuple[str, ...], Latents] | None = None

    @override
    def encode(self, sentences: Sequence[str]) -> Latents:
        key = tuple(sentences)
        if self._last is None or self._last[0] != key:
            latents = self.model.encode(list(key), "truncate")
            self._last = key, latents
        return self._last[1]

    @override
    def compared(self, latents: Latents) -> Latents:
        return latents[:, self.model.columns(self.model.compared_part)]

    @override
    def decode(
        self,
        latents: Latents,
        noise: Latents | None = None,
        decoding: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        default = None if self.model.autoencoder.latent_noise is None else noise
        rows = self.model.decode_ids(latents, decoding, seed, default_noise=default)
        return self.model.tokenizer.decode(rows)

    @override
    def decode_near(
        self,
        latents: Latents,
        sources: Sequence[Latents],
        decoding: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        return self.model.decode_near(latents, sources, decoding, seed)
