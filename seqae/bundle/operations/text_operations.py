"""TextOperations: what is done with texts through their latents, given `encode` and `decode`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Literal, NamedTuple, SupportsIndex

from typing_extensions import Unpack

from seqae.bundle.operations import latent_ops
from seqae.bundle.operations.latent_ops import Curve, Latents, Similarity
from seqae.bundle.operations.text_decoding import GREEDY, OneOrList, TextDecoding
from seqae.bundle.prior_draws import Draws, draw
from seqae.component import check_choice, check_range
from seqae.data.containers import read_array, read_texts
from seqae.generation import Decoding, DecodingKeywords
from seqae.priors import Drawing, Prior
from seqae.priors.base import DRAWING

TooLong = Literal["error", "truncate"]
LongPolicy = Literal["error", "truncate", "split"]
Part = Literal["content", "order"]


class Neighbour(NamedTuple):
    """A sentence whose latent is near that of another.

    Attributes:
        text: the sentence.
        similarity: the cosine of the two latents, or minus their distance.
    """

    text: str
    similarity: float


class TextOperations(TextDecoding, ABC):
    """What can be done with texts once they can be encoded and decoded."""

    priors: dict[str, Prior]

    @abstractmethod
    def encode(self, texts: Any, too_long: TooLong = "error", *, part: Part | None = None) -> Any:
        """Encode n texts to latents (n, Z) float32, or one text to (Z,)."""

    def columns(self, part: Part | None) -> slice:
        """Say which numbers of a latent are its `content` or `order`; None: all of them.

        Raises:
            ValueError: if this model's latents have no parts.
        """
        if part is None:
            return slice(None)
        check_choice("part", part, ("content", "order"))
        if part not in self.autoencoder.parts:
            raise ValueError(
                f"`part` must be left out for a model whose latents have no parts, but it is "
                f"{part} instead. Train one that has: `seqae fit -c embed`."
            )
        return self.autoencoder.parts[part]

    def part_dim(self, part: Part | None) -> int:
        """Count the numbers of a part; raises as `columns`."""
        return len(range(self.latent_dim)[self.columns(part)])

    @property
    def compared_part(self) -> Part | None:
        """The part of a latent that similarity is of: `content` if there is one, else None."""
        return "content" if self.autoencoder.parts else None

    def sample(
        self,
        count: SupportsIndex,
        prior: str | None = None,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        drawing: Drawing = DRAWING,
        **decoding: Unpack[DecodingKeywords],
    ) -> list[str]:
        """Decode `count` random latents; see `draw`."""
        options = options.replaced(decoding)
        if options.noise is not None:
            drawing = replace(drawing, noise=options.noise)
        latents, noise = self.draw(count, prior, seed, drawing)
        if noise is None:
            texts: list[str] = self.decode(latents, options, seed)
            return texts
        return self.tokenizer.decode(self.decode_ids(latents, options, seed, default_noise=noise))

    def sample_latents(
        self,
        count: SupportsIndex,
        prior: str | None = None,
        seed: SupportsIndex = 0,
        drawing: Drawing = DRAWING,
    ) -> Latents:
        """Draw random latents, (count, Z) float32; `draw` also says at which σ they are decoded."""
        return self.draw(count, prior, seed, drawing).latents

    def draw(
        self,
        count: SupportsIndex,
        prior: str | None = None,
        seed: SupportsIndex = 0,
        drawing: Drawing = DRAWING,
    ) -> Draws:
        """Draw random latents, with the σ at which each is decoded.

        Args:
            count: how many.
            prior: `prior`: the model's own, or the standard normal distribution if its latent is a
                plain vector (for objectives whose latents are distributed so); or the kind of one
                that was fitted to the training latents, which the bundle holds (`priors`). By
                default `neighbourhood` if the model is trained with `latent_noise`, otherwise
                `codes` if the bundle has it, the model's own if it has one, or `gaussian`.
            seed: of the draw.
            drawing: the options of the draw.

        Returns:
            `latents` (count, Z) float32, and `noise` (count,), or None if the model is not trained
            with `latent_noise`.

        Raises:
            ValueError: if this model has no such prior, or that does not know an option.
        """
        return draw(self.autoencoder, self.priors, count, prior, seed, drawing)

    def interpolate(
        self,
        start: str,
        end: str,
        steps: SupportsIndex = 5,
        path: Curve = "spherical",
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: SupportsIndex = 0,
        **decoding: Unpack[DecodingKeywords],
    ) -> list[str]:
        """Decode points on the path between two sentences.

        There are `steps` points, the two reconstructions included, on a `linear` or a `spherical`
        path; see `seqae.between`. How they are decoded `decode_near` says.
        """
        first, last = self.encode([start, end], too_long)
        points = latent_ops.between(first, last, steps, path)
        return self.decode_near(points, [first, last], options.replaced(decoding), seed)

    def arithmetic(
        self,
        minuend: str,
        subtrahend: str,
        addend: str,
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: SupportsIndex = 0,
        **decoding: Unpack[DecodingKeywords],
    ) -> str:
        """Decode minuend - subtrahend + addend (Mikolov et al. 2013, arXiv:1301.3781, of words).

        How it is decoded `decode_near` says.
        """
        a, b, c = self.encode([minuend, subtrahend, addend], too_long)
        return self.decode_near((a - b + c)[None], [a, c], options.replaced(decoding), seed)[0]

    def neighbours(
        self,
        texts: Any,
        corpus: Any,
        count: SupportsIndex = 5,
        similarity: Similarity = "cosine",
        too_long: TooLong = "error",
    ) -> OneOrList:
        """Find the `count` sentences of a corpus with the nearest latents, for each text.

        Latents that have a content part are compared by it.
        The search is exact, and the nearest sentence comes first. A sentence that the corpus has
        several times is listed once; one that is too long is always truncated.

        Returns:
            A list of Neighbour for each text, or one list for one text.
        """
        (texts, is_one), (corpus, _) = read_texts("texts", texts), read_texts("corpus", corpus)
        corpus = list(dict.fromkeys(corpus))
        part = self.compared_part
        queries = self.encode(texts, too_long, part=part)
        latents = self.encode(corpus, "truncate", part=part)
        values, indices = latent_ops.nearest(queries, latents, count, similarity)
        neighbours = [
            [Neighbour(corpus[i], float(v)) for v, i in zip(*row, strict=True)]
            for row in zip(values, indices, strict=True)
        ]
        return neighbours[0] if is_one else neighbours

    def attribute(self, source: Any, target: Any) -> Latents:
        """Learn an attribute from sentences without it (source) and with it (target).

        It is the difference of their mean latents, as for faces (Larsen et al. 2016,
        arXiv:1512.09300) and for sentences (Shen et al. 2020, arXiv:1905.12777): (Z,) float32.
        """
        sides = (read_texts("source", source)[0], read_texts("target", target)[0])
        return latent_ops.mean_difference(*(self.encode(texts, "truncate") for texts in sides))

    def transfer(
        self,
        texts: Any,
        attribute: Any,
        strength: float = 1.0,
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: SupportsIndex = 0,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Decode texts with `strength` times an `attribute` added; below 0 it is taken away."""
        check_range("strength", strength, -1e6, 1e6)
        texts, is_one = read_texts("texts", texts)
        own = self.encode(texts, too_long)
        latents = own + strength * read_array("attribute", attribute)
        decoded = self.decode_near(latents, [own], options.replaced(decoding), seed)
        return decoded[0] if is_one else decoded
