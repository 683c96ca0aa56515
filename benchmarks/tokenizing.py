"""Compare the speed of tokenizing with that of the `tokenizers` library, at equal ids.

    python benchmarks/tokenizing.py [--output benchmarks/results/tokenizing.json]

Each kind is trained on a built-in corpus and encodes it again and again, with one thread of the
library (preparation runs a process per core), in turn with the library's `encode_batch_fast`
followed by the conversion of its result to an array. `new` starts with an empty word cache, like a
tokenizer that was just loaded; `known` has seen all of the text before. A large corpus is between
the two.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Callable

import numpy as np
import tokenizers as hf
from driver import Program, Turns, benchmark_parser, format_ratio, ratios, report, run_in_turn

from seqae.data.builtin import builtin_names, load_builtin
from seqae.data.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordTokenizer,
)

KINDS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": ByteTokenizer,
    "characters": CharacterTokenizer,
    "words": WordTokenizer,
    "words, basic_english": lambda: WordTokenizer(normalization="basic_english"),
    "BPE 2,000": BPETokenizer,
    "BPE 16,000": lambda: BPETokenizer(vocab_size=16_000),
    "Unigram 2,000": UnigramTokenizer,
    "Unigram 16,000": lambda: UnigramTokenizer(vocab_size=16_000),
}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--corpora", nargs="+", choices=builtin_names(), default=builtin_names())
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--more_threads", type=int, default=2, help="of the library, in addition to one"
    )
    args = parser.parse_args()
    rows, result = [], []
    for corpus in args.corpora:
        texts = load_builtin(corpus)
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        for kind in args.kinds:
            tokenizer = KINDS[kind]()
            tokenizer.train(texts)
            content = tokenizer.to_json()
            speeds = run_in_turn(
                {
                    "library": Program(library, (content, corpus, 1)),
                    "library, more threads": Program(library, (content, corpus, args.more_threads)),
                    "new": Program(new, (content, corpus)),
                    "known": Program(known, (content, corpus)),
                },
                args.seconds,
                args.rounds,
            )
            medians = {name: statistics.median(rounds) for name, rounds in speeds.items()}
            result.append(
                {
                    "corpus": corpus,
                    "kind": kind,
                    "megabytes": megabytes,
                    "sentences_per_second": medians,
                    "new_over_library": ratios(speeds["new"], speeds["library"]),
                    "known_over_library": ratios(speeds["known"], speeds["library"]),
                    "rounds": speeds,
                }
            )
            rows.append(
                {
                    "corpus": corpus,
                    "kind": kind,
                    **{
                        f"{name}: sentences/s (MB/s)": f"{speed:,.0f} "
                        f"({speed * megabytes / len(texts):.1f})"
                        for name, speed in medians.items()
                    },
                    "new over library": format_ratio(result[-1]["new_over_library"]),
                    "known over library": format_ratio(result[-1]["known_over_library"]),
                }
            )
    report(rows, result, args.output)


def library(turns: Turns, content: str, corpus: str, threads: int) -> None:
    """Encode with `tokenizers` alone, 8192 texts at a time."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # read when the library first encodes a batch
    tokenizer, texts = hf.Tokenizer.from_str(content), load_builtin(corpus)
    turns.wait()
    while True:
        for start in range(0, len(texts), 8192):
            encodings = tokenizer.encode_batch_fast(texts[start : start + 8192])
            ids = [encoding.ids for encoding in encodings]
            np.array([len(row) for row in ids])
            np.array([*itertools.chain.from_iterable(ids)], np.uint16)
        turns.done(len(texts))


def new(turns: Turns, content: str, corpus: str) -> None:
    """Encode with a tokenizer whose word cache is cleared each time."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    tokenizer, texts = Tokenizer.from_json(content), load_builtin(corpus)
    turns.wait()
    while True:
        tokenizer._tables.clear()
        tokenizer.encode_to_arrays(texts)
        turns.done(len(texts))


def known(turns: Turns, content: str, corpus: str) -> None:
    """Encode with one tokenizer that keeps its word cache."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    tokenizer, texts = Tokenizer.from_json(content), load_builtin(corpus)
    tokenizer.encode_to_arrays(texts)
    turns.wait()
    while True:
        tokenizer.encode_to_arrays(texts)
        turns.done(len(texts))


if __name__ == "__main__":
    main()
