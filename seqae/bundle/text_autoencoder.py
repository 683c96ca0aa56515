"""Text in, text out: `seqae.load(where)` gives a TextAutoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.bundle.density import DENSITY, Density, read_density
from seqae.bundle.io import read_bundle
from seqae.bundle.latent_ops import GREEDY, MAX_SEED, LatentSpace
from seqae.component import check_choice, check_range
from seqae.data.batching import like_length_batches
from seqae.data.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.generation import DecodingOptions, Hypothesis, generate
from seqae.model.autoencoder import SequenceAutoencoder

BATCH_TOKENS = 8192
DECODED_ROWS = 256  # of latents that are decoded at once
DECODED_TOKENS = 2**17  # hypotheses times max_length that are decoded at once


class Candidate(NamedTuple):
    """A text that a latent may stand for.

    Attributes:
        text: the text.
        score: its log-probability under the model in nats, by the length penalty.
    """

    text: str
    score: float


@final
class TextAutoencoder(LatentSpace):
    """A trained model and its tokenizer.

    Args:
        autoencoder: a built model.
        tokenizer: the tokenizer that it was trained with.
        details: the bundle's other JSON files, by name.
        normalization: how text was written in training; what is to be encoded is written so, too.
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
                `error`; or if a latent is not finite.
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

    def decode(
        self, latents: NDArray[Any], options: DecodingOptions = GREEDY, seed: int = 0
    ) -> list[str]:
        """Latents to texts, the best of each; by default greedily.

        Args:
            latents: (n, Z).
            options: how; `candidates` gives more than one text of each.
            seed: of tokens that are drawn.

        Raises:
            ValueError: if the latents are not of this model's size, or not finite.
        """
        return self.tokenizer.decode(self.write(latents, options, seed))

    def write(
        self,
        latents: NDArray[Any],
        options: DecodingOptions = GREEDY,
        seed: int = 0,
        lengths: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """Latents to token ids: what `decode` turns into text.

        Args:
            latents: (n, Z).
            options: how.
            seed: of tokens that are drawn.
            lengths: about how many tokens each will take, which makes it faster.

        Returns:
            n rows of ids, without bos, up to and without eos.

        Raises:
            ValueError: if the latents are not of this model's size, or not finite; or if several
                texts of each are asked for.
        """
        if options.num_return_sequences > 1:
            raise ValueError(
                f"`num_return_sequences` must be 1 where each latent gives one text, but it is "
                f"{options.num_return_sequences} instead. Leave it out; `reconstruct`, `decode` "
                f"and `sample` give several, in Python `candidates`."
            )
        found = self._generate(latents, options, seed, lengths, scores=options.num_beams > 1)
        return [hypotheses[0].token_ids for hypotheses in found]

    def candidates(
        self,
        latents: NDArray[Any],
        options: DecodingOptions,
        seed: int = 0,
        lengths: Sequence[int] | None = None,
    ) -> list[list[Candidate]]:
        """Latents to `options.num_return_sequences` texts each, with scores; see `write`."""
        found = self._generate(latents, options, seed, lengths, scores=True)
        rows = [hypothesis.token_ids for hypotheses in found for hypothesis in hypotheses]
        texts = iter(self.tokenizer.decode(rows))
        return [[Candidate(next(texts), h.score) for h in hypotheses] for hypotheses in found]

    def reconstruct(
        self,
        texts: Sequence[str],
        too_long: Literal["error", "truncate"] = "error",
        options: DecodingOptions = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """Texts to latents and back; see `encode` and `decode`."""
        latents = self.encode(texts, too_long)
        return self.tokenizer.decode(self.write(latents, options, seed, self.lengths(texts)))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, bos and eos counted."""
        return [len(row) for row in self.tokenizer.encode(self._normalize(texts))]

    def _generate(
        self,
        latents: NDArray[Any],
        options: DecodingOptions,
        seed: int,
        lengths: Sequence[int] | None,
        scores: bool,
    ) -> list[list[Hypothesis]]:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity: refused below
            latents = np.asarray(latents, dtype=np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise ValueError(
                f"`latents` must be of shape (n, {self.latent_dim}), but it is {latents.shape} "
                f"instead. Decode with the model that encoded them."
            )
        if not np.isfinite(latents).all():
            raise ValueError(
                "`latents` must be finite, but it holds NaN or infinity instead. Drop such rows."
            )
        check_range("seed", seed, 0, MAX_SEED)
        # Numbers of their own: from the seed itself the latents may have been drawn, and the
        # tokens would follow from them.
        stream = np.random.SeedSequence([seed, 1]).generate_state(1)
        fitting = max(1, DECODED_TOKENS // self.autoencoder.max_length)
        with evaluating(self.autoencoder):
            return generate(
                self.autoencoder,
                torch.from_numpy(latents).to(self.device),
                options,
                lengths=lengths,
                tokenize_word=self._spell,
                generator=torch.Generator().manual_seed(int(stream[0])),
                batch_size=min(DECODED_ROWS * options.num_beams, fitting),
                scores=scores,
            )

    def _spell(self, word: str) -> list[list[int]]:
        """The tokens of a word at the beginning of a text and behind a blank."""
        word = self.normalization(word)
        rows = self.tokenizer.encode([word, f" {word}"])
        return [row[1:-1] for row in rows if self.tokenizer.unk_id not in row]

    def _normalize(self, texts: Sequence[str]) -> list[str]:
        return [self.normalization(text) for text in texts]

    def _tokenize(self, texts: Sequence[str], too_long: str) -> list[list[int]]:
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


class evaluating:  # noqa: N801 - reads as a verb
    """Put a model in evaluation mode for a block, and back as it was."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.training = self.model.training
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self.model.train(self.training)


def bundle_folder(where: str | Path) -> Path:
    """The folder of a bundle, given it or the folder of the run that it lies in."""
    folder = Path(where)
    is_run = (folder / "bundle").is_dir() and not (folder / "config.json").exists()
    return folder / "bundle" if is_run else folder


def load(where: str | Path, device: str = "cpu", with_density: bool = True) -> TextAutoencoder:
    """Load a bundle.

    Args:
        where: the bundle's folder, or the folder of the run that it lies in.
        device: where the model computes, as torch names it.
        with_density: whether to read its density, too; one that is damaged is no hindrance
            otherwise, and can be fitted anew.

    Raises:
        ValueError: if it is not a bundle, or not whole; nothing of it was run.
    """
    folder = bundle_folder(where)
    autoencoder, tokenizer, normalization, details = read_bundle(folder, with_density)
    try:
        autoencoder.to(device)
        torch.zeros((), device=device).item()  # `meta` can be had, but keeps no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`device` must be one that this machine has, but it is {device} instead "
            f"({str(error).splitlines()[0]}). Leave it out to compute on the CPU."
        ) from error
    density = read_density(folder / DENSITY, autoencoder.latent_dim) if with_density else None
    return TextAutoencoder(autoencoder, tokenizer, details, normalization, density)
