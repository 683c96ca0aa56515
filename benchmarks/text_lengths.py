"""Measure time and memory of texts in stretches, which must grow no faster than the texts.

    python benchmarks/text_lengths.py [--output benchmarks/results/text_lengths.json]
    python benchmarks/text_lengths.py --model runs/long/bundle --words 125 500 2000

Each length has a process of its own, which encodes and decodes texts of so many words, made from
the sentences of `speeches`, and says how much memory that took beyond what the loaded model had.
Time is that of the processor, the median of several texts after one to warm up. The line through
each, by least squares, has what every text costs and what a word adds; the exponent is the slope on
logarithmic axes, where 1 is linear and 2 quadratic.
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

import numpy as np
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
    report(rows, None, None)
    growth = {key: growth_of(result, key) for key in ("encode", "decode", "memory")}
    lines = [{"growth": key, **fit} for key, fit in growth.items()]
    report(lines, {"lengths": result, "growth": growth}, args.output)


def growth_of(result: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Fit a line, and a power, to what texts of each number of words took."""
    words = np.array([measured["words"] for measured in result], dtype=float)
    values = np.array([measured[key] for measured in result], dtype=float)
    slope, fixed = np.polyfit(words, values, 1)
    explained = np.corrcoef(words, values)[0, 1] ** 2
    exponent = np.polyfit(np.log(words), np.log(values), 1)[0]
    fit = {"a text": fixed, "a word": slope, "R²": explained, "exponent": exponent}
    return {name: float(f"{value:.3g}") for name, value in fit.items()}


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
