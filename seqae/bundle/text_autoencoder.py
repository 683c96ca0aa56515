"""Text in, text out: `seqae.load(where)` gives a TextAutoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.bundle.folder import read_bundle
from seqae.component import check_choice
from seqae.data.batching import plan_batches
from seqae.data.corpus import collate
from seqae.data.tokenizers import Tokenizer
from seqae.generation import greedy
from seqae.model.autoencoder import SequenceAutoencoder

BATCH_TOKENS = 8192
DECODED_TOKENS = 2**17  # rows times max_length that are decoded at once


class TextAutoencoder:
    """A trained model and its tokenizer.

    Args:
        autoencoder: a built model.
        tokenizer: the tokenizer that it was trained with.
        details: the bundle's other JSON files, by name.
    """

    def __init__(
        self,
        autoencoder: SequenceAutoencoder,
        tokenizer: Tokenizer,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.autoencoder, self.tokenizer = autoencoder, tokenizer
        self.details = details or {}

    @property
    def latent_dim(self) -> int:
        """Z, the size of a latent."""
        return self.autoencoder.latent_dim

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.autoencoder.parameters()).device

    def encode(
        self, texts: Sequence[str], too_long: Literal["error", "truncate"] = "error"
    ) -> NDArray[np.float32]:
        """Texts to latents.

        Args:
            texts: n sentences.
            too_long: what happens to one with more tokens than the model was built for.

        Returns:
            (n, Z) float32, in the order of the texts.

        Raises:
            ValueError: if a text is longer than the model's `max_length` and `too_long` is
                `error`.
        """
        if isinstance(texts, str):
            raise ValueError('`texts` must be a list of sentences, but it is one. Write `["..."]`.')
        rows = self._tokenize(texts, too_long)
        latents = np.empty((len(rows), self.latent_dim), dtype=np.float32)
        assert self.autoencoder.vocabulary is not None
        for indices in _by_length([len(row) for row in rows]):
            batch = collate([rows[i] for i in indices], self.autoencoder.vocabulary)
            with evaluating(self.autoencoder), torch.inference_mode():
                output = self.autoencoder.encode(batch.to(self.device))
            latents[indices] = output.latent.float().cpu().numpy()
        return latents

    def decode(self, latents: NDArray[Any]) -> list[str]:
        """Latents to texts, greedily.

        Args:
            latents: (n, Z).

        Raises:
            ValueError: if the latents are not of this model's size, or not finite.
        """
        return self.tokenizer.decode(self.write(latents))

    def write(self, latents: NDArray[Any]) -> list[list[int]]:
        """Latents to token ids, greedily: what `decode` turns into text.

        Args:
            latents: (n, Z).

        Returns:
            n rows of ids, without bos, up to and without eos.

        Raises:
            ValueError: if the latents are not of this model's size, or not finite.
        """
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity: refused below
            latents = np.asarray(latents, dtype=np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise ValueError(
                f"`latents` must be of shape (n, {self.latent_dim}), but it is {latents.shape} "
                f"instead. Decode with the model that encoded them."
            )
        if not np.isfinite(latents).all():
            raise ValueError("`latents` must be finite, but it holds NaN or infinity instead.")
        written: list[list[int]] = []
        rows = max(1, min(256, DECODED_TOKENS // self.autoencoder.max_length))
        for start in range(0, len(latents), rows):
            chunk = torch.from_numpy(latents[start : start + rows]).to(self.device)
            with evaluating(self.autoencoder):
                written += greedy(self.autoencoder, chunk)
        return written

    def reconstruct(
        self, texts: Sequence[str], too_long: Literal["error", "truncate"] = "error"
    ) -> list[str]:
        """Texts to latents and back; see `encode` and `decode`."""
        return self.decode(self.encode(texts, too_long))

    def _tokenize(self, texts: Sequence[str], too_long: str) -> list[list[int]]:
        check_choice("too_long", too_long, ("error", "truncate"))
        rows = self.tokenizer.encode(texts)
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


class evaluating:  # noqa: N801 - reads as a verb
    """Put a model in evaluation mode for a block, and back as it was."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.training = self.model.training
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self.model.train(self.training)


def load(where: str | Path, device: str = "cpu") -> TextAutoencoder:
    """Load a bundle.

    Args:
        where: the bundle's folder, or the folder of the run that it lies in.
        device: where the model computes, as torch names it.

    Raises:
        ValueError: if it is not a bundle, or not whole; nothing of it was run.
    """
    folder = Path(where)
    if (folder / "bundle").is_dir() and not (folder / "config.json").exists():
        folder = folder / "bundle"
    autoencoder, tokenizer, details = read_bundle(folder)
    try:
        autoencoder.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`device` must be one that this machine has, but it is {device} instead "
            f"({str(error).splitlines()[0]}). Leave it out to compute on the CPU."
        ) from error
    return TextAutoencoder(autoencoder, tokenizer, details)


def _by_length(lengths: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    if lengths:
        plan = plan_batches(np.asarray(lengths, np.int32), BATCH_TOKENS, 0, 0, shuffle=False)
        for index in range(len(plan)):
            yield plan[index]
