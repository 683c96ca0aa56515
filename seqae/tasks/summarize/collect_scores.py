"""What `seqae summarize-eval` measures of each method, document by document."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import torch

from seqae.metrics.summaries.rouge import KINDS, name_of_words, rouge, rouge_words
from seqae.metrics.summaries.significance import bootstrap, randomization_test
from seqae.metrics.summaries.summary_text import summary_figures, unseen_figures
from seqae.summarizers import Summarizer
from seqae.summarizers.base import SentenceSpace
from seqae.summarizers.baselines.oracle import oracle
from seqae.summarizers.document import Budget, Document, Summary
from seqae.tasks.summarize.documents import Record

ORACLE, REFERENCE = "oracle", "reference"  # rows that know the references


class System(NamedTuple):
    """A summarizer with the space that it reads; None if it reads the text itself."""

    summarizer: Summarizer
    space: SentenceSpace | None

    def summarize(self, document: Document, budget: Budget, seed: int) -> Summary:
        """Summarize a document."""
        generator = torch.Generator().manual_seed(seed)
        return self.summarizer.summarize(document, self.space, budget, generator)


# Of each row: the values of all documents, by metric.
Values = dict[str, dict[str, list[float]]]


class Scores:
    """Collects the scores of all rows; texts are kept of the examples alone.

    Args:
        budget: how long summaries are.
        stemmer: as of `rouge`.
        recall_bytes: as of `rouge`; None does not measure it.
        seed: of all random draws.
        examples: how many documents to keep.
        seen: words that training had, as of `unseen_figures`; None does not measure that.
    """

    def __init__(
        self,
        budget: Budget,
        stemmer: bool,
        recall_bytes: int | None,
        seed: int,
        examples: int,
        seen: Collection[str] | None = None,
    ) -> None:
        self.budget, self.stemmer, self.recall_bytes = budget, stemmer, recall_bytes
        self.seed, self.wanted, self.seen = seed, examples, seen
        self.count, self.words_name = 0, ""
        self.examples: list[dict[str, Any]] = []
        self._values: Values = defaultdict(lambda: defaultdict(list))

    def add(self, record: Record, systems: Mapping[str, System]) -> None:
        """Summarize a document by all systems, and score that.

        Args:
            record: the document with a reference or more.
            systems: by row.
        """
        # Each has draws of its own: another choice of rows does not change them.
        seed = self.seed * 1_000_003 + self.count
        summaries = {
            row: system.summarize(record.document, self.budget, seed)
            for row, system in systems.items()
        }
        summaries[ORACLE] = oracle(record.document, record.references, self.budget)
        texts = {row: [one.text for one in made.sentences] for row, made in summaries.items()}
        for row, written in texts.items():
            self._score(row, written, record.references)
            self._describe(row, written, record)
        self._describe(REFERENCE, list(record.references[0]), record)
        compared = [text for one in (*record.references, *texts.values()) for text in one]
        name = name_of_words(compared, self.stemmer)
        self.words_name = max(self.words_name, name, key=len)  # one word that is not ASCII decides
        if self.count < self.wanted:
            shown = {row: made.text for row, made in summaries.items()}
            due = [" ".join(reference) for reference in record.references]
            self.examples.append(
                {"document": record.document.text, "references": due, "summaries": shown}
            )
        self.count += 1

    def results(self, baseline: str) -> dict[str, dict[str, Any]]:
        """Compute the mean of each metric with its interval, and of F1 the test, by row."""
        found: dict[str, dict[str, Any]] = {}
        for row, metrics in self._values.items():
            found[row] = {}
            for name, values in metrics.items():
                defined = [value for value in values if not math.isnan(value)]
                if not defined:
                    continue
                entry: dict[str, Any] = bootstrap(defined, self.seed)._asdict()
                if name.endswith("_f1") and row != baseline:
                    compared = self._values[baseline][name]
                    entry["p"] = randomization_test(values, compared, self.seed)
                    gains = [a - b for a, b in zip(values, compared, strict=True)]
                    entry["difference"] = bootstrap(gains, self.seed)._asdict()
                    entry["better"] = sum(values) > sum(compared)
                found[row][name] = entry
        return found

    def _score(self, row: str, written: list[str], references: list[tuple[str, ...]]) -> None:
        for kind, score in rouge(written, references, self.stemmer).items():
            for part, value in score._asdict().items():
                self._values[row][f"{kind}_{part}"].append(value)
        if self.recall_bytes is not None:
            cut = rouge(written, references, self.stemmer, self.recall_bytes)
            for kind in KINDS:
                self._values[row][f"{kind}_recall_bytes"].append(cut[kind].recall)

    def _describe(self, row: str, written: list[str], record: Record) -> None:
        source = record.document.sentences
        figures = summary_figures(written, source)
        if self.seen is not None:
            figures |= unseen_figures(written, source, record.references, self.seen)
        for name, value in figures.items():
            self._values[row][name].append(value)


def words_of(records: Iterable[Record]) -> set[str]:
    """Collect the words of documents and of their summaries."""
    texts = (
        text
        for record in records
        for text in (*record.document.sentences, *(s for r in record.references for s in r))
    )
    return {word for text in texts for word in rouge_words(text)}
