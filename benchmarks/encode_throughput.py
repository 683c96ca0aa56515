"""Measure what `encode` costs beside the bare model: tokenizing, sorting, padding, copies.

    python benchmarks/encode_throughput.py demo runs/fluent --output \
        benchmarks/results/encode_throughput.json

All encode the same test sentences on one thread, in turn. `bare` gives the model the very batches
that `encode` makes, which were made before; `sentence-transformers` is the wrapper of
seqae.interchange. Seconds are those of the processor; a ratio compares two of one round, and the
table has medians, with the smallest and the largest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from driver import benchmark_parser, report

import seqae
from seqae.bundle.codec import BATCH_TOKENS, cut_rows
from seqae.data.batches.padding import like_length_batches
from seqae.interchange import sentence_transformer
from seqae.tasks.evaluate.texts import read_split


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="+", help="bundles or folders of runs")
    parser.add_argument("--sentences", type=int, default=2000, help="test sentences")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(where, args.sentences, args.rounds) for where in args.models]
    report([shown(row) for row in rows], rows, args.output)


def measure(where: str, sentences: int, rounds: int) -> dict[str, Any]:
    """Time the three in turn, after one round that warms up."""
    model = seqae.load(where)
    texts = read_split(model, Path(where), "test").inputs[:sentences]
    autoencoder, tokenizer = model.autoencoder, model.tokenizer
    encoded = tokenizer.encode([model.normalization(text) for text in texts])
    encoded = cut_rows(encoded, autoencoder.max_length, tokenizer.eos_id)
    batches = [
        batch for _, batch in like_length_batches(encoded, tokenizer.vocabulary, BATCH_TOKENS, None)
    ]
    wrapped = sentence_transformer(model)

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                autoencoder.encode(batch)

    programs: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "encode": lambda: model.encode(texts, "truncate"),
        "sentence-transformers": lambda: wrapped.encode(texts, batch_size=256),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    names = [*programs]
    for turn in range(rounds + 1):
        for name in names[turn % 3 :] + names[: turn % 3]:  # who comes first has a cleaner memory
            start = time.process_time()
            programs[name]()
            seconds[name].append(time.process_time() - start)
    times = {name: taken[1:] for name, taken in seconds.items()}
    shares = {
        name: [bare / own for bare, own in zip(times["bare"], taken, strict=True)]
        for name, taken in times.items()
    }
    return {
        "model": Path(where).name,
        "sentences": len(texts),
        "seconds": times,
        "share_of_bare": shares,
    }


def shown(row: dict[str, Any]) -> dict[str, str]:
    """Format a row of the table."""
    cells = {"model": row["model"], "sentences": f"{row['sentences']:,}"}
    cells["bare, sentences/s"] = (
        f"{row['sentences'] / statistics.median(row['seconds']['bare']):,.0f}"
    )
    for name in ("encode", "sentence-transformers"):
        share = row["share_of_bare"][name]
        cells[f"{name} / bare"] = (
            f"{statistics.median(share):.2f} [{min(share):.2f}, {max(share):.2f}]"
        )
    return cells


if __name__ == "__main__":
    main()
