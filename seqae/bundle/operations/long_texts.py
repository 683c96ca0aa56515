"""LongTextOperations: texts of any length as stretches, with a latent for each; see data/stretches.

A stretch is what the model reads at once. Cutting, encoding, decoding and joining take time and
memory in proportion to the text, and no stretch sees another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from seqae.bundle.codec import check_lengths, cut_rows, encode_rows
from seqae.bundle.operations.latent_ops import Latents, read_latents
from seqae.bundle.operations.text_decoding import GREEDY, OneOrList
from seqae.bundle.operations.text_operations import LongPolicy, TextOperations
from seqae.component import check_choice
from seqae.data.containers import read_array, read_texts
from seqae.data.sentences.cleaning import Normalization
from seqae.data.sentences.stretches import Stretches
from seqae.generation import Decoding, DecodingKeywords
from seqae.generation.limits import are_cut


class LongLatents(NamedTuple):
    """The latents of texts that have one for each of their stretches.

    Attributes:
        latents: (n, K, Z) float32, K being the most stretches of a text; 0 where a text has fewer.
        mask: (n, K) bool, True at the stretches that a text has.
    """

    latents: Latents
    mask: NDArray[np.bool_]


class Reconstructed(NamedTuple):
    """What became of n texts.

    Attributes:
        stretches: for each text the rows of its stretches, token ids without bos and eos.
        num_cut: how many of the rows had not ended where `max_length_ratio` cut them.
    """

    stretches: list[list[list[int]]]
    num_cut: int

    def note(self, ratio: float) -> str | None:
        """Say how many were cut; None if none was.

        Args:
            ratio: the `max_length_ratio`.
        """
        if not self.num_cut:
            return None
        rows = sum(map(len, self.stretches))
        return (
            f"{self.num_cut:,} of {rows:,} reconstructions had not ended at {ratio:g} times the "
            f"tokens of the sentence and 10 more, and were cut there"
        )


def pad(rows: Sequence[NDArray[Any]], latent_dim: int = 0) -> LongLatents:
    """Pad the latents of n texts, (K, Z) each, to one array.

    Args:
        rows: of each text.
        latent_dim: Z if there is no text.

    Raises:
        ValueError: if they are not of one Z, or not of two dimensions.
    """
    if any(row.ndim != 2 for row in rows):
        raise ValueError("the latents of a text must be of shape (K, Z)")
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    mask = np.arange(counts.max(initial=0)) < counts[:, None]
    latents = np.zeros((*mask.shape, rows[0].shape[1] if rows else latent_dim), dtype=np.float32)
    if rows:
        latents[mask] = np.concatenate(rows)
    return LongLatents(latents, mask)


class LongTextOperations(TextOperations):
    """What is done with texts as sequences of stretches, which begins and ends with token ids."""

    normalization: Normalization
    details: dict[str, Any]

    @property
    def policy(self) -> LongPolicy:
        """What becomes of a text that is too long if nothing is said: `split`, or else `error`.

        It is `split` if the model was trained with `data.too_long: split`.
        """
        found: Any = self.details
        for key in ("training", "config", "data", "too_long"):
            found = found.get(key) if isinstance(found, dict) else None
        return "split" if found == "split" else "error"

    def encode_long(
        self,
        texts: Any,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
    ) -> LongLatents:
        """Encode texts of any length, a latent for each stretch of as many tokens as fit the model.

        A text is cut where words begin, into stretches of about one size. `decode_long` joins them
        again.

        Args:
            texts: as the class says.
            batch_size: stretches encoded at once; by default as many as 8,192 tokens hold.
            show_progress_bar: as the class says.

        Returns:
            Latents (n, K, Z) and their mask (n, K); of one text (K, Z) and (K,).

        Raises:
            ValueError: if a latent is not finite.
        """
        texts, is_one = read_texts("texts", texts)
        rows = [self._stretches.cut(row) for row in self._tokenize(texts)]
        flat = list(itertools.chain.from_iterable(rows))
        encoded = encode_rows(self.autoencoder, flat, batch_size, show_progress_bar)
        ends = np.cumsum([len(own) for own in rows], dtype=np.int64)
        latents, mask = pad(np.split(encoded, ends[:-1]) if rows else [], self.latent_dim)
        return LongLatents(latents[0], mask[0]) if is_one else LongLatents(latents, mask)

    def decode_long(
        self,
        latents: Any,
        mask: Any = None,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Decode what `encode_long` returned, and join the stretches of each text.

        Options of decoding, such as `max_length`, are for each stretch.

        Args:
            latents: a LongLatents, or (n, K, Z), or (K, Z) for one text.
            mask: (n, K) or (K,), True at the stretches that a text has; by default that of the
                LongLatents, or all of them.
            options: as the class says.
            seed: as the class says.
            batch_size: as the class says.
            show_progress_bar: as the class says.
            decoding: as the class says.

        Raises:
            ValueError: if the shapes do not fit each other or the model, a latent is not finite, or
                `options` ask for several texts each.
        """
        if isinstance(latents, LongLatents):
            latents, mask = latents.latents, latents.mask if mask is None else mask
        values = read_array("latents", latents)
        is_one = values.ndim == 2
        values = values[None] if is_one else values
        known = np.ones(values.shape[:2], bool) if mask is None else np.asarray(mask, dtype=bool)
        known = known[None] if known.ndim == 1 else known
        if values.ndim != 3 or known.shape != values.shape[:2]:
            raise ValueError(
                f"`latents` must be (texts, stretches, {self.autoencoder.latent_dim}) with a mask "
                f"(texts, stretches), but they have the shapes {values.shape} and {known.shape} "
                f"instead. Give what `encode_long` returned."
            )
        flat, _ = read_latents(values[known], self.autoencoder.latent_dim)
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        rows = self.decode_ids(flat, options.replaced(decoding), seed, **bar)
        decoded = self.tokenizer.decode(self._join(rows, known.sum(axis=1).tolist()))
        return decoded[0] if is_one else decoded

    def reconstruct(
        self,
        texts: Any,
        too_long: LongPolicy | None = None,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        **decoding: Unpack[DecodingKeywords],
    ) -> OneOrList:
        """Encode texts, and decode their latents; one text gives one.

        Args:
            texts: as the class says.
            too_long: as the class says; or `split`: a longer text is encoded in stretches, and
                those are joined. By default `policy`.
            options: as the class says.
            seed: as the class says.
            batch_size: as the class says.
            show_progress_bar: as the class says.
            decoding: as the class says.

        Raises:
            ValueError: if a text is too long and `too_long` is `error`, a latent is not finite, or
                `options` ask for several texts each.
        """
        options = options.replaced(decoding)
        texts, is_one = read_texts("texts", texts)
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        rows = self.reconstruct_ids(texts, too_long, options, seed, **bar)
        decoded = self.tokenizer.decode(rows)
        return decoded[0] if is_one else decoded

    def reconstruct_ids(
        self,
        texts: Sequence[str],
        too_long: LongPolicy | None = None,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
    ) -> list[list[int]]:
        """Reconstruct n texts as n rows of token ids, without bos and eos; see `reconstruct`."""
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        found = self.reconstruct_counting(texts, too_long, options, seed, **bar)
        return self.join_stretches(found.stretches)

    def reconstruct_counting(
        self,
        texts: Sequence[str],
        too_long: LongPolicy | None = None,
        options: Decoding = GREEDY,
        seed: SupportsIndex = 0,
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
    ) -> Reconstructed:
        """Reconstruct n texts as the rows of their stretches; count what did not end.

        The arguments are those of `reconstruct`.
        """
        policy = self.policy if too_long is None else too_long
        check_choice("too_long", policy, ("error", "truncate", "split"))
        rows = self._tokenize(texts)
        if policy == "error":
            check_lengths(rows, texts, self.autoencoder.max_length)
        if policy == "truncate":
            rows = cut_rows(rows, self.autoencoder.max_length, self.tokenizer.eos_id)
        cut = [self._stretches.cut(row) for row in rows]
        flat = list(itertools.chain.from_iterable(cut))
        bar: Any = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        lengths = [len(row) for row in flat]
        limits = self.length_limits(lengths, options)
        if self.autoencoder.reads_memory:
            ids = self._rewrite(flat, options, seed, **bar)
        else:
            latents = encode_rows(self.autoencoder, flat, **bar)
            ids = self.decode_ids(latents, options, seed, lengths, limits=limits, **bar)
        decoded, join = iter(ids), self._stretches.join  # of one row: takes bos and eos away
        stretches = [[join([row]) for row in itertools.islice(decoded, len(own))] for own in cut]
        most = options.max_length or self.autoencoder.max_length
        cuts = [] if limits is None else zip(are_cut(ids, limits), limits, strict=True)
        return Reconstructed(stretches, sum(is_cut and limit < most for is_cut, limit in cuts))

    def join_stretches(self, stretches: Sequence[Sequence[list[int]]]) -> list[list[int]]:
        """Join the stretches of n texts to n rows of token ids."""
        return [self._stretches.join(own) for own in stretches]

    def stretches(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Cut n texts into the rows of their stretches, without bos and eos."""
        cut = [self._stretches.cut(row) for row in self._tokenize(texts)]
        return [[row[1:-1] for row in own] for own in cut]

    def lengths(self, texts: Any) -> OneOrList:
        """Count the tokens of each text, bos and eos included."""
        texts, is_one = read_texts("texts", texts)
        lengths = [len(row) for row in self._tokenize(texts)]
        return lengths[0] if is_one else lengths

    @cached_property
    def _stretches(self) -> Stretches:
        return Stretches(self.tokenizer, self.autoencoder.max_length)

    def _join(self, rows: Sequence[list[int]], counts: Sequence[int]) -> list[list[int]]:
        """Join rows of stretches, of which each text has as many as `counts` says."""
        left = iter(rows)
        return [self._stretches.join(itertools.islice(left, count)) for count in counts]

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer.encode([self.normalization(text) for text in texts])
