"""Summarizer: a document in, sentences and their evidence out; and what it reads them with.

A summarizer knows neither a bundle nor a model. It is given a space, which turns sentences into
vectors, and for some methods back: that of a model's latents is `seqae.bundle.LatentSpace`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Generator
from typing_extensions import override

from seqae.component import Component
from seqae.generation import Decoding
from seqae.summarizers.document import Budget, Document, Summary

Latents = NDArray[np.float32]

# (n, D): an array, or a sparse matrix of SciPy, for which mypy knows no type.
Vectors = Any

GREEDY = Decoding()


class SentenceSpace(ABC):
    """Turns sentences into vectors whose cosines say how alike they are.

    Attributes:
        name: as on the command line.
    """

    name: ClassVar[str]

    @abstractmethod
    def vectors(self, document: Document) -> Vectors:
        """Compute the vectors of a document's sentences, (n, D), for comparison."""


class DecodingSpace(SentenceSpace):
    """A space of latents, which can also be decoded.

    Sentences that are longer than the model reads are cut.
    """

    @abstractmethod
    def encode(self, sentences: Sequence[str]) -> Latents:
        """Encode n sentences to whole latents, (n, Z) float32."""

    @abstractmethod
    def compared(self, latents: Latents) -> Latents:
        """Take from latents (n, Z) what is compared: their content, if they have such a part."""

    @abstractmethod
    def decode(
        self,
        latents: Latents,
        noise: Latents | None = None,
        decoding: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Decode n latents to texts.

        Args:
            latents: (n, Z).
            noise: (n,), the σ at which each is decoded if `decoding.noise` is None; a model that
                is not told σ ignores it.
            decoding: how.
            seed: of sampled tokens.
        """

    @abstractmethod
    def decode_near(
        self,
        latents: Latents,
        sources: Sequence[Latents],
        decoding: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Decode latents that were made of others, at the σ that the nearest source implies.

        Args:
            latents: (n, Z).
            sources: what they were made of, arrays of shape (n, Z) or (Z,).
            decoding: how.
            seed: of sampled tokens.
        """

    @abstractmethod
    def select(
        self, words: Sequence[str], latent: Latents, count: int, noise: float = 0.0
    ) -> list[int]:
        """Select the words of a sentence that the decoder is likeliest to write, given a latent.

        Args:
            words: of the sentence, in their order.
            latent: (Z,).
            count: how many are kept, at least 1.
            noise: the σ at which the latent is read; a model that is not told σ ignores it.

        Returns:
            Indices of words, ascending: `count`, or all if there are fewer. Of a sentence that is
            longer than the model reads, words beyond that are left out.
        """

    @abstractmethod
    def codes(self, sentences: Sequence[str]) -> NDArray[np.int64]:
        """Encode n sentences to the codes of a codebook, (n, C).

        Raises:
            ValueError: if the latents of this model have no codebook.
        """

    @abstractmethod
    def lookup(self, codes: NDArray[np.int64]) -> Latents:
        """Look up the latents (n, Z) of codes (n, C); raises as `codes`."""

    @override
    def vectors(self, document: Document) -> Vectors:
        return self.compared(self.encode(document.sentences))


class RewritingSpace(DecodingSpace):
    """A space whose model may also write a text while it looks back at another one."""

    @abstractmethod
    def rewrite(
        self,
        sentences: Sequence[str],
        decoding: Decoding = GREEDY,
        seed: int = 0,
        cut: Callable[[str], str] = str,
    ) -> tuple[str, NDArray[np.float32]]:
        """Write what a model that was trained on pairs makes of a text.

        Args:
            sentences: n of the text, in their order; what is longer than the model reads is cut.
            decoding: how.
            seed: of sampled tokens.
            cut: shortens what is written to its beginning.

        Returns:
            What it writes, cut and without blanks around it, and for how much of that the model
            pointed at each sentence that it read, in tokens: (m,) with m ≤ n, of the first
            sentences; zeros if it has no pointer.

        Raises:
            ValueError: if the model does not look back at its text.
        """


class Summarizer(Component):
    """A way to shorten a document.

    Attributes:
        kind: its name on the command line.
        needs: the kind of space that it asks for; None if it reads the text itself.
    """

    kind: ClassVar[str]
    needs: ClassVar[type[SentenceSpace] | None] = None

    @final
    def summarize(
        self,
        document: Document,
        space: SentenceSpace | None,
        budget: Budget,
        generator: Generator,
    ) -> Summary:
        """Summarize a document.

        Args:
            document: what is summarized; one without sentences has an empty summary.
            space: what turns sentences into vectors; ignored by a method that needs none.
            budget: how long the summary may be.
            generator: of all random draws, on the CPU.

        Raises:
            ValueError: if the space is not of the kind that this method needs.
        """
        if self.needs is not None and not isinstance(space, self.needs):
            raise ValueError(
                f"`space` must be latent for the method {self.kind}, but it is "
                f"{space.name if space else 'none'} instead. Leave it out."
            )
        if not document.sentences:
            return Summary(())
        return self._summarize(document, space, budget.of(document), generator)

    @abstractmethod
    def _summarize(
        self, document: Document, space: Any, budget: Budget, generator: Generator
    ) -> Summary:
        """Summarize a document that has a sentence.

        Args:
            document: as in `summarize`.
            space: of the kind that `needs` says; if that is None, it may be None.
            budget: in sentences, words or bytes.
            generator: as in `summarize`.
        """
