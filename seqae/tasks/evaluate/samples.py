"""Metrics of sentences generated from random latents, beside real text and random words."""

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
from seqae.metrics.definitions import Scores
from seqae.metrics.geometry import duplicates
from seqae.metrics.text import copies, distinct, self_bleu
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate.language_model import LanguageModel


def generation(
    model: TextAutoencoder,
    texts: Sequence[str],
    train: Sequence[str],
    samples: int,
    steps: int,
    seed: int,
) -> Scores:
    """Score samples.

    The forward language model trains on `samples` training sentences, or on all if there are fewer.
    The reverse ones train on equally many samples, rows of random words or, for `real text`, on the
    same training sentences. All train for equally many steps. Diversity and forward perplexity
    depend on the number of texts, so each column has equally many, samples or unseen sentences.

    Args:
        model: what is measured.
        texts: at least two unseen sentences that fit the model. The first half are the starts, the
            second half the ends of the interpolations for the midpoints.
        train: at least two training sentences that fit the model.
        samples: number of samples; at most one for each training sentence.
        steps: of each language model's training.
        seed: of all draws.
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
    reverse = {name: _train(model, column, steps, seed) for name, column in rows.items()}
    forward = reverse["real text"]
    count = min(samples, len(texts))
    of_unseen = rng.sample(range(len(texts)), count)
    scores: Scores = {}
    for name, language_model in reverse.items():
        if name == "real text":
            shown, framed = [texts[i] for i in of_unseen], [unseen[i] for i in of_unseen]
        else:
            shown = model.tokenizer.decode(rows[name][:count])
            framed = _framed(model, rows[name][:count])
        scores[name] = {
            "forward_perplexity": forward.perplexity(framed),
            "reverse_perplexity": language_model.perplexity(unseen),
            "self_bleu": self_bleu(shown),
            "distinct_1": distinct(shown, 1),
            "distinct_2": distinct(shown, 2),
            "sample_duplicates": duplicates(shown),
            "copies": copies(shown, train),
        }
    half = len(texts) // 2
    ends = model.encode(texts[: 2 * half])
    midpoints = [between(*pair, 3)[1] for pair in zip(ends[:half], ends[half:], strict=True)]
    framed = _framed(model, model.decode_ids(np.asarray(midpoints)))
    scores["model"]["midpoint_perplexity"] = forward.perplexity(framed)
    return scores


def draw_latents(
    model: TextAutoencoder, train: Sequence[str], count: int, seed: int
) -> NDArray[np.float32]:
    """Draw latents as `seqae sample` does, (count, Z).

    If the model has neither prior nor density, a density is fitted to the training sentences.

    Raises:
        ValueError: if there are too few training sentences for that.
    """
    has_prior = isinstance(model.autoencoder.latent, StochasticLatent)
    if has_prior or model.density is not None:
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
    """Draw tokens by their frequency, in rows as long as the given ones."""
    frequency = Counter(token for row in rows for token in row)
    tokens, weights = list(frequency), list(frequency.values())
    lengths = [len(rng.choice(rows)) for _ in range(count)]
    return [rng.choices(tokens, weights, k=length) for length in lengths]


def _train(model: TextAutoencoder, rows: list[list[int]], steps: int, seed: int) -> LanguageModel:
    vocabulary, max_length = model.autoencoder.vocabulary, model.autoencoder.max_length
    assert vocabulary is not None
    # One token more: a sample that was cut at max_length has no eos yet.
    language_model = LanguageModel(vocabulary, max_length + 1, seed=seed)
    return language_model.fit(_framed(model, rows), steps)


def _framed(model: TextAutoencoder, rows: list[list[int]]) -> list[list[int]]:
    """Add bos and eos to rows of token ids."""
    return [[model.tokenizer.bos_id, *row, model.tokenizer.eos_id] for row in rows]
