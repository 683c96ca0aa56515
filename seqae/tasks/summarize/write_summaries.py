"""`seqae summarize`: documents to summaries, with their evidence."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch

import seqae
from seqae.component import check_seed
from seqae.data.sentences.cleaning import check_language
from seqae.data.sources.records import Counts
from seqae.files import check_output, output_file
from seqae.tasks.summarize.choices import (
    SpaceName,
    check_space,
    make_budget,
    make_space,
    make_summarizer,
)
from seqae.tasks.summarize.documents import (
    Reading,
    check_documents,
    describe_left_out,
    read_records,
)
from seqae.terminal import progress_bar, visible


def summarize(
    model: str,
    file: str,
    method: str = "centroid",
    sentences: int | None = None,
    words: int | None = None,
    bytes: int | None = None,  # noqa: A002 - the name of the option
    ratio: float | None = None,
    space: SpaceName = "latent",
    settings: dict[str, Any] | None = None,
    output: str | None = None,
    with_document: bool = False,
    column: str = "document",
    split: bool = False,
    language: str = "en",
    train_file: str | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Summarize documents, one after the other.

    Example:
        seqae summarize runs/seqae/RUN book.txt --method mmr --sentences 10
        seqae summarize runs/seqae/RUN news.jsonl --words 50 --output summaries.jsonl

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        file: JSON lines with `document`, a text or a list of sentences or reviews; a table (.csv,
            .tsv, .parquet, .arrow) with that column; or a text, which is one document. `-` is
            standard input, JSON lines if it begins with an object. Blank documents are left out.
        method: sentences as they are by `centroid`, `mmr`, `clusters` or `medoid`; sentences that
            the model writes by `mean`, `coop`, `codes`, `reconstruct`, `shorten` or, if it was
            trained on pairs, `supervised`; or one of the baselines `lead`, `prefix`, `random`,
            `textrank`, `lexrank`, `luhn`, `sumbasic`, `lsa`.
        sentences: most sentences of a summary; 3 if no length is given.
        words: most words of a summary, instead.
        bytes: most bytes of a summary, instead.
        ratio: most words of a summary as a share of those of the document, instead.
        space: what sentences are compared in: the `latent` of the model, `tfidf`, or
            `word_vectors`.
        settings: of the method, by name, as JSON: `{"relevance": 0.5}`.
        output: a .jsonl file for `file`, `line`, `summary`, and its `sentences` with their
            `evidence`, the indices of the sentences of the document that each stands for; by
            default the summaries are printed.
        with_document: also write the `document` as the list of sentences that the evidence counts;
            needs an output.
        column: the name of the column.
        split: also cut the texts of a list into sentences.
        language: whose rules cut texts into sentences, as ISO 639-1 code; those of `en` also know
            the full stops of other scripts.
        train_file: sentences to learn word vectors from; by default those of the model's training.
        seed: of all random draws.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
    """
    check_output(output, (".jsonl",), [file, train_file])
    if with_document and output is None:
        raise ValueError(
            "`with_document` must be given with an output, but `output` is none instead. Add "
            "`--output FILE.jsonl`."
        )
    seed = check_seed(seed)
    check_language("language", language)
    budget = make_budget(sentences, words, bytes, ratio)
    summarizer = make_summarizer(method, settings)
    check_space(method, space, train_file)
    reading = Reading(column, None, split, language)
    check_documents(file, reading)
    loaded = seqae.load(model, device)
    read_in = make_space(space, loaded, model, train_file, seed) if summarizer.needs else None
    generator = torch.Generator().manual_seed(seed)
    counts = Counts()

    def rows() -> Iterator[dict[str, Any]]:
        with progress_bar("summarizing", None) as advance:
            for record in read_records(file, reading, counts):
                summary = summarizer.summarize(record.document, read_in, budget, generator)
                advance(1)
                row: dict[str, Any] = {"file": record.file, "line": record.number}
                row["summary"] = summary.text
                row["sentences"] = [
                    {"text": sentence.text, "evidence": list(sentence.evidence)}
                    for sentence in summary.sentences
                ]
                if with_document:
                    row["document"] = list(record.document.sentences)
                yield row

    if output is None:
        for row in rows():
            print(visible(row["summary"]))
    else:
        with output_file(output) as written:
            for row in rows():
                written.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        documents = f"{counts.kept:,} document{'s' * (counts.kept != 1)}"
        print(f"seqae: summaries of {documents}: {visible(output)}", file=sys.stderr)
    if left_out := describe_left_out(counts):
        print(f"seqae: {left_out}", file=sys.stderr)
