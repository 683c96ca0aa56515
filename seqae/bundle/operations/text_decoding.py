"""TextDecoding: latents to texts, which TextAutoencoder adds to its encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from seqae.bundle.codec import rewrite, search
from seqae.bundle.operations import latent_ops
from seqae.bundle.operations.latent_ops import Latents
from seqae.data.containers import read_array
from seqae.data.tokenizers import Tokenizer
from seqae.generation import Decoding, DecodingKeywords, Hypothesis
from seqae.generation.limits import limits_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents.latent_noise import MAX_NOISE

GREEDY = Decoding()

# One text or latent gives one, a list gives a list; no type of the argument tells which.
OneOrList = Any


class Candidate(NamedTuple):
    """One of several texts that a latent is decoded to.

    Attributes:
        text: the text.
        score: its log-probability under the model in nats, by the length penalty.
    """

    text: str
    score: float


class TextDecoding(ABC):
    """Decodes latents with a model and its tokenizer."""

    autoencoder: SequenceAutoencoder
    tokenizer: Tokenizer
    details: dict[str, Any]

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Z, the size of a latent."""

    def decode(
        self,
        latents: Any,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Decode latents (n, Z) to n texts, or one latent (Z,) to one text.

        Each text is the best of its latent; `candidates` returns several.

        Raises:
            ValueError: if the latents are not finite or of another size, or if `options` ask for
                several texts each.
        """
        latents, is_one = latent_ops.read_latents(latents, self.latent_dim)
        options = options.replaced(decoding)
        rows = self.decode_ids(
            latents, options, seed, batch_size=batch_size, show_progress_bar=show_progress_bar
        )
        texts = self.tokenizer.decode(rows)
        return texts[0] if is_one else texts

    def decode_ids(
        self,
        latents: Any,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        lengths: Sequence[int] | None = None,
        *,
        limits: Sequence[int] | None = None,
        default_noise: Any = None,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> list[list[int]]:
        """Decode latents (n, Z) to n rows of token ids, without bos, up to and without eos.

        `lengths` says roughly how many tokens each row will have, which makes decoding faster, and
        `limits` how many it may have at most, bos and eos counted (`length_limits`).
        `default_noise`, (n,), is the σ at which each latent is decoded if `options.noise` is None.

        Raises:
            ValueError: as `decode`.
        """
        options = options.replaced(decoding)
        _check_single(options)
        latents, _ = latent_ops.read_latents(latents, self.latent_dim)
        how: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        how |= {"lengths": lengths, "limits": limits, "scores": options.num_beams > 1}
        hypotheses = self._search(latents, options, seed, default_noise, **how)
        return [best.token_ids for best, *_ in hypotheses]

    def candidates(
        self,
        latents: Any,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        lengths: Sequence[int] | None = None,
        *,
        limits: Sequence[int] | None = None,
        default_noise: Any = None,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Decode each latent to `num_return_sequences` texts with their scores; see `decode_ids`.

        Returns:
            A list of Candidate for each latent, or one list for one latent.
        """
        latents, is_one = latent_ops.read_latents(latents, self.latent_dim)
        how: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        how |= {"lengths": lengths, "limits": limits, "scores": True}
        options = options.replaced(decoding)
        hypotheses = self._search(latents, options, seed, default_noise, **how)
        rows = [hypothesis.token_ids for candidates in hypotheses for hypothesis in candidates]
        texts = iter(self.tokenizer.decode(rows))
        found = [[Candidate(next(texts), h.score) for h in candidates] for candidates in hypotheses]
        return found[0] if is_one else found

    def decode_near(
        self,
        latents: Any,
        sources: Sequence[Any],
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
    ) -> list[str]:
        """Decode latents that were made from those of sentences: points between them, sums.

        What is decoded, and at which σ unless `options.noise` says otherwise, `at_implied_noise`
        says.

        Args:
            latents: (n, Z).
            sources: what they were made from, arrays of shape (n, Z) or (Z,).
            options: as the class says.
            seed: as the class says.
            batch_size: as the class says.
            show_progress_bar: as the class says.
        """
        latents, noise = self.at_implied_noise(latents, sources)
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        rows = self.decode_ids(latents, options, seed, default_noise=noise, **bar)
        return self.tokenizer.decode(rows)

    def at_implied_noise(
        self, latents: Any, sources: Sequence[Any]
    ) -> tuple[Any, NDArray[np.float32] | None]:
        """Prepare latents that were made from those of sentences for decoding.

        A model with `latent_noise` decodes each at unit scale, and at the σ that its distance from
        the nearest source implies; see `latent_ops.implied_noise`. Any other model decodes them as
        they are.

        Args:
            latents: (n, Z).
            sources: what they were made from, arrays of shape (n, Z) or (Z,).

        Returns:
            The latents to decode, and the σ of each, (n,), or None.
        """
        if self.autoencoder.latent_noise is None:
            return latents, None
        latents = latent_ops.at_unit_scale(latents)
        return latents, latent_ops.implied_noise(latents, sources)

    def length_limits(self, lengths: Sequence[int], options: Decoding = GREEDY) -> list[int] | None:
        """Limit the tokens of texts that should repeat sentences; see `max_length_ratio`.

        Args:
            lengths: tokens of each sentence, bos and eos counted.
            options: as the class says.

        Returns:
            The most tokens of each; None if there is no such limit, as at noise above 0 and with
            forced words, which ask for another sentence, and for a model that was trained on pairs.
        """
        if not options.max_length_ratio or options.noise or options.forced_words or self.is_paired:
            return None
        most = options.max_length or self.autoencoder.max_length
        return limits_of(lengths, most, options.max_length_ratio, options.min_length)

    @property
    def is_paired(self) -> bool:
        """Whether it was trained to write other texts than it reads."""
        training = found = self.details.get("training", {})
        for key in ("config", "data", "reading", "target_column"):  # which older bundles have alone
            found = found.get(key) if isinstance(found, dict) else None
        is_known = isinstance(training, dict) and training.get("is_paired") is True
        return is_known or found is not None or self.autoencoder.reads_memory

    def _rewrite(
        self, rows: Sequence[Sequence[int]], options: Decoding, seed: SupportsIndex, **how: Any
    ) -> list[list[int]]:
        """Encode and decode rows with a model whose decoder looks back at them.

        Raises:
            ValueError: if `options` ask for several texts each.
        """
        if options.num_return_sequences > 1:
            raise ValueError(
                f"`num_return_sequences` must be 1 for a model whose decoder looks back at its "
                f"text, but it is {options.num_return_sequences} instead. Leave it out."
            )
        tokenize_word = self._tokenize_word
        found = rewrite(self.autoencoder, rows, options, seed, tokenize_word=tokenize_word, **how)
        return [best.token_ids for best, *_ in found]

    @abstractmethod
    def _tokenize_word(self, word: str) -> list[list[int]]:
        """Tokenize a word at the beginning of a text and after a blank."""

    def _search(
        self,
        latents: Latents,
        options: Decoding,
        seed: SupportsIndex,
        default_noise: Any,
        **how: Any,
    ) -> list[list[Hypothesis]]:
        noise = None
        if default_noise is not None:
            noise = read_array("default_noise", default_noise).astype(np.float32)
            if noise.shape != (len(latents),) or not ((noise >= 0) & (noise <= MAX_NOISE)).all():
                raise ValueError(
                    f"`default_noise` must be a number from 0 to {MAX_NOISE:,.0f} for each of the "
                    f"{len(latents)} latents, but it is {noise.ravel()[:3].tolist()} instead."
                )
        return search(
            self.autoencoder,
            latents,
            options,
            seed,
            noise=noise,
            tokenize_word=self._tokenize_word,
            **how,
        )


def _check_single(options: Decoding) -> None:
    if options.num_return_sequences > 1:
        raise ValueError(
            f"`num_return_sequences` must be 1 if each latent gives one text, but it is "
            f"{options.num_return_sequences} instead. Leave it out, or give the "
            f"latents to `candidates`, which returns several."
        )
