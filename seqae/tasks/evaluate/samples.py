"""Metrics of sentences generated from random latents, beside real text and an n-gram model."""

from __future__ import annotations

import random
from collections.abc import Sequence

from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.prior_draws import PriorName, default_prior, fit_priors, usual_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.generation import Decoding
from seqae.metrics.geometry import duplicates
from seqae.metrics.judge.ngram_judge import NgramJudge, joined
from seqae.metrics.metric import Scores
from seqae.metrics.segmenter import lower_words
from seqae.metrics.text import copies, distinct, memorised, self_bleu
from seqae.model.latents import StochasticLatent
from seqae.priors.base import can_fit
from seqae.tasks.evaluate.language_model import LanguageModel

FITTED_TO = 10_000  # training sentences, as `seqae prior`

MODEL, REAL, SAMPLER, SHUFFLED = "model", "real text", "n-gram sampler", "words shuffled"


class NotMeasurable(ValueError):
    """A group cannot be measured for this model, or on these sentences.

    Args:
        message: what to do, for a user who asked for the group.
        reason: why, for a note.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def generation(
    samples: Sequence[str],
    texts: Sequence[str],
    train: Sequence[str],
    judge: NgramJudge,
    seed: int,
) -> Scores:
    """Score samples, beside equally many unseen sentences, draws of the judge, shuffled words.

    Diversity depends on the number of texts, so all columns have equally many: as many as there are
    of the fewer, samples or unseen sentences. The reverse judges train on all samples, on equally
    many draws, and for `real text` on equally many training sentences.

    Args:
        samples: of the model.
        texts: unseen sentences.
        train: training sentences, at least as many as samples.
        judge: trained on training sentences.
        seed: of all draws.
    """
    rng = random.Random(seed)
    read = columns_of(samples, rng.sample(list(train), len(samples)), judge, seed)
    count = min(len(samples), len(texts))
    shown = columns_of(samples[:count], rng.sample(list(texts), count), judge, seed)
    scores: Scores = {}
    shares = memorised(list(shown.values()), train)
    for (name, column), share in zip(shown.items(), shares, strict=True):
        lowered = [text.lower() for text in column]
        scores[name] = {
            "judge_perplexity": judge.perplexity(column),
            "reverse_judge_perplexity": NgramJudge(read[name]).perplexity(texts),
            "unknown_words": judge.unknown(column),
            "sample_words": sum(len(lower_words(text)) for text in column) / count,
            "distinct_1": distinct(lowered, 1),
            "distinct_2": distinct(lowered, 2),
            "self_bleu": self_bleu(lowered),
            "sample_duplicates": duplicates(column),
            "copies": copies(column, train),
            "memorised": share,
        }
    return scores


def columns_of(
    samples: Sequence[str], real: Sequence[str], judge: NgramJudge, seed: int
) -> dict[str, list[str]]:
    """Make the baselines of samples: as many sentences each, of which `real` are given."""
    rng = random.Random(seed)
    rows = [lower_words(text) for text in real]
    return {
        MODEL: list(samples),
        REAL: list(real),
        SAMPLER: judge.sample(len(samples), seed),
        SHUFFLED: [joined(rng.sample(row, len(row))) for row in rows],
    }


def neural_perplexities(
    model: TextAutoencoder,
    samples: Sequence[str],
    texts: Sequence[str],
    train: Sequence[str],
    judge: NgramJudge,
    midpoints: Sequence[str],
    steps: int,
    seed: int,
) -> Scores:
    """Measure the perplexities of small neural language models, on the model's own tokens.

    The forward one trains on as many training sentences as there are samples; the reverse ones on
    the samples, and on the baselines of `generation`. All train for equally many steps.

    Args:
        model: its tokenizer is used.
        samples: of the model.
        texts: unseen sentences.
        train: training sentences, at least as many as samples.
        judge: trained on training sentences.
        midpoints: texts between unseen sentences.
        steps: of each language model's training.
        seed: of all draws.
    """
    rng = random.Random(seed)
    columns = columns_of(samples, rng.sample(list(train), len(samples)), judge, seed)
    count = min(len(samples), len(texts))
    unseen = model.tokenizer.encode(list(texts))
    language_models = {
        name: _language_model(model, columns[name], steps, seed) for name in (REAL, MODEL, SAMPLER)
    }
    scores: Scores = {}
    for name, language_model in language_models.items():
        shown = rng.sample(unseen, count) if name == REAL else None
        shown = shown or model.tokenizer.encode(columns[name][:count])
        scores[name] = {
            "forward_perplexity": language_models[REAL].perplexity(shown),
            "reverse_perplexity": language_model.perplexity(unseen),
        }
    midpoint_rows = model.tokenizer.encode(list(midpoints))
    scores[MODEL]["midpoint_perplexity"] = language_models[REAL].perplexity(midpoint_rows)
    return scores


def draw_samples(
    model: TextAutoencoder,
    train: Sequence[str],
    count: int,
    seed: int,
    prior: PriorName | None = None,
    decoding: Decoding = GREEDY,
) -> tuple[list[str], str]:
    """Sample as `seqae sample` does, and name the prior.

    If the model has no prior, and none is named, one is fitted to training sentences.

    Raises:
        NotMeasurable: if there are too few training sentences for that.
    """
    if prior is None:
        model = with_prior(model, train, seed)
    name = prior or default_prior(model.autoencoder, model.priors)
    return model.sample(count, name, decoding, seed), name


def with_prior(model: TextAutoencoder, train: Sequence[str], seed: int) -> TextAutoencoder:
    """Return the model, with a prior fitted to training sentences if it has nothing to sample from.

    Raises:
        NotMeasurable: if there are too few training sentences for that.
    """
    has_prior = isinstance(model.autoencoder.latent, StochasticLatent)
    if has_prior or model.priors:
        return model
    some = random.Random(seed).sample(list(train), min(FITTED_TO, len(train)))
    latents = model.encode(some, "truncate")
    if not can_fit(latents):
        raise NotMeasurable(
            f"`metrics` must not have generation for this model, whose latent has no prior, and "
            f"none can be fitted to {len(latents)} training sentences. Leave it out, or name more "
            f"with `train_file`.",
            f"no prior can be fitted to the latents of {len(latents)} training sentences",
        )
    parts = model.autoencoder, model.tokenizer, model.details, model.normalization
    return TextAutoencoder(*parts, fit_priors(usual_priors(model.autoencoder)[-1:], latents, seed))


def _language_model(
    model: TextAutoencoder, texts: Sequence[str], steps: int, seed: int
) -> LanguageModel:
    vocabulary = model.autoencoder.vocabulary
    assert vocabulary is not None
    rows = model.tokenizer.encode(list(texts))
    longest = max(len(row) for row in rows)
    return LanguageModel(vocabulary, longest, seed=seed).fit(rows, steps)
