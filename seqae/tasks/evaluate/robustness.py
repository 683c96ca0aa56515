"""The robustness curve: reconstructions from latents with more and more noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.accuracy import ReconstructionMetric
from seqae.tasks.evaluate.noise_levels import NOISE as NOISE
from seqae.tasks.evaluate.noise_levels import TOLD as TOLD
from seqae.tasks.evaluate.noise_levels import noisy_latents

SENTENCES = 200  # at most


@dataclass(frozen=True)
class Curve:
    """How reconstructions fare under noise.

    Attributes:
        exact_match: for each of `NOISE`.
        bleu: for each of `NOISE`.
    """

    exact_match: tuple[float, ...]
    bleu: tuple[float, ...]

    def area(self) -> float:
        """Compute the mean BLEU over the noise, by the trapezoidal rule."""
        steps = zip(pairwise(self.bleu), pairwise(NOISE), strict=True)
        area = sum((b - a) * (low + high) / 2 for (low, high), (a, b) in steps)
        return area / (NOISE[-1] - NOISE[0])

    def metrics(self) -> dict[str, float]:
        """Make the rows of the table."""
        return {
            "noise_bleu_area": self.area(),
            "noise_exact_match": self.exact_match[NOISE.index(0.3)],
            "noise_bleu": self.bleu[NOISE.index(1.0)],
        }


def robustness(
    model: TextAutoencoder, inputs: Sequence[str], references: Sequence[str], seed: int
) -> dict[str, Curve]:
    """Reconstruct sentences from latents with noise, those of `noisy_latents`.

    A model with `latent_noise` is also measured with σ told to its decoder.

    Args:
        model: what is measured.
        inputs: at least two sentences, which the model encodes; those too long are cut.
        references: what it should decode.
        seed: of the noise.

    Returns:
        The curve of the column `model`, and of `told the noise`, if there is one.
    """
    inputs, references = inputs[:SENTENCES], references[:SENTENCES]
    latents = model.encode(list(inputs), "truncate")
    noisy = noisy_latents(model, latents, seed)
    curves = {"model": _curve(model, noisy, references, None)}
    if model.autoencoder.latent_noise is not None:
        told = np.repeat(np.asarray(NOISE, np.float32), len(latents))
        curves[TOLD] = _curve(model, noisy, references, told)
    return curves


def _curve(
    model: TextAutoencoder,
    noisy: Sequence[NDArray[np.float32]],
    references: Sequence[str],
    told: NDArray[np.float32] | None,
) -> Curve:
    expected = [row[1:-1] for row in model.tokenizer.encode(list(references))]
    lengths = [len(row) + 2 for row in expected] * len(noisy)
    rows = model.decode_ids(np.concatenate(noisy), lengths=lengths, default_noise=told)
    texts = model.tokenizer.decode(rows)
    exact_match, bleu = [], []
    for start in range(0, len(rows), len(expected)):
        part = slice(start, start + len(expected))
        metric = ReconstructionMetric()
        metric.update(rows[part], expected, texts[part], references)
        scores = metric.compute()
        exact_match.append(scores.exact_match)
        bleu.append(scores.bleu)
    return Curve(tuple(exact_match), tuple(bleu))
