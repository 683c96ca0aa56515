"""Figures of text that a model writes from the prior, beside real text and random words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Generator

from seqae.bundle.density import can_fit, fit_density
from seqae.bundle.latent_ops import between
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.geometry import duplicates
from seqae.metrics.text import copies, distinct, self_bleu
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate.language_model import LanguageModel
from seqae.tasks.evaluate.table import Scores


def generation(
    model: TextAutoencoder,
    texts: Sequence[str],
    train: Sequence[str],
    samples: int,
    steps: int,
    seed: int,
) -> Scores:
    """Score samples.

    The forward language model has read `samples` training sentences, or all if there are fewer; the
    reverse ones as many samples, random words or, for `real text`, the same training sentences. All
    have taken as many steps. Diversity and forward perplexity depend on the number of texts, and
    are of as many in each column: of the samples as of the unseen sentences.

    Args:
        model: what is measured.
        texts: two unseen sentences or more that fit the model; half of them as starts, half as
            ends, make the midpoints.
        train: two training sentences or more that fit the model.
        samples: how many to draw, if there are as many training sentences.
        steps: of each language model's training.
        seed: of the draws.
    """
    rng = random.Random(seed)
    samples = min(samples, len(train))
    real = rng.sample(list(train), samples)
    rows = {
        "model": model.decode_ids(draw_latents(model, real, samples, seed)),
        "real text": [row[1:-1] for row in model.tokenizer.encode(real)],
    }
    rows["random words"] = random_rows(rows["real text"], samples, rng)
    unseen = _framed(model, [row[1:-1] for row in model.tokenizer.encode(list(texts))])
    readers = {name: _reader(model, written, steps, seed) for name, written in rows.items()}
    forward = readers["real text"]
    count = min(samples, len(texts))
    of_real = rng.sample(range(len(texts)), count)
    scores: Scores = {}
    for name, reader in readers.items():
        if name == "real text":
            shown, judged = [texts[i] for i in of_real], [unseen[i] for i in of_real]
        else:
            shown = model.tokenizer.decode(rows[name][:count])
            judged = _framed(model, rows[name][:count])
        scores[name] = {
            "forward_perplexity": forward.perplexity(judged),
            "reverse_perplexity": reader.perplexity(unseen),
            "self_bleu": self_bleu(shown),
            "distinct_1": distinct(shown, 1),
            "distinct_2": distinct(shown, 2),
            "sample_duplicates": duplicates(shown),
            "copies": copies(shown, train),
        }
    half = len(texts) // 2
    ends = model.encode(texts[: 2 * half])
    middle = [between(*pair, 3)[1] for pair in zip(ends[:half], ends[half:], strict=True)]
    midpoints = _framed(model, model.decode_ids(np.asarray(middle)))
    scores["model"]["midpoint_perplexity"] = forward.perplexity(midpoints)
    return scores


def draw_latents(
    model: TextAutoencoder, train: Sequence[str], count: int, seed: int
) -> NDArray[np.float32]:
    """What `seqae sample` draws, (count, Z); a bundle without a density gets one, for this once.

    Raises:
        ValueError: if there are too few training sentences to fit one.
    """
    has_source = model.density is not None
    if isinstance(model.autoencoder.latent, StochasticLatent) or has_source:
        return model.sample_latents(count, seed=seed)
    latents = model.encode(train, "truncate")
    if not can_fit(latents):
        raise ValueError(
            f"`metrics` must not have generation for this model, whose latent has no prior, and a "
            f"density cannot be fitted to {len(latents)} training sentences. Leave it out, or name "
            f"more with `train_file`."
        )
    return fit_density(latents, seed).sample(count, "gaussian", Generator().manual_seed(seed))


def random_rows(rows: Sequence[list[int]], count: int, rng: random.Random) -> list[list[int]]:
    """Tokens drawn by their frequency, in rows as long as the given ones."""
    frequency = Counter(token for row in rows for token in row)
    tokens, weights = list(frequency), list(frequency.values())
    lengths = [len(rng.choice(rows)) for _ in range(count)]
    return [rng.choices(tokens, weights, k=length) for length in lengths]


def _reader(model: TextAutoencoder, rows: list[list[int]], steps: int, seed: int) -> LanguageModel:
    assert model.autoencoder.vocabulary is not None
    reader = LanguageModel(
        model.autoencoder.vocabulary, model.autoencoder.max_length + 1, seed=seed
    )
    return reader.fit(_framed(model, rows), steps)


def _framed(model: TextAutoencoder, rows: list[list[int]]) -> list[list[int]]:
    """With bos and eos; what was cut off at the longest length gets its eos too."""
    return [[model.tokenizer.bos_id, *row, model.tokenizer.eos_id] for row in rows]
