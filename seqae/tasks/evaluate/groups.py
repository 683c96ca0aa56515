"""Compute the metrics of each group of `seqae evaluate`, and those of its baselines."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from seqae.batch import Batch
from seqae.bundle.codec import evaluating
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.batches.padding import collate, like_length_batches
from seqae.metrics import text as text_metrics
from seqae.metrics.accuracy import ReconstructionMetric, token_hits
from seqae.metrics.definitions import LENGTHS, Scores
from seqae.metrics.embedding import TfidfSvd
from seqae.metrics.geometry import duplicates, isotropy
from seqae.metrics.nll import bits_per_byte, has_latent_cost, perplexity
from seqae.metrics.posterior import MAX_PAIRWISE, Posterior, posterior_of
from seqae.metrics.segmenter import blank_separated, words
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate.midpoints import pairs_of, paths

BATCH_TOKENS = 4096

STEPS = 9  # of an interpolation, both ends included
PAIRS = 100  # of sentences that are interpolated at most


def reconstruction(
    model: TextAutoencoder, predictions: list[list[int]], references: list[str]
) -> dict[str, float]:
    """Score predictions against references.

    Args:
        model: its tokenizer encodes the references and decodes the predictions.
        predictions: token ids for each reference, without bos and eos. They are ids, because a text
            may be tokenized in several ways, and encoding it again could find another one.
        references: texts.
    """
    predicted_texts = model.tokenizer.decode(predictions)
    metric = ReconstructionMetric()
    metric.update(predictions, token_ids(model, references), predicted_texts, references)
    scores = dict(metric.compute()._asdict())
    for key, (low, high) in LENGTHS.items():
        sides = zip(predicted_texts, references, strict=True)
        hits = [p == r for p, r in sides if low <= len(blank_separated(r)) <= high]
        if hits:
            scores[f"exact_match_{key}"] = sum(hits) / len(hits)
    scores["unigram_bleu"] = text_metrics.unigram_bleu(predicted_texts, references)
    scores["chrf"] = text_metrics.chrf(predicted_texts, references)
    scores["edit_distance"] = text_metrics.normalized_edit_distance(predicted_texts, references)
    return scores


def within_stretches(
    model: TextAutoencoder, predictions: list[list[list[int]]], references: list[str]
) -> dict[str, float]:
    """Score predictions within the stretches of references; nothing if each has one alone.

    Args:
        model: cuts the references into stretches.
        predictions: token ids for each stretch of each reference, without bos and eos.
        references: texts.
    """
    cut = model.stretches(references)
    if all(len(own) == 1 for own in cut):
        return {}
    sides = zip(itertools.chain(*predictions), itertools.chain(*cut), strict=True)
    hits = sum(itertools.starmap(token_hits, sides))
    return {"stretch_token_accuracy": hits / sum(len(row) + 1 for own in cut for row in own)}


def by_length(
    model: TextAutoencoder, predictions: list[list[int]], references: list[str]
) -> dict[str, dict[str, float]]:
    """Score the sentences of each length alone, and count them."""
    result = {}
    for key, (low, high) in LENGTHS.items():
        lengths = [len(blank_separated(text)) for text in references]
        rows = [i for i, length in enumerate(lengths) if low <= length <= high]
        if rows:
            scores = reconstruction(
                model, [predictions[i] for i in rows], [references[i] for i in rows]
            )
            own = {name: v for name, v in scores.items() if not name.startswith("exact_match_")}
            result[key] = {"sentences": len(rows), **own}
    return result


def posterior(
    model: TextAutoencoder,
    inputs: Sequence[str],
    references: Sequence[str],
    seed: int = 0,
    importance_samples: int = 0,
) -> Posterior:
    """Encode inputs and score their references, all of which must fit the model."""
    with evaluating(model.autoencoder, len(inputs)):
        batches = batches_of(model, inputs, references)
        return posterior_of(model.autoencoder, batches, seed, importance_samples)


def likelihood(
    model: TextAutoencoder, posterior: Posterior, references: Sequence[str], train: Sequence[str]
) -> Scores:
    """Measure likelihood, beside that of tokens drawn by their frequency in training."""
    rows = model.tokenizer.encode(references)
    counts = Counter(i for row in model.tokenizer.encode(list(train)) for i in row[1:])
    total = sum(counts.values()) + model.tokenizer.vocab_size  # add-one smoothing
    unigram_nll = -sum(math.log((counts[i] + 1) / total) for row in rows for i in row[1:])
    scores = {"model": {"conditional_nll": posterior.nll / posterior.tokens}}
    bound = posterior.importance_weighted
    if has_latent_cost(model.autoencoder):
        assert posterior.negative_elbo is not None
        bound = posterior.negative_elbo if bound is None else bound
        scores["model"] |= {"negative_elbo": posterior.negative_elbo / posterior.sentences}
        scores["model"] |= _nll_metrics(model, bound, rows, references)
    scores["token frequencies"] = _nll_metrics(model, unigram_nll, rows, references)
    return scores


def _nll_metrics(
    model: TextAutoencoder, nats: float, rows: list[list[int]], texts: Sequence[str]
) -> dict[str, float]:
    tokens = sum(len(row) - 1 for row in rows)
    is_lossless = not any(model.tokenizer.unk_id in row for row in rows)
    return {
        "nll": nats / len(rows),
        "nll_per_token": nats / tokens,
        "perplexity": perplexity(nats, tokens),
        "bits_per_byte": bits_per_byte(nats, texts) if is_lossless else math.nan,
    }


def latent(
    model: TextAutoencoder, tfidf: TfidfSvd, posterior: Posterior, texts: Sequence[str]
) -> Scores:
    """Measure the latent space; its isotropy beside that of TF-IDF vectors.

    Of a decoder that looks back at the text, nothing is measured that decodes a latent alone.
    """
    module = model.autoencoder.latent
    scores: dict[str, float] = {}
    if isinstance(module, StochasticLatent):
        scores |= posterior.metrics(module)
    scores |= {name: float(value) for name, value in module.metrics().items()}
    scores["latent_dim"] = model.latent_dim
    different = list(dict.fromkeys(texts))
    decodes_alone = not model.autoencoder.reads_memory
    if decodes_alone:
        latents = model.encode(different)
        scores["duplicates"] = duplicates(list(map(tuple, model.decode_ids(latents))))
    scores["shuffle_gap"] = posterior.shuffle_gap
    scores["isotropy"] = isotropy(posterior.output.latent[posterior.spread(MAX_PAIRWISE)])
    if decodes_alone:
        scores |= interpolation(model, different)
    vectors = torch.from_numpy(tfidf.encode(texts[:MAX_PAIRWISE]))
    return {"model": scores, "TF-IDF + SVD": {"isotropy": isotropy(vectors)}}


def interpolation(model: TextAutoencoder, texts: Sequence[str]) -> dict[str, float]:
    """Measure how smoothly the text changes on the path that `seqae interpolate` takes.

    The path has nine even steps; its edit distances in words are those between successive texts.
    The detour is their sum divided by the distance between the ends (at least 1, by the triangle
    inequality), the largest step is its share of the sum. Pairs with equal ends are left out.
    """
    detours, largest = [], []
    for decoded in paths(model, pairs_of(texts, PAIRS), STEPS):
        path = [words(text) for text in decoded]
        steps = [text_metrics.edit_distance(a, b) for a, b in zip(path[:-1], path[1:], strict=True)]
        if distance := text_metrics.edit_distance(path[0], path[-1]):
            detours.append(sum(steps) / distance)
            largest.append(max(steps) / sum(steps))
    mean = [float(np.mean(values)) if values else math.nan for values in (detours, largest)]
    return {"detour": mean[0], "largest_step": mean[1]}


def batches_of(
    model: TextAutoencoder, inputs: Sequence[str], references: Sequence[str]
) -> Iterator[Batch]:
    """Batch inputs of similar length, with their references as targets if they differ."""
    rows = model.tokenizer.encode(list(inputs))
    targets = rows if references is inputs else model.tokenizer.encode(list(references))
    vocabulary = model.autoencoder.vocabulary
    assert vocabulary is not None
    for indices, batch in like_length_batches(rows, vocabulary, BATCH_TOKENS):
        if targets != rows:
            batch.targets = collate([targets[i] for i in indices], vocabulary)
        yield batch.to(model.device)


def fits(model: TextAutoencoder, texts: Sequence[str]) -> list[bool]:
    """Say of each text whether it has no more tokens than the model accepts."""
    limit = model.autoencoder.max_length
    return [len(row) <= limit for row in model.tokenizer.encode(list(texts))]


def token_ids(model: TextAutoencoder, texts: Sequence[str]) -> list[list[int]]:
    """Tokenize texts, without bos and eos."""
    return [row[1:-1] for row in model.tokenizer.encode(list(texts))]
