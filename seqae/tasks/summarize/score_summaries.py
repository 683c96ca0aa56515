"""`seqae summarize-eval`: summaries of all methods beside those of people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import seqae
from seqae.component import check_range, check_seed
from seqae.data.sentences.cleaning import check_language
from seqae.data.sources.records import Counts
from seqae.files import check_output, write_output
from seqae.summarizers.base import SentenceSpace
from seqae.summarizers.document import Budget, Document
from seqae.tasks.summarize.choices import (
    SpaceName,
    check_settings,
    check_train_file,
    choose_baseline,
    choose_methods,
    make_budget,
    make_space,
    make_summarizer,
    name_row,
)
from seqae.tasks.summarize.collect_scores import ORACLE, Scores, System, words_of
from seqae.tasks.summarize.documents import (
    Reading,
    check_documents,
    describe_left_out,
    read_records,
)
from seqae.tasks.summarize.log_summaries import check_wandb, log_summaries
from seqae.tasks.summarize.summary_table import show_summaries, show_table
from seqae.terminal import progress_bar, visible
from seqae.units import without_nan

TRIAL = "The cat sat on the mat. It was a warm day. A dog ran past the house."


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
            list of several; or a table with these columns. What lacks one of them is left out.
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
    baseline = choose_baseline(baseline, (*possible, ORACLE))
    asked = set(rows)
    if baseline != ORACLE:
        rows.setdefault(baseline, possible[baseline])
    check_settings(settings or {}, {method for method, _ in rows.values()})
    check_train_file(train_file, [space for _, space in rows.values()])
    reading = Reading(column, target_column, split, language)
    check_documents(file, reading)
    if wandb is not None:
        check_wandb()
    seen = None if seen_file is None else words_of(read_records(seen_file, reading))
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
    counts = Counts()
    with progress_bar("summarizing", None) as advance:  # a file may have less than the limit
        for record in islice(read_records(file, reading, counts), limit or None):
            scores.add(record, systems)
            advance(1)
    if left_out := describe_left_out(counts):
        notes.append(left_out)
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
        text = json.dumps(without_nan(content), ensure_ascii=False, indent=1, allow_nan=False)
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
    return {name_row(method, space): (method, space) for method, space in choose_methods(methods)}
