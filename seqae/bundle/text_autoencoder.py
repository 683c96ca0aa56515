"""TextAutoencoder: texts in, texts out; `seqae.load(where)` returns one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.bundle import latent_ops
from seqae.bundle.density import Density
from seqae.bundle.latent_ops import Curve, Latents, LatentSource, Similarity
from seqae.component import check_choice, check_range, check_seed
from seqae.data.batching import like_length_batches
from seqae.data.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.generation import Decoding, Hypothesis, generate
from seqae.model.autoencoder import SequenceAutoencoder

BATCH_TOKENS = 8192
DECODED_ROWS = 256  # latents that are decoded at once
DECODED_TOKENS = 2**17  # hypotheses times max_length that are decoded at once

GREEDY = Decoding()
TooLong = Literal["error", "truncate"]


class Candidate(NamedTuple):
    """One of several texts that a latent is decoded to.

    Attributes:
        text: the text.
        score: its log-probability under the model in nats, by the length penalty.
    """

    text: str
    score: float


class Neighbour(NamedTuple):
    """A sentence whose latent is near that of another.

    Attributes:
        text: the sentence.
        similarity: the cosine of the two latents, or minus their distance.
    """

    text: str
    similarity: float


@final
class TextAutoencoder:
    """A trained model with its tokenizer.

    Many methods share three parameters: `options` control the decoding, which is greedy by default;
    `seed` seeds all random draws; `too_long` says whether a text with more tokens than the model
    accepts is an `error` or is cut (`truncate`).

    Args:
        autoencoder: a built model.
        tokenizer: the tokenizer that it was trained with.
        details: the bundle's other JSON files, by name.
        normalization: what was done to the training text; it is done to texts before encoding.
        density: of the training latents, to sample from.
    """

    def __init__(
        self,
        autoencoder: SequenceAutoencoder,
        tokenizer: Tokenizer,
        details: dict[str, Any] | None = None,
        normalization: Normalization = Normalization(),  # noqa: B008 - it is frozen
        density: Density | None = None,
    ) -> None:
        self.autoencoder, self.tokenizer = autoencoder, tokenizer
        self.details = details or {}
        self.normalization, self.density = normalization, density

    @property
    def latent_dim(self) -> int:
        """Z, the size of a latent."""
        return self.autoencoder.latent_dim

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.autoencoder.parameters()).device

    def encode(self, texts: Sequence[str], too_long: TooLong = "error") -> Latents:
        """Encode n texts to latents, (n, Z) float32 in the order of the texts.

        Raises:
            ValueError: if a text is too long and `too_long` is `error`, or a latent is not finite.
        """
        if isinstance(texts, str):
            raise ValueError('`texts` must be a list of sentences, but it is one. Write `["..."]`.')
        rows = self._tokenize(texts, too_long)
        latents = np.empty((len(rows), self.latent_dim), dtype=np.float32)
        assert self.autoencoder.vocabulary is not None
        vocabulary = self.autoencoder.vocabulary
        for indices, batch in like_length_batches(rows, vocabulary, BATCH_TOKENS):
            with evaluating(self.autoencoder), torch.inference_mode():
                output = self.autoencoder.encode(batch.to(self.device))
            latents[indices] = output.latent.float().cpu().numpy()
        is_finite = np.isfinite(latents).all(axis=1)
        if not is_finite.all():
            raise ValueError(
                f"`model` must encode to finite latents, but that of the text at index "
                f"{is_finite.argmin()} holds NaN or infinity instead. Its weights are damaged or "
                f"too large: get the bundle again, or train with a lower `model.learning_rate`."
            )
        return latents

    def decode(self, latents: NDArray[Any], options: Decoding = GREEDY, seed: int = 0) -> list[str]:
        """Decode latents (n, Z) to n texts, the best of each; `candidates` returns several.

        Raises:
            ValueError: if the latents are not finite or of another size, or if `options` ask for
                several texts each.
        """
        return self.tokenizer.decode(self.decode_ids(latents, options, seed))

    def decode_ids(
        self,
        latents: NDArray[Any],
        options: Decoding = GREEDY,
        seed: int = 0,
        lengths: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """Decode latents (n, Z) to n rows of token ids, without bos, up to and without eos.

        `lengths` says roughly how many tokens each row will have, which makes decoding faster.

        Raises:
            ValueError: as `decode`.
        """
        if options.num_return_sequences > 1:
            raise ValueError(
                f"`num_return_sequences` must be 1 if each latent gives one text, but it is "
                f"{options.num_return_sequences} instead. Leave it out; `reconstruct`, `decode` "
                f"and `sample` give several, in Python `candidates`."
            )
        hypotheses = self._search(latents, options, seed, lengths, scores=options.num_beams > 1)
        return [best.token_ids for best, *_ in hypotheses]

    def candidates(
        self,
        latents: NDArray[Any],
        options: Decoding,
        seed: int = 0,
        lengths: Sequence[int] | None = None,
    ) -> list[list[Candidate]]:
        """Decode each latent to `options.num_return_sequences` texts with their scores."""
        hypotheses = self._search(latents, options, seed, lengths, scores=True)
        rows = [hypothesis.token_ids for candidates in hypotheses for hypothesis in candidates]
        texts = iter(self.tokenizer.decode(rows))
        return [[Candidate(next(texts), h.score) for h in candidates] for candidates in hypotheses]

    def reconstruct(
        self,
        texts: Sequence[str],
        too_long: TooLong = "error",
        options: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Encode texts, and decode their latents."""
        latents = self.encode(texts, too_long)
        return self.tokenizer.decode(self.decode_ids(latents, options, seed, self.lengths(texts)))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, bos and eos included."""
        return [len(row) for row in self.tokenizer.encode(self._normalize(texts))]

    def sample(
        self,
        count: int,
        source: LatentSource | None = None,
        options: Decoding = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Decode `count` random latents; see `sample_latents`."""
        return self.decode(self.sample_latents(count, source, seed), options, seed)

    def sample_latents(
        self, count: int, source: LatentSource | None = None, seed: int = 0
    ) -> Latents:
        """Draw random latents, (count, Z) float32.

        Args:
            count: how many.
            source: `prior`: the model's own, or the standard normal distribution if its latent is a
                plain vector (for objectives whose latents are distributed so); `gaussian` or
                `mixture`: a density of the training latents, which the bundle holds; by default
                the model's prior if it has one, otherwise the Gaussian.
            seed: of the draw.

        Raises:
            ValueError: if this model has no such source.
        """
        layer = self.autoencoder.latent
        return latent_ops.sample_latents(layer, self.density, count, source, seed)

    def interpolate(
        self,
        start: str,
        end: str,
        steps: int = 5,
        path: Curve = "spherical",
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> list[str]:
        """Decode points on the path between two sentences.

        There are `steps` points, the two reconstructions included, on a `linear` or a `spherical`
        path; see `latent_ops.between`.
        """
        first, last = self.encode([start, end], too_long)
        return self.decode(latent_ops.between(first, last, steps, path), options, seed)

    def arithmetic(
        self,
        minuend: str,
        subtrahend: str,
        addend: str,
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> str:
        """Decode minuend - subtrahend + addend (Mikolov et al. 2013, arXiv:1301.3781, of words)."""
        a, b, c = self.encode([minuend, subtrahend, addend], too_long)
        return self.decode((a - b + c)[None], options, seed)[0]

    def neighbours(
        self,
        texts: Sequence[str],
        corpus: Sequence[str],
        count: int = 5,
        similarity: Similarity = "cosine",
        too_long: TooLong = "error",
    ) -> list[list[Neighbour]]:
        """Find the `count` sentences of a corpus with the nearest latents, for each text.

        The search is exact, and the nearest sentence comes first. Sentences of the corpus that are
        too long are always truncated.
        """
        queries, latents = self.encode(texts, too_long), self.encode(corpus, "truncate")
        values, indices = latent_ops.nearest(queries, latents, count, similarity)
        return [
            [Neighbour(corpus[i], float(v)) for v, i in zip(*row, strict=True)]
            for row in zip(values, indices, strict=True)
        ]

    def attribute(self, source: Sequence[str], target: Sequence[str]) -> Latents:
        """Learn an attribute from sentences without it (source) and with it (target).

        It is the difference of their mean latents, as for faces (Larsen et al. 2016,
        arXiv:1512.09300) and for sentences (Shen et al. 2020, arXiv:1905.12777): (Z,) float32.
        """
        sides = (self.encode(texts, "truncate") for texts in (source, target))
        return latent_ops.mean_difference(*sides)

    def transfer(
        self,
        texts: Sequence[str],
        attribute: NDArray[Any],
        strength: float = 1.0,
        options: Decoding = GREEDY,
        too_long: TooLong = "error",
        seed: int = 0,
    ) -> list[str]:
        """Decode texts with `strength` times an `attribute` added; below 0 it is taken away."""
        check_range("strength", strength, -1e6, 1e6)
        return self.decode(self.encode(texts, too_long) + strength * attribute, options, seed)

    def _search(
        self,
        latents: NDArray[Any],
        options: Decoding,
        seed: int,
        lengths: Sequence[int] | None,
        scores: bool,
    ) -> list[list[Hypothesis]]:
        checked = torch.from_numpy(latent_ops.check_latents(latents, self.latent_dim))
        check_seed(seed)
        # A stream of its own: the latents may have been drawn from the seed itself, and the tokens
        # would depend on them.
        stream = np.random.SeedSequence([seed, 1]).generate_state(1)
        fitting = max(1, DECODED_TOKENS // self.autoencoder.max_length)
        with evaluating(self.autoencoder):
            return generate(
                self.autoencoder,
                checked.to(self.device),
                options,
                lengths=lengths,
                tokenize_word=self._tokenize_word,
                generator=torch.Generator().manual_seed(int(stream[0])),
                batch_size=min(DECODED_ROWS * options.num_beams, fitting),
                scores=scores,
            )

    def _tokenize_word(self, word: str) -> list[list[int]]:
        """Tokenize a word at the beginning of a text and after a blank."""
        word = self.normalization(word)
        rows = self.tokenizer.encode([word, f" {word}"])
        return [row[1:-1] for row in rows if self.tokenizer.unk_id not in row]

    def _normalize(self, texts: Sequence[str]) -> list[str]:
        return [self.normalization(text) for text in texts]

    def _tokenize(self, texts: Sequence[str], too_long: TooLong) -> list[list[int]]:
        check_choice("too_long", too_long, ("error", "truncate"))
        rows = self.tokenizer.encode(self._normalize(texts))
        limit = self.autoencoder.max_length
        for index, row in enumerate(rows):
            if len(row) <= limit:
                continue
            if too_long == "error":
                raise ValueError(
                    f"`max_length` of this model is {limit} tokens, but the text at index {index} "
                    f"has {len(row)}: {texts[index][:40]!r}... Shorten it, or set "
                    f"`too_long: truncate`."
                )
            rows[index] = [*row[: limit - 1], self.tokenizer.eos_id]
        return rows


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a block, then back in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
