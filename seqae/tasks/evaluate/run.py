"""One evaluation: the groups of figures that were asked for, gathered by column."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.embedding import TfidfSvd
from seqae.metrics.nll import has_latent_cost
from seqae.model.latents import StochasticLatent
from seqae.tasks.evaluate import groups as measures
from seqae.tasks.evaluate.baselines import most_frequent_sentence, nearest_by_tfidf
from seqae.tasks.evaluate.samples import generation
from seqae.tasks.evaluate.table import GROUPS, Group, Scores

# Cheap, and of use for every model.
DEFAULT: tuple[Group, ...] = ("reconstruction", "likelihood", "latent")

# Training sentences that baselines are fitted on, but for the nearest one, which needs all.
BASELINE_SENTENCES = 20_000


@dataclass
class Judged:
    """Sentences with a judgement of people.

    Attributes:
        pairs: first, second, score.
        labelled: text, label.
    """

    pairs: Sequence[tuple[str, str, float]] | None = None
    labelled: Sequence[tuple[str, str]] | None = None

    def __bool__(self) -> bool:
        return self.pairs is not None or self.labelled is not None


def choose_groups(asked: Sequence[Group] | None, judged: Judged) -> list[Group]:
    """The groups to measure: those asked for, or the cheap ones that apply.

    Raises:
        ValueError: if embeddings are asked for and there is nothing to hold them against.
    """
    if asked and "embedding" in asked and not judged:
        raise ValueError(
            "`metrics` must not have embedding without judged sentences, but neither `pairs` nor "
            "`labels` is given. Name a file, `--pairs sts.tsv`, or leave embedding out."
        )
    wanted = set(asked or DEFAULT) | ({"embedding"} if judged else set())
    return [group for group in GROUPS if group in wanted]


def sides_that_fit(
    model: TextAutoencoder, train: Sequence[str], texts: Sequence[str], file: str | None
) -> tuple[list[str], list[str]]:
    """The training and the unseen sentences that samples are held against.

    Args:
        model: what is measured; sentences of more tokens than it takes are left out.
        train: training sentences.
        texts: unseen ones.
        file: what the user named these by; None where they are of a split.

    Raises:
        ValueError: if fewer than two are left of one of them.
    """
    found = []
    named = "the sentences of the split" if file is None else "the sentences of `file`"
    for name, side in (("the training sentences", train), (named, texts)):
        fitting = list(itertools.compress(side, measures.fits(model, side)))
        if len(fitting) < 2:
            raise ValueError(
                f"`metrics` must not have generation with fewer than two sentences that fit the "
                f"model, but of {name} {len(fitting)} of {len(side)} "
                f"{'has' if len(fitting) == 1 else 'have'} at most "
                f"{model.autoencoder.max_length} tokens. Leave it out, or give more sentences."
            )
        found.append(fitting)
    return found[0], found[1]


@dataclass
class Evaluation:
    """The figures of a model so far.

    Args:
        model: what is measured.
        texts: unseen sentences, what the model reads.
        due: what it should write: the same, or the other side of paired text.
        written: the token ids that it wrote for each.
        train: training sentences.
        seed: of all draws.
    """

    model: TextAutoencoder
    texts: list[str]
    due: list[str]
    written: list[list[int]]
    train: list[str]
    seed: int
    scores: Scores = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    by_length: dict[str, dict[str, float]] = field(default_factory=dict)

    def reconstruction(self, train_due: list[str] | None = None) -> None:
        """How well it writes back, beside retrieval and a constant.

        Args:
            train_due: for paired text, what is to be written for each training sentence.
        """
        answers = train_due or self.train
        nearest = nearest_by_tfidf(self.train, self.texts, answers)
        columns = {
            "model": self.written,
            "nearest by TF-IDF": measures.token_ids(self.model, nearest),
            "most frequent sentence": measures.token_ids(
                self.model, most_frequent_sentence(answers, self.texts)
            ),
        }
        for name, rows in columns.items():
            self._add({name: measures.reconstruction(self.model, rows, self.due)})
        self.by_length = measures.by_length(self.model, self.written, self.due)

    def likelihood_and_latent(self, groups: Sequence[Group], importance_samples: int) -> None:
        """Both from one walk over the sentences that fit the model."""
        sides = zip(
            measures.fits(self.model, self.texts), measures.fits(self.model, self.due), strict=True
        )
        rows = [index for index, fit in enumerate(sides) if all(fit)]
        if len(rows) < 2:
            for group in GROUPS[1:3]:
                if group in groups:
                    self.notes[group] = "fewer than two sentences fit the model; nothing measured"
            return
        texts = [self.texts[index] for index in rows]
        due = texts if self.due == self.texts else [self.due[index] for index in rows]
        draws = importance_samples if "likelihood" in groups else 0
        found = measures.posterior(self.model, texts, due, self.seed, draws)
        left_out = len(rows) < len(self.texts)
        of_those = [f"of the {len(rows):,} sentences that fit the model"] if left_out else []
        if "likelihood" in groups:
            self._add(measures.likelihood(self.model, found, due, self.some_train))
            how = self._of_likelihood(importance_samples)
            self.notes["likelihood"] = "; ".join([*of_those, how])
        if "latent" in groups:
            self._add(measures.latent(self.model, self.tfidf, found, texts))
            if of_those:
                self.notes["latent"] = of_those[0]

    def generation(
        self, train: Sequence[str], texts: Sequence[str], samples: int, steps: int
    ) -> None:
        """Samples beside real text and random words.

        Args:
            train: training sentences that fit the model.
            texts: unseen ones.
            samples: how many to draw; no more than there are training sentences.
            steps: of each language model's training.
        """
        self._add(generation(self.model, texts, train, samples, steps, self.seed))
        notes = []
        if len(train) < samples:
            notes = [f"of {len(train):,} samples, as many as there are training sentences"]
        if not isinstance(self.model.autoencoder.latent, StochasticLatent):
            notes.append(
                "the latent has no prior: samples are of a normal distribution fitted to the "
                "latents of training sentences"
            )
        if notes:
            self.notes["generation"] = "; ".join(notes)

    def embedding(self, judged: Judged) -> None:
        """Latents as embeddings."""
        if judged.pairs is not None:
            self._add(measures.similarity(self.model, self.tfidf, judged.pairs))
        if judged.labelled is not None:
            self._add(measures.classification(self.model, self.tfidf, judged.labelled))

    @cached_property
    def some_train(self) -> list[str]:
        """Training sentences drawn at random, for the baselines."""
        count = min(BASELINE_SENTENCES, len(self.train))
        return random.Random(self.seed).sample(self.train, count)

    @cached_property
    def tfidf(self) -> TfidfSvd:
        """TF-IDF vectors as large as the latents."""
        return TfidfSvd(self.some_train, self.model.latent_dim, self.seed)

    def _of_likelihood(self, importance_samples: int) -> str:
        if isinstance(self.model.autoencoder.latent, StochasticLatent):
            return f"NLL with {importance_samples} importance-weighted draws"
        if has_latent_cost(self.model.autoencoder):
            return "the codes cost as much as even ones would; an upper bound"
        return "none: the latent is not paid for, so that a sentence has no probability"

    def _add(self, scores: Scores) -> None:
        for name, column in scores.items():
            self.scores.setdefault(name, {}).update(column)


def without_nan(value: Any) -> Any:
    """The same with None in place of what is not a finite number, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
