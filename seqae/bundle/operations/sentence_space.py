"""LatentSpace: what a summarizer reads sentences with, if that is a model's latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from seqae.bundle.codec import evaluating
from seqae.bundle.operations.evidence import rewrite_pointing
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.long_texts import LongTextOperations
from seqae.generation import Decoding
from seqae.generation.subsequence import Word, likeliest_subsequence
from seqae.metrics.segmenter import ends_in_unspaced
from seqae.model.latents import VectorQuantisedLatent
from seqae.summarizers.base import GREEDY, RewritingSpace


@final
class LatentSpace(RewritingSpace):
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
        self._check_decodes()
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
        self._check_decodes()
        return self.model.decode_near(latents, sources, decoding, seed)

    @override
    def select(
        self, words: Sequence[str], latent: Latents, count: int, noise: float = 0.0
    ) -> list[int]:
        self._check_decodes()
        model = self.model.autoencoder
        tokens = self._tokenize_words(words)
        ends = np.cumsum([max(map(len, forms)) for forms in tokens])
        tokens = tokens[: max(1, int((ends <= model.max_length - 2).sum()))]
        if count >= len(tokens):
            return list(range(len(tokens)))
        told = torch.tensor([noise], device=self._device) if model.latent_noise else None
        row = torch.from_numpy(latent[None]).to(self._device)
        with evaluating(model, len(words)):
            return likeliest_subsequence(model, row, tokens, count, told)

    def _tokenize_words(self, words: Sequence[str]) -> list[Word]:
        """Tokenize each word at the beginning of a text, and after another word."""
        tokenizer = self.model.tokenizer
        written = [self.model.normalization(word) for word in words]
        after = [word if ends_in_unspaced(word) else f" {word}" for word in written]
        first = [row[1:-1] for row in tokenizer.encode(written)]
        forms = zip(first, tokenizer.encode_inside(after), strict=True)
        unk = [tokenizer.unk_id]
        return [(one or unk, other or unk) for one, other in forms]

    @override
    def rewrite(
        self,
        sentences: Sequence[str],
        decoding: Decoding = GREEDY,
        seed: int = 0,
        cut: Callable[[str], str] = str,
    ) -> tuple[str, NDArray[np.float32]]:
        model, tokenizer = self.model.autoencoder, self.model.tokenizer
        if not model.reads_memory:
            raise ValueError(
                "`method` must be another for a model whose decoder does not look back at the "
                "text, but it is supervised instead. Choose centroid or reconstruct, or train on "
                "pairs: `seqae fit -c experiments/summarization_headlines`."
            )

        def cut_text(row: list[int]) -> str:
            return cut(tokenizer.decode([row])[0].strip())

        def kept(row: list[int]) -> int:
            text = cut_text(row)
            begun = tokenizer.decode([row[:count] for count in range(len(row))])
            return next(
                (n for n, own in enumerate(begun) if own.strip().startswith(text)), len(row)
            )

        words = self._tokenize_words(sentences)
        tokenize_word = self.model._tokenize_word
        row, points = rewrite_pointing(model, words, decoding, seed, tokenize_word, kept)
        return cut_text(row), points

    @override
    def codes(self, sentences: Sequence[str]) -> NDArray[np.int64]:
        latents = torch.from_numpy(self.encode(sentences)).to(self._device)
        codes: NDArray[np.int64] = self._codebook.nearest(latents).cpu().numpy()
        return codes

    @override
    def lookup(self, codes: NDArray[np.int64]) -> Latents:
        latents: Latents = (
            self._codebook.lookup(torch.from_numpy(codes).to(self._device)).cpu().numpy()
        )
        return latents

    def _check_decodes(self) -> None:
        """Refuse a model that cannot decode a latent without its text."""
        if self.model.autoencoder.reads_memory:
            raise ValueError(
                "`method` must be another for a model whose decoder looks back at the text, but it "
                "is one that decodes latents instead. Choose supervised or centroid."
            )

    @property
    def _device(self) -> torch.device:
        return next(self.model.autoencoder.parameters()).device

    @property
    def _codebook(self) -> VectorQuantisedLatent:
        latent = self.model.autoencoder.latent
        if isinstance(latent, VectorQuantisedLatent):
            return latent
        raise ValueError(
            f"`method` must be another for a model without a codebook, but it is codes and the "
            f"model has a {type(latent).__name__} instead. Choose mean or coop, or train one with "
            f"a codebook: `seqae fit -c vq`."
        )
