"""What planning an epoch's batches costs, and how much padding it leaves.

    python benchmarks/planning.py [--output benchmarks/results/planning.json]

Lengths are drawn, with replacement, from those of the built-in English corpora in words, bos and
eos counted. The padding of random batches with the same number of sentences stands beside.
"""

from __future__ import annotations

import time

import numpy as np
from driver import parser, report
from numpy.typing import NDArray

from seqae.data.batching import BatchPlan, plan_batches
from seqae.data.builtin import load_builtin


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sentences", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options.add_argument("--batch_tokens", type=int, nargs="+", default=[1024, 3072, 16384])
    given = options.parse_args()
    texts = load_builtin("wordnet-examples") + load_builtin("speeches")
    known = np.asarray([len(text.split()) + 2 for text in texts], dtype=np.int32)
    rng = np.random.default_rng(0)
    rows, result = [], []
    for sentences in given.sentences:
        lengths = rng.choice(known, sentences)
        for batch_tokens in given.batch_tokens:
            started = time.perf_counter()
            plan = plan_batches(lengths, batch_tokens, seed=0, epoch=0)
            seconds = time.perf_counter() - started
            random = BatchPlan(rng.permutation(sentences), plan.starts)
            found = {
                "sentences": sentences,
                "batch_tokens": batch_tokens,
                "batches": len(plan),
                "seconds": seconds,
                "padding_share": padding_share(lengths, plan),
                "padding_share_of_random_batches": padding_share(lengths, random),
            }
            result.append(found)
            rows.append(
                {
                    "sentences": f"{sentences:,}",
                    "batch_tokens": f"{batch_tokens:,}",
                    "batches": f"{len(plan):,}",
                    "planning, s": f"{seconds:.2f}",
                    "padding": f"{found['padding_share']:.2%}",
                    "of random batches": f"{found['padding_share_of_random_batches']:.0%}",
                }
            )
    report(rows, result, given.output)


def padding_share(lengths: NDArray[np.int32], plan: BatchPlan) -> float:
    """Share of a plan's positions that hold no token."""
    ordered = lengths[plan.order]
    longest = np.maximum.reduceat(ordered, plan.starts[:-1])
    positions = int((longest.astype(np.int64) * np.diff(plan.starts)).sum())
    return 1.0 - int(ordered.sum(dtype=np.int64)) / positions


if __name__ == "__main__":
    main()
