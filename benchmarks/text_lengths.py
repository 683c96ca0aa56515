"""Measure time and memory of texts in stretches, which must grow no faster than the texts.

    python benchmarks/text_lengths.py [--output benchmarks/results/text_lengths.json]
    python benchmarks/text_lengths.py --model runs/long/bundle --words 125 500 2000

Each length has a process of its own, which encodes and decodes texts of so many words, made from
the sentences of `speeches`, and says how much memory that took beyond what the loaded model had.
Time is that of the processor, the median of several texts after one to warm up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from driver import benchmark_parser, report

import seqae
from seqae.data.builtin import load_builtin

MEBIBYTE = 2**20


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--model", default="demo", help="a bundle, the folder of a run, or `demo`")
    parser.add_argument("--words", type=int, nargs="+", default=[125, 250, 500, 1000, 2000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.model, args.worker, args.repeats)))
        return
    result = []
    for words in args.words:
        options = ["--model", args.model, "--repeats", str(args.repeats), "--worker", str(words)]
        command = [sys.executable, __file__, *options]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result.append(json.loads(output.splitlines()[-1]))
    rows = [
        {
            "words": f"{measured['words']:,}",
            "tokens": f"{measured['tokens']:,}",
            "latents": measured["latents"],
            **{
                f"{part}, ms (a word, µs)": f"{seconds * 1e3:.1f} "
                f"({seconds / measured['words'] * 1e6:.0f})"
                for part in ("encode", "decode")
                for seconds in [measured[part]]
            },
            "memory": f"{measured['memory'] / MEBIBYTE:.1f} MiB",
        }
        for measured in result
    ]
    report(rows, result, args.output)


def measure(bundle: str, words: int, repeats: int) -> dict[str, Any]:
    """Encode and decode texts of so many words in this process."""
    torch.set_num_threads(1)
    model = seqae.load(bundle)
    vocabulary = itertools.cycle(" ".join(load_builtin("speeches")).split())
    texts = [" ".join(itertools.islice(vocabulary, words)) for _ in range(repeats)]
    model.decode_long(model.encode_long("the first sentence takes longer"))
    before = peak()
    encoded = [model.encode_long(text) for text in texts[:1]]
    return {
        "words": words,
        "tokens": model.lengths(texts[0]),
        "latents": len(encoded[0].mask),
        "encode": median_of(model.encode_long, texts),
        "decode": median_of(model.decode_long, [model.encode_long(text) for text in texts]),
        "memory": peak() - before,
    }


def median_of(call: Callable[[Any], Any], inputs: list[Any]) -> float:
    """Return the median of the processor's seconds."""
    seconds = []
    for value in inputs:
        started = time.process_time()
        call(value)
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def peak() -> int:
    """Return the most bytes that this process has had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
