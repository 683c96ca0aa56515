"""What a model answers to each call of the API; plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seqae.bundle.operations.latent_ops import Latents, between, nearest
from seqae.bundle.operations.text_operations import TooLong
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.generation import Decoding
from seqae.model.latents import VectorQuantisedLatent
from seqae.priors.base import DRAWING
from seqae.tasks.serve.api_shapes import (
    Decoded,
    Interpolated,
    Point,
    Reconstructed,
    Sampled,
    ServedModel,
    Summarized,
    Token,
)
from seqae.tasks.serve.served_map import ServedMap
from seqae.tasks.serve.token_probabilities import token_probabilities
from seqae.web.differences import difference


class ModelAnswers:
    """Answers the calls with one model and its map.

    Args:
        name: for people.
        model: loaded.
        map: of texts.
    """

    def __init__(self, name: str, model: TextAutoencoder, map: ServedMap) -> None:  # noqa: A002
        self.name, self.model, self.map = name, model, map
        self.answers: dict[str, Callable[..., Any]] = {
            "reconstruct": self.reconstruct,
            "decode_point": self.decode_point,
            "interpolate": self.interpolate,
            "arithmetic": self.arithmetic,
            "sample": self.sample,
            "summarize": self.summarize,
        }

    def reconstruct(self, texts: Sequence[str], truncate: bool = False) -> list[Reconstructed]:
        """Encode texts and decode them again; all in one batch.

        Raises:
            ValueError: if one is too long and may not be cut.
        """
        policy: TooLong = "truncate" if truncate else "error"
        model = self.model
        latents = model.encode(texts, policy)
        if model.autoencoder.reads_memory:
            ids = model.reconstruct_ids(texts, policy)
        else:
            lengths = model.lengths(texts)
            ids = model.decode_ids(latents, lengths=lengths, limits=model.length_limits(lengths))
        written = model.tokenizer.decode(ids)
        tokens = token_probabilities(model, ids, latents, texts=texts)
        read = [model.normalization(text) for text in texts]
        found = [difference(*pair) for pair in zip(read, written, strict=True)]
        places, near = self.map.places(latents), self.map.neighbours(latents)
        return [
            {
                "text": written[row],
                "tokens": tokens[row],
                "latent_xy": places[row],
                "neighbours": near[row],
                "error": round(found[row].error, 5),
                "pieces": found[row].pieces,
            }
            for row in range(len(texts))
        ]

    def decode_point(self, x: float, y: float, noise: float | None = None) -> Decoded:
        """Decode a place on the map, by default at the σ that its distance to the texts implies."""
        self._check_decodes()
        latent = self.map.latents_at([{"x": x, "y": y}])
        return self._decoded(latent, [self._source_of(latent)], noise)

    def interpolate(self, a: str | Point, b: str | Point, steps: int = 7) -> Interpolated:
        """Decode points between two texts or places, both ends included."""
        self._check_decodes()
        first, last = self._end(a), self._end(b)
        points = between(first[0], last[0], steps)
        sources = [
            self._source_of(latent) if isinstance(end, dict) else latent[0]
            for end, latent in ((a, first), (b, last))
        ]
        latents, noise = self.model.at_implied_noise(points, sources)
        rows = self.model.decode_ids(latents, default_noise=noise)
        return {
            "positions": [round(float(share), 5) for share in np.linspace(0, 1, steps)],
            "texts": self.model.tokenizer.decode(rows),
            "noise": None if noise is None else noise.astype(np.float64).round(5).tolist(),
            "latent_xy": self.map.places(points),
        }

    def arithmetic(
        self, plus: Sequence[str], minus: Sequence[str] = (), noise: float | None = None
    ) -> Decoded:
        """Decode a sum of latents.

        Where two or more texts are added than subtracted, the sum is divided by how many more: of
        added texts alone it is the mean.
        """
        self._check_decodes()
        latents = self.model.encode([*plus, *minus])
        added, taken = latents[: len(plus)], latents[len(plus) :]
        total = added[0].copy()
        for latent in taken:  # in the order of a - b + c
            total -= latent
        for latent in added[1:]:
            total += latent
        total /= max(1, len(plus) - len(minus))
        return self._decoded(total[None], [*added], noise)

    def sample(
        self,
        count: int = 5,
        temperature: float = 0.0,
        max_length: int | None = None,
        noise: float | None = None,
        seed: int = 0,
    ) -> list[Sampled]:
        """Draw new texts from what `model.sample` draws them from."""
        self._check_decodes()
        model = self.model
        options = Decoding(temperature=temperature, max_length=max_length, noise=noise)
        drawing = DRAWING if noise is None else replace(DRAWING, noise=noise)
        latents, implied = model.draw(count, None, seed, drawing)
        ids = model.decode_ids(latents, options, seed, default_noise=implied)
        texts = model.tokenizer.decode(ids)
        near = self.map.neighbours(model.encode(texts, "truncate"))
        places = self.map.places(latents)
        return [
            {
                "text": text,
                "nearest": own[0]["text"],
                "similarity": own[0]["similarity"],
                "copied": text == model.normalization(own[0]["text"]),
                "latent_xy": place,
            }
            for text, own, place in zip(texts, near, places, strict=True)
        ]

    def summarize(
        self, text: str, method: str = "centroid", sentences: int = 3, language: str = "en"
    ) -> Summarized:
        """Shorten a document.

        Raises:
            ValueError: if there is no such method, or this model cannot do it.
            ModuleNotFoundError: if the extra `eval` is not installed.
        """
        from seqae.summarizers import Document

        made = self.model.summarize(text, method, sentences=sentences, language=language)
        return {
            "sentences": [sentence.text for sentence in made.sentences],
            "evidence": [list(sentence.evidence) for sentence in made.sentences],
            "document": list(Document.read("text", text, language=language).sentences),
        }

    def described(self, index: int) -> ServedModel:
        """Say what this model is.

        Args:
            index: among those that are served.
        """
        autoencoder = self.model.autoencoder
        return {
            "model": index,
            "name": self.name,
            "latent_dim": self.model.latent_dim,
            "max_length": autoencoder.max_length,
            "reads_noise": autoencoder.latent_noise is not None,
            "decodes_latents": not autoencoder.reads_memory,
            "methods": self._methods(),
        }

    def _methods(self) -> list[str]:
        from seqae.summarizers import DecodingSpace, summarizers
        from seqae.summarizers.base import RewritingSpace

        autoencoder = self.model.autoencoder
        has_codes = isinstance(autoencoder.latent, VectorQuantisedLatent)
        impossible = DecodingSpace if autoencoder.reads_memory else RewritingSpace
        return [
            name
            for name, kind in summarizers().items()
            if kind.needs is not impossible and (name != "codes" or has_codes)
        ]

    def _check_decodes(self) -> None:
        if self.model.autoencoder.reads_memory:
            raise ValueError(
                "`model` must decode latents alone, but its decoder looks back at the text "
                "instead. Call `reconstruct` or `summarize`."
            )

    def _end(self, end: str | Point) -> Latents:
        if isinstance(end, dict):
            return self.map.latents_at([end])
        encoded: Latents = self.model.encode([end])
        return encoded

    def _source_of(self, latent: Latents) -> Latents:
        """Return the latent (Z,) of the nearest text, of which a place takes its σ."""
        _, rows = self.map.nearest(latent)
        source: Latents = self.map.latents[rows[0, 0]]
        return source

    def _decoded(self, latent: Latents, sources: Sequence[Latents], given: float | None) -> Decoded:
        scaled, noise = self.model.at_implied_noise(latent, sources)
        rows = self.model.decode_ids(scaled, options=Decoding(noise=given), default_noise=noise)
        if noise is not None and given is not None:
            noise = np.full(1, given, np.float32)
        tokens: list[Token] = token_probabilities(self.model, rows, scaled, noise)[0]
        cosines, _ = nearest(latent, np.stack(sources), 1)
        return {
            "text": self.model.tokenizer.decode(rows)[0],
            "noise": None if noise is None else round(float(noise[0]), 5),
            "distance": round(max(0.0, 1 - float(cosines[0, 0])), 5),
            "tokens": tokens,
            "latent_xy": self.map.places(latent)[0],
            "neighbours": self.map.neighbours(latent)[0],
        }
