"""`seqae summarize-eval`: summaries of all methods beside those of people."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch

import seqae
from seqae.component import check_choice, check_range, check_seed
from seqae.data.cleaning import check_language
from seqae.files import check_output, write_output
from seqae.metrics.summaries.rouge import KINDS, name_of_words, rouge, rouge_words
from seqae.metrics.summaries.significance import bootstrap, randomization_test
from seqae.metrics.summaries.summary_text import summary_figures, unseen_figures
from seqae.summarizers import Summarizer
from seqae.summarizers.base import SentenceSpace
from seqae.summarizers.baselines.oracle import oracle
from seqae.summarizers.document import Budget, Document, Summary
from seqae.tasks.summarize.choices import (
    SpaceName,
    check_settings,
    choose_methods,
    make_budget,
    make_space,
    make_summarizer,
)
from seqae.tasks.summarize.documents import Reading, Record, check_documents, read_records
from seqae.tasks.summarize.log_summaries import log_summaries
from seqae.tasks.summarize.summary_table import show_summaries, show_table
from seqae.terminal import progress_bar, visible

ORACLE, REFERENCE = "oracle", "reference"  # rows that know the references
TRIAL = "The cat sat on the mat. It was a warm day. A dog ran past the house."


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


def summarize_eval(
    model: str,
    file: str,
    methods: list[str] | None = None,
    sentences: int | None = None,
    words: int | None = None,
    bytes: int | None = None,  # noqa: A002 - the name of the option
    ratio: float | None = None,
    baseline: str = "lead",
    limit: int = 1000,
    stemmer: bool = False,
    recall_bytes: int | None = None,
    examples: int = 3,
    output: str | None = None,
    wandb: str | None = None,
    explain: bool = False,
    column: str = "document",
    target_column: str = "summary",
    split: bool = False,
    language: str = "en",
    train_file: str | None = None,
    seen_file: str | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Compare summaries of all methods with those of people.

    Example:
        seqae summarize-eval runs/seqae/RUN pairs.jsonl --sentences 1 --output scores.json
        seqae summarize-eval demo pairs.jsonl --words 25 --methods lead textrank centroid

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        file: JSON lines with `document`, as `seqae summarize` reads it, and `summary`, a text or a
            list of several; or a table with these columns.
        methods: names of methods, `all` by default.
        sentences: most sentences of a summary; 3 if no length is given.
        words: most words of a summary, instead.
        bytes: most bytes of a summary, instead.
        ratio: most words of a summary as a share of those of the document, instead.
        baseline: the row that all others are tested against, by approximate randomisation; it need
            not be among the methods.
        limit: the first so many documents; 0 takes all.
        stemmer: compare stems of English words of four letters or more, as papers of English do;
            needs the extra nltk.
        recall_bytes: also give the recall of summaries that are cut to so many bytes.
        examples: documents to show with their summaries.
        output: a .json file for all scores, their intervals and tests, and the examples.
        wandb: a project of Weights & Biases, to which the table and the examples are logged.
        explain: define the columns.
        column: the name of the column of the document.
        target_column: the name of the column of its summary or summaries.
        split: also cut the texts of a list into sentences.
        language: whose rules cut texts into sentences, as ISO 639-1 code; those of `en` also know
            the full stops of other scripts.
        train_file: sentences to learn word vectors from; by default those of the model's training.
        seen_file: documents with summaries that the model was trained on; also measures whether
            words that are in none of them, mostly names, are copied.
        settings: what the classes of methods take, by method, as in '{"supervised": {"num_beams":
            1}}'.
        seed: of all random draws.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
    """
    check_output(output, (".json",), [file, train_file, seen_file])
    seed = check_seed(seed)
    check_language("language", language)
    for key, value in (("limit", limit), ("examples", examples)):
        check_range(key, value, 0, 10**9)
    if recall_bytes is not None:
        check_range("recall_bytes", recall_bytes, 1, 10**9)
    budget = make_budget(sentences, words, bytes, ratio)
    rows, possible = _by_row(methods or ["all"]), _by_row(["all"])
    check_choice("baseline", baseline, (*possible, ORACLE))
    asked = set(rows)
    if baseline != ORACLE:
        rows.setdefault(baseline, possible[baseline])
    check_documents(file)
    if settings is not None:
        check_settings(settings)
    reading = Reading(column, target_column, split, language)
    seen = None if seen_file is None else _words_of(read_records(seen_file, reading))
    loaded = seqae.load(model, device)

    def space_of(name: SpaceName) -> SentenceSpace:
        return make_space(name, loaded, model, train_file, seed)

    systems, refused = _make_systems(
        rows, budget, space_of, settings or {}, methods in (None, ["all"])
    )
    if not asked & set(systems):
        raise next(iter(refused.values()))
    if baseline in refused:
        raise ValueError(
            f"`baseline` must be a method that this model can run, but it is {baseline} instead: "
            f"{refused[baseline]}"
        )
    notes = [f"without {row}: {error}" for row, error in refused.items()]
    scores = Scores(budget, stemmer, recall_bytes, seed, examples, seen)
    records = read_records(file, reading)
    with progress_bar("summarizing", None) as advance:  # a file may have less than the limit
        for record in islice(records, limit or None):
            scores.add(record, systems)
            advance(1)
    if not scores.count:
        raise ValueError("`file` must have a document or more, but it has none. Name another file.")
    results = scores.results(baseline)
    info = {
        "model": model,
        "file": file,
        "documents": scores.count,
        "budget": {name: value for name, value in vars(budget).items() if value is not None},
        "rouge_words": scores.words_name,
        "baseline": baseline,
        "seed": seed,
        "notes": notes,
    }
    if output is not None:
        content = {**info, "rows": results, "examples": scores.examples}
        text = json.dumps(_without_nan(content), ensure_ascii=False, indent=1, allow_nan=False)
        write_output(output, text + "\n")
    show_summaries(scores.examples)
    show_table(info, results, explain)
    for note in notes:
        print(f"seqae: {visible(note)}", file=sys.stderr)
    if wandb is not None:
        log_summaries(wandb, info, results, scores.examples)


def _make_systems(
    rows: Mapping[str, tuple[str, SpaceName | None]],
    budget: Budget,
    make: Callable[[SpaceName], SentenceSpace],
    settings: Mapping[str, dict[str, Any]],
    leaves_out: bool,
) -> tuple[dict[str, System], dict[str, ValueError]]:
    """Make what summarizes, and try each before documents are read.

    Args:
        rows: methods with their spaces, by the names of their rows.
        budget: how long summaries are.
        make: makes a space by its name.
        settings: what the classes of methods take, by method.
        leaves_out: whether methods whose space cannot be made are left out; otherwise it raises.

    Returns:
        Those that this model can run, and why it cannot run the others, by row.
    """
    spaces = dict[SpaceName | None, SentenceSpace | None]({None: None})
    systems, refused = dict[str, System](), dict[str, ValueError]()
    for row, (method, name) in rows.items():
        try:
            if name is not None and name not in spaces:
                spaces[name] = make(name)
        except ValueError as error:
            if not leaves_out:
                raise
            refused[row] = error
            continue
        try:
            system = System(make_summarizer(method, settings.get(method)), spaces[name])
            system.summarize(Document.read("document", TRIAL), budget, 0)
        except ValueError as error:
            refused[row] = error
        else:
            systems[row] = system
    return systems, refused


def _by_row(methods: list[str]) -> dict[str, tuple[str, SpaceName | None]]:
    """List methods with their spaces by the names of their rows."""
    chosen = choose_methods(methods)
    return {one if space is None else f"{one}/{space}": (one, space) for one, space in chosen}


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
        name = name_of_words([t for one in record.references for t in one], self.stemmer)
        self.words_name = max(self.words_name, name, key=len)
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


def _words_of(records: Iterable[Record]) -> set[str]:
    """Collect the words of documents and of their summaries."""
    texts = (
        text
        for record in records
        for text in (*record.document.sentences, *(s for r in record.references for s in r))
    )
    return {word for text in texts for word in rouge_words(text)}


def _without_nan(value: Any) -> Any:
    """Replace what is not defined by null."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
