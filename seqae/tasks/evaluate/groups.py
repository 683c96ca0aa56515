"""A function for each group of figures that `seqae evaluate` gives, with its baselines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from seqae.batch import Batch
from seqae.bundle.latent_ops import between
from seqae.bundle.text_autoencoder import TextAutoencoder, evaluating
from seqae.data.batching import plan_batches
from seqae.data.corpus import collate
from seqae.metrics import text as text_metrics
from seqae.metrics.accuracy import ReconstructionMetric
from seqae.metrics.embedding import TfidfSvd, linear_probe, majority, neighbour_accuracy, spearman
from seqae.metrics.geometry import duplicates, isotropy
from seqae.metrics.nll import bits_per_byte, is_paid_for, perplexity
from seqae.metrics.posterior import PAIRWISE, Posterior, posterior_of
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate.table import LENGTHS, Scores

BATCH_TOKENS = 4096

STEPS = 9  # of an interpolation, both ends counted
PAIRS = 100  # that are interpolated between


def reconstruction(
    model: TextAutoencoder, written: list[list[int]], texts: list[str]
) -> dict[str, float]:
    """Score what was written in place of some texts.

    Args:
        model: whose tokenizer counts.
        written: for each text token ids, without bos and eos. The ids themselves: a text may have
            several spellings in tokens, and encoding it anew would find another one.
        texts: what should have been written.
    """
    written_text = model.tokenizer.decode(written)
    metric = ReconstructionMetric()
    metric.update(written, token_ids(model, texts), written_text, texts)
    scores = dict(metric.compute()._asdict())
    for key, (low, high) in LENGTHS.items():
        sides = zip(written_text, texts, strict=True)
        hits = [w == t for w, t in sides if low <= len(t.split()) <= high]
        if hits:
            scores[f"exact_match_{key}"] = sum(hits) / len(hits)
    scores["unigram_bleu"] = text_metrics.unigram_bleu(written_text, texts)
    scores["chrf"] = text_metrics.chrf(written_text, texts)
    scores["edit_distance"] = text_metrics.normalized_edit_distance(written_text, texts)
    return scores


def by_length(
    model: TextAutoencoder, written: list[list[int]], texts: list[str]
) -> dict[str, dict[str, float]]:
    """The same figures of the sentences of each length, and how many there are."""
    found = {}
    for key, (low, high) in LENGTHS.items():
        rows = [i for i, text in enumerate(texts) if low <= len(text.split()) <= high]
        if rows:
            scores = reconstruction(model, [written[i] for i in rows], [texts[i] for i in rows])
            own = {name: v for name, v in scores.items() if not name.startswith("exact_match_")}
            found[key] = {"sentences": len(rows), **own}
    return found


def posterior(
    model: TextAutoencoder,
    texts: Sequence[str],
    due: Sequence[str],
    seed: int = 0,
    importance_samples: int = 0,
) -> Posterior:
    """Encode texts and score what is due; all must fit the model."""
    with evaluating(model.autoencoder):
        batches = (batch for _, batch in batches_of(model, texts, due))
        return posterior_of(model.autoencoder, batches, seed, importance_samples)


def likelihood(
    model: TextAutoencoder, found: Posterior, due: Sequence[str], train: Sequence[str]
) -> Scores:
    """Likelihood figures, beside those of tokens drawn by their frequency in training."""
    rows = model.tokenizer.encode(due)
    counts = Counter(i for row in model.tokenizer.encode(list(train)) for i in row[1:])
    total = sum(counts.values()) + model.tokenizer.vocab_size  # add-one smoothing
    guessed = -sum(math.log((counts[i] + 1) / total) for row in rows for i in row[1:])
    scores = {"model": {"conditional_nll": found.nll / found.tokens}}
    bound = found.importance_weighted
    if is_paid_for(model.autoencoder):
        assert found.negative_elbo is not None
        bound = found.negative_elbo if bound is None else bound
        scores["model"] |= {"negative_elbo": found.negative_elbo / found.sentences}
        scores["model"] |= _of_nll(model, bound, rows, due)
    scores["token frequencies"] = _of_nll(model, guessed, rows, due)
    return scores


def _of_nll(
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
    model: TextAutoencoder, tfidf: TfidfSvd, found: Posterior, texts: Sequence[str]
) -> Scores:
    """Figures of the latent space; isotropy beside that of TF-IDF vectors."""
    module = model.autoencoder.latent
    scores: dict[str, float] = {}
    if isinstance(module, StochasticLatent):
        scores |= found.figures(module)
    scores |= {name: float(value) for name, value in module.figures().items()}
    scores["latent_dim"] = model.latent_dim
    different = list(dict.fromkeys(texts))
    latents = model.encode(different)
    scores["duplicates"] = duplicates(list(map(tuple, model.decode_ids(latents))))
    scores["shuffle_gap"] = found.shuffle_gap
    scores["isotropy"] = isotropy(found.output.latent[found.spread(PAIRWISE)])
    scores |= interpolation(model, different)
    vectors = torch.from_numpy(tfidf.encode(texts[:PAIRWISE]))
    return {"model": scores, "TF-IDF + SVD": {"isotropy": isotropy(vectors)}}


def interpolation(model: TextAutoencoder, texts: Sequence[str]) -> dict[str, float]:
    """How smoothly the text changes on the way that `seqae interpolate` takes between two latents.

    Edit distances in words between neighbours of nine even steps: their sum over the distance of
    the two ends (it is at least 1, as distances are), and the largest's share of the sum. Pairs
    whose ends are written alike say nothing and are left out.
    """
    half = min(PAIRS, len(texts) // 2)
    ends = model.encode(texts[: 2 * half])
    ways = [between(*pair, STEPS) for pair in zip(ends[:half], ends[half:], strict=True)]
    written = model.decode(np.reshape(ways, (-1, model.latent_dim)))
    detours, largest = [], []
    for start in range(0, len(written), STEPS):
        way = [text_metrics.words(text) for text in written[start : start + STEPS]]
        steps = [text_metrics.edit_distance(a, b) for a, b in zip(way[:-1], way[1:], strict=True)]
        if distance := text_metrics.edit_distance(way[0], way[-1]):
            detours.append(sum(steps) / distance)
            largest.append(max(steps) / sum(steps))
    mean = [float(np.mean(values)) if values else math.nan for values in (detours, largest)]
    return {"detour": mean[0], "largest_step": mean[1]}


def similarity(
    model: TextAutoencoder, tfidf: TfidfSvd, pairs: Sequence[tuple[str, str, float]]
) -> Scores:
    """How well cosines of latents rank pairs of sentences."""
    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    human = [pair[2] for pair in pairs]
    own = spearman(model.encode(first, "truncate"), model.encode(second, "truncate"), human)
    other = spearman(tfidf.encode(first), tfidf.encode(second), human)
    return {"model": {"spearman": own}, "TF-IDF + SVD": {"spearman": other}}


def classification(
    model: TextAutoencoder, tfidf: TfidfSvd, labelled: Sequence[tuple[str, str]]
) -> Scores:
    """How well latents tell labels apart."""
    texts, labels = [text for text, _ in labelled], [label for _, label in labelled]
    columns = {
        "model": model.encode(texts, "truncate"),
        "TF-IDF + SVD": tfidf.encode(texts),
    }
    scores: Scores = {
        name: {
            "neighbour_accuracy": neighbour_accuracy(vectors, labels),
            "linear_probe": linear_probe(vectors, labels),
        }
        for name, vectors in columns.items()
    }
    chance = majority(labels)
    scores["chance"] = {"neighbour_accuracy": chance, "linear_probe": chance}
    return scores


def batches_of(
    model: TextAutoencoder, texts: Sequence[str], due: Sequence[str]
) -> Iterator[tuple[list[int], Batch]]:
    """Texts, and what is due for each, as batches of like length, with their places."""
    rows = model.tokenizer.encode(list(texts))
    wanted = rows if due is texts else model.tokenizer.encode(list(due))
    vocabulary = model.autoencoder.vocabulary
    assert vocabulary is not None
    lengths = np.asarray([len(row) for row in rows], np.int32)
    plan = plan_batches(lengths, BATCH_TOKENS, 0, 0, shuffle=False)
    for index in range(len(plan)):
        places = plan[index].tolist()
        batch = collate([rows[i] for i in places], vocabulary)
        if wanted != rows:
            batch.targets = collate([wanted[i] for i in places], vocabulary)
        yield places, batch.to(model.device)


def fits(model: TextAutoencoder, texts: Sequence[str]) -> list[bool]:
    """Which texts have no more tokens than the model takes."""
    limit = model.autoencoder.max_length
    return [len(row) <= limit for row in model.tokenizer.encode(list(texts))]


def token_ids(model: TextAutoencoder, texts: Sequence[str]) -> list[list[int]]:
    """Token ids without bos and eos."""
    return [row[1:-1] for row in model.tokenizer.encode(list(texts))]
