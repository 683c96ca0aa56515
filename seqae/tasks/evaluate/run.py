"""One evaluation: the metrics of each group that was requested, collected by column."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.prior_draws import PriorName
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.generation import Decoding
from seqae.metrics.accuracy import bleu_signature
from seqae.metrics.embedding import TfidfSvd
from seqae.metrics.judge.ngram_judge import NgramJudge
from seqae.metrics.metric import GROUPS, Group, Scores
from seqae.metrics.nll import has_latent_cost
from seqae.metrics.word_vectors import MeanWordVectors
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate import groups
from seqae.tasks.evaluate.annotations import LabelledData
from seqae.tasks.evaluate.baselines import most_frequent_sentence, nearest_by_tfidf
from seqae.tasks.evaluate.embeddings import (
    ComparedLatents,
    Embedder,
    classification,
    paraphrases,
    similarity,
)
from seqae.tasks.evaluate.midpoints import midpoint_metrics, pairs_of, paths
from seqae.tasks.evaluate.robustness import SENTENCES, Curve, robustness
from seqae.tasks.evaluate.samples import (
    NotMeasurable,
    draw_samples,
    generation,
    neural_perplexities,
)

# The groups that need nothing but the model.
DEFAULT: tuple[Group, ...] = (
    "reconstruction",
    "likelihood",
    "latent",
    "robustness",
    "generation",
)

# Training sentences for the baselines, except for the nearest one, which needs all.
BASELINE_SENTENCES = 20_000

# Training sentences for the judge of samples: ten seconds of its training.
JUDGE_SENTENCES = 200_000


def choose_groups(requested: Sequence[Group] | None, annotations: LabelledData) -> list[Group]:
    """Choose the groups to measure: those requested, or else those that apply.

    Raises:
        ValueError: if embedding is requested without annotated sentences.
    """
    if requested and "embedding" in requested and not annotations:
        raise ValueError(
            "`metrics` must not have embedding without annotated sentences, but neither `pairs`, "
            "`labels` nor `paraphrases` is given. Name a file, `--pairs sts.tsv`, or leave "
            "embedding out."
        )
    wanted = set(requested or DEFAULT) | ({"embedding"} if annotations else set())
    return [group for group in GROUPS if group in wanted]


def texts_for_generation(
    model: TextAutoencoder, train: Sequence[str], texts: Sequence[str], file: str | None
) -> tuple[list[str], list[str]]:
    """Select the training and the unseen sentences that samples are compared with.

    Args:
        model: what is measured; sentences with more tokens than it accepts are left out.
        train: training sentences.
        texts: unseen sentences.
        file: the file that the user named for the unseen sentences; None if they are of a split.

    Raises:
        NotMeasurable: if fewer than two are left of either, or a latent alone cannot be decoded.
    """
    if model.autoencoder.reads_memory:
        raise NotMeasurable(
            "`metrics` must not have generation for a model whose decoder looks back at a text: "
            "there is none to draw. Leave it out.",
            "the decoder looks back at a text, of which a drawn latent has none",
        )
    name = "the sentences of the split" if file is None else "the sentences of `file`"
    return (
        _at_least_two(model, train, "the training sentences"),
        _at_least_two(model, texts, name),
    )


def _at_least_two(model: TextAutoencoder, texts: Sequence[str], name: str) -> list[str]:
    fitting = list(itertools.compress(texts, groups.fits(model, texts)))
    if len(fitting) < 2:
        raise NotMeasurable(
            f"`metrics` must not have generation with fewer than two sentences that fit the "
            f"model, but of {name} {len(fitting)} of {len(texts)} "
            f"{'has' if len(fitting) == 1 else 'have'} at most "
            f"{model.autoencoder.max_length} tokens. Leave it out, or give more sentences.",
            f"fewer than two of {name} fit the model",
        )
    return fitting


@dataclass
class Evaluation:
    """The metrics of a model so far.

    Args:
        model: what is measured.
        inputs: unseen sentences, which the model encodes.
        references: what it should decode: the same sentences, or the targets of paired text.
        train: training sentences.
        seed: of all draws.
        predictions: the token ids that it decoded for each.
        cut: says how many of them were cut because they did not end, if any was.
    """

    model: TextAutoencoder
    inputs: list[str]
    references: list[str]
    train: list[str]
    seed: int
    predictions: list[list[int]] = field(default_factory=list)
    cut: str | None = None
    scores: Scores = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    by_length: dict[str, dict[str, float]] = field(default_factory=dict)
    bleu_signature: str | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    midpoints: list[tuple[str, str, str]] = field(default_factory=list)

    @contextmanager
    def noting(self, group: Group, required: Sequence[Group]) -> Iterator[None]:
        """Note that a group cannot be measured, unless the user asked for it.

        Raises:
            NotMeasurable: if the group is required.
        """
        try:
            yield
        except NotMeasurable as error:
            if group in required:
                raise
            self.notes[group] = f"nothing measured: {error.reason}"

    def reconstruction(self, train_references: list[str] | None = None) -> None:
        """Measure reconstruction, beside retrieval and a constant.

        Args:
            train_references: for paired text, the target of each training sentence.
        """
        answers = train_references or self.train
        nearest = nearest_by_tfidf(self.train, self.inputs, answers)
        constant = most_frequent_sentence(answers, self.inputs)
        columns = {
            "model": self.predictions,
            "nearest by TF-IDF": groups.token_ids(self.model, nearest),
            "most frequent sentence": groups.token_ids(self.model, constant),
        }
        for name, predictions in columns.items():
            self._add({name: groups.reconstruction(self.model, predictions, self.references)})
        self.by_length = groups.by_length(self.model, self.predictions, self.references)
        self.bleu_signature = bleu_signature(self.references)
        notes = [f"BLEU is {self.bleu_signature}", *([self.cut] if self.cut else [])]
        self.notes["reconstruction"] = "; ".join(notes)

    def within_stretches(self, predictions: list[list[list[int]]]) -> None:
        """Measure reconstruction within stretches.

        Args:
            predictions: the token ids that the model decoded for each stretch of each sentence.
        """
        self._add({"model": groups.within_stretches(self.model, predictions, self.references)})

    def likelihood_and_latent(self, requested: Sequence[Group], importance_samples: int) -> None:
        """Measure either or both in one pass over the sentences that fit the model."""
        sides = (groups.fits(self.model, texts) for texts in (self.inputs, self.references))
        rows = [index for index, fit in enumerate(zip(*sides, strict=True)) if all(fit)]
        if len(rows) < 2:
            for group in ("likelihood", "latent"):
                if group in requested:
                    self.notes[group] = "fewer than two sentences fit the model; nothing measured"
            return
        inputs = [self.inputs[index] for index in rows]
        is_same = self.references == self.inputs
        references = inputs if is_same else [self.references[index] for index in rows]
        draws = importance_samples if "likelihood" in requested else 0
        posterior = groups.posterior(self.model, inputs, references, self.seed, draws)
        left_out = len(rows) < len(self.inputs)
        subset = [f"of the {len(rows):,} sentences that fit the model"] if left_out else []
        if "likelihood" in requested:
            self._add(groups.likelihood(self.model, posterior, references, self.some_train))
            note = self._likelihood_note(importance_samples)
            self.notes["likelihood"] = "; ".join([*subset, note])
        if "latent" in requested:
            self._add(groups.latent(self.model, self.tfidf, posterior, inputs))
            if self.model.autoencoder.reads_memory:
                subset.append("the decoder looks back at the text, so no latent is decoded alone")
            if subset:
                self.notes["latent"] = "; ".join(subset)

    def robustness(self) -> None:
        """Measure reconstruction from noisy latents, of some sentences."""
        if self.model.autoencoder.reads_memory:
            self.notes["robustness"] = "the decoder needs no latent: it looks back at the text"
            return
        if len(self.inputs) < 2:
            self.notes["robustness"] = "fewer than two sentences; nothing measured"
            return
        self.curves = robustness(self.model, self.inputs, self.references, self.seed)
        for name, curve in self.curves.items():
            self._add({name: curve.metrics()})
        if len(self.inputs) > SENTENCES:
            self.notes["robustness"] = f"of {SENTENCES} of the sentences"

    def generation(
        self,
        train: Sequence[str],
        texts: Sequence[str],
        samples: int,
        steps: int | None,
        prior: PriorName | None = None,
        decoding: Decoding = GREEDY,
    ) -> None:
        """Measure samples and midpoints, beside real text and an n-gram model.

        Args:
            train: training sentences that fit the model.
            texts: unseen ones.
            samples: how many to draw; no more than there are training sentences.
            steps: of the training of each neural language model; None trains none.
            prior: what samples are drawn from, as in `seqae sample`.
            decoding: how samples and midpoints are decoded.

        Raises:
            NotMeasurable: if there is nothing to sample from.
        """
        known = random.Random(self.seed).sample(train, min(JUDGE_SENTENCES, len(train)))
        judge = NgramJudge(known)
        count = min(samples, len(train))
        drawn = draw_samples(self.model, train, count, self.seed, prior, decoding)
        self.samples, drawn_from = drawn
        self._add(generation(self.samples, texts, train, judge, self.seed))
        pairs = pairs_of(texts)
        decoded = paths(self.model, pairs, 3, decoding, self.seed)
        midpoints = [middle for _, middle, _ in decoded]
        self._add(midpoint_metrics(midpoints, pairs, judge, self.seed))
        self.midpoints = [
            (start, middle, end) for (start, end), middle in zip(pairs, midpoints, strict=True)
        ]
        if steps is not None:
            columns = self.samples, texts, train, judge, midpoints
            self._add(neural_perplexities(self.model, *columns, steps, self.seed))
        notes = [f"{len(self.samples):,} samples"]
        if len(train) < samples:
            notes = [f"{len(train):,} samples only, as many as there are training sentences"]
        if drawn_from == "gaussian":
            notes.append(
                "the latent has no prior: latents are drawn from a normal distribution fitted to "
                "those of training sentences"
            )
        elif prior is not None or drawn_from != "prior":
            notes.append(f"of the prior {drawn_from}")
        self.notes["generation"] = "; ".join(notes)

    def embedding(self, annotations: LabelledData) -> None:
        """Measure latents as embeddings."""
        if annotations.pairs is not None:
            self._add(similarity(self.embedders, annotations.pairs))
        if annotations.paraphrases is not None:
            self._add(paraphrases(self.embedders, annotations.paraphrases))
        if annotations.labelled is not None:
            self._add(classification(self.embedders, annotations.labelled))

    @cached_property
    def some_train(self) -> list[str]:
        """Training sentences drawn at random, for the baselines."""
        count = min(BASELINE_SENTENCES, len(self.train))
        return random.Random(self.seed).sample(self.train, count)

    @cached_property
    def tfidf(self) -> TfidfSvd:
        """TF-IDF vectors with as many dimensions as the latents."""
        return TfidfSvd(self.some_train, self.model.latent_dim, self.seed)

    @cached_property
    def embedders(self) -> dict[str, Embedder]:
        """What is measured as embeddings, all of one size."""
        size = self.model.part_dim(self.model.compared_part)
        embedders: dict[str, Embedder] = {"model": ComparedLatents(self.model)}
        embedders["TF-IDF + SVD"] = TfidfSvd(self.some_train, size, self.seed)
        embedders["mean word vectors"] = MeanWordVectors(self.some_train, size, self.seed)
        return embedders

    def _likelihood_note(self, importance_samples: int) -> str:
        if isinstance(self.model.autoencoder.latent, StochasticLatent):
            return f"NLL with {importance_samples} importance-weighted draws"
        if has_latent_cost(self.model.autoencoder):
            return "KL assumes a uniform prior over codes; an upper bound"
        return "none: the latent has no cost, so a sentence has no probability"

    def _add(self, scores: Scores) -> None:
        for name, column in scores.items():
            self.scores.setdefault(name, {}).update(column)
