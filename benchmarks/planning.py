"""Measure the planning of an epoch's batches: its time and memory, and its padding and shapes.

    python benchmarks/planning.py [--output benchmarks/results/planning.json]

Lengths are drawn with replacement from those of the built-in English corpora in words, bos and eos
counted. Memory is the peak of numpy while planning, without the lengths, in a second run, because
tracing slows it down. A shape is a batch's rows and padded length; rounding 8/8 makes both
multiples of 8. For comparison the table has the padding of random batches of the same sizes.
"""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
from driver import benchmark_parser, report
from numpy.typing import NDArray

from seqae.data.batches.batching import BatchPlan, Rounding, plan_batches
from seqae.data.builtin import load_builtin

MEGABYTE = 10**6


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sentences", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--batch_tokens", type=int, nargs="+", default=[1024, 3072, 16384])
    parser.add_argument("--rounding", type=int, nargs="+", default=[1, 8])
    args = parser.parse_args()
    texts = load_builtin("wordnet-examples") + load_builtin("speeches")
    corpus_lengths = np.asarray([len(text.split()) + 2 for text in texts], dtype=np.int32)
    rng = np.random.default_rng(0)
    rows, result = [], []
    for sentences in args.sentences:
        lengths = rng.choice(corpus_lengths, sentences)
        random_order = rng.permutation(sentences)
        for batch_tokens in args.batch_tokens:
            for multiple in args.rounding:
                rounding = Rounding(multiple, multiple, int(corpus_lengths.max()))
                started = time.perf_counter()
                plan = plan_batches(lengths, batch_tokens, seed=0, epoch=0, rounding=rounding)
                seconds = time.perf_counter() - started
                tracemalloc.start()
                plan_batches(lengths, batch_tokens, seed=0, epoch=0, rounding=rounding)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                random = BatchPlan(random_order, plan.begins, plan.ends)
                shapes = shapes_of(lengths, plan, rounding)
                measured = {
                    "sentences": sentences,
                    "batch_tokens": batch_tokens,
                    "round_length": multiple,
                    "round_rows": multiple,
                    "batches": len(plan),
                    "seconds": seconds,
                    "peak_bytes": peak,
                    "shapes": len(np.unique(shapes, axis=0)),
                    "padding_share": padding_share(lengths, shapes),
                    "padding_share_of_random_batches": padding_share(
                        lengths, shapes_of(lengths, random, rounding)
                    ),
                }
                result.append(measured)
                rows.append(
                    {
                        "sentences": f"{sentences:,}",
                        "batch_tokens": f"{batch_tokens:,}",
                        "rounding": f"{multiple}/{multiple}",
                        "batches": f"{len(plan):,}",
                        "planning, s": f"{seconds:.2f}",
                        "peak, MB": f"{peak / MEGABYTE:.0f}",
                        "shapes": measured["shapes"],
                        "padding": f"{measured['padding_share']:.2%}",
                        "of random batches": f"{measured['padding_share_of_random_batches']:.0%}",
                    }
                )
    report(rows, result, args.output)


def shapes_of(lengths: NDArray[np.int32], plan: BatchPlan, rounding: Rounding) -> NDArray[np.int64]:
    """List rows and padded length of each batch, in the order of its sentences: (batches, 2)."""
    begins = np.sort(plan.begins)
    longest = np.maximum.reduceat(lengths[plan.order], begins).astype(np.int64)
    rows = np.diff(begins, append=len(plan.order))
    return np.stack([rows, rounding.padded(longest)], axis=1)


def padding_share(lengths: NDArray[np.int32], shapes: NDArray[np.int64]) -> float:
    """Compute the share of all positions that hold no token."""
    return 1.0 - int(lengths.sum(dtype=np.int64)) / int(shapes.prod(axis=1).sum())


if __name__ == "__main__":
    main()
