"""Compare the speed of `prepare`, from a text file to tokenised shards, with `tokenizers` alone.

    python benchmarks/preparing.py [--output benchmarks/results/preparing.json]

`library` is the library alone on as many cores: `encode_batch_fast` of the same tokenizer on the
same sentences, already in memory, 8,192 at a time; the result is discarded. `prepare` starts with
an empty cache: it reads and decodes the file, cleans, hashes, splits and tokenises, writes the
shards with their index, and measures them for the data report.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import tokenizers as hf
from driver import Program, Turns, benchmark_parser, format_ratio, ratios, report, run_in_turn
from text import sentences, write_sentences

from seqae.data.config import CorpusConfig
from seqae.data.prepared.cache import prepare
from seqae.data.tokenizers import BPETokenizer, Tokenizer, UnigramTokenizer, WordTokenizer

CHUNK = 8192
KINDS = {
    "BPE 2,000": lambda: BPETokenizer(2000),
    "BPE 16,000": lambda: BPETokenizer(16_000),
    "words": WordTokenizer,
    "Unigram 2,000": lambda: UnigramTokenizer(2000),
}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sentences", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    rows, result = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = write_sentences(folder / "text.txt", args.sentences)
        for kind in args.kinds:
            path = folder / "tokenizer.json"
            tokenizer = KINDS[kind]()
            tokenizer.train(sentences(100_000))
            tokenizer.save(path)
            programs = {
                "library": Program(library, (str(text), str(path), args.cores)),
                "prepare": Program(whole, (str(text), str(path), args.cores, str(folder))),
            }
            speeds = run_in_turn(programs, args.seconds, args.rounds)
            ratio = ratios(speeds["prepare"], speeds["library"])
            size = text.stat().st_size / args.sentences / 1e6
            rows.append(
                {
                    "tokenizer": kind,
                    **{
                        f"{program}, MB/s": f"{size * statistics.median(rounds):.1f}"
                        for program, rounds in speeds.items()
                    },
                    "prepare over library": format_ratio(ratio),
                }
            )
            result.append({"kind": kind, "sentences_per_second": speeds, "ratio": ratio})
    report(rows, result, args.output)


def library(turns: Turns, text: str, path: str, cores: int) -> None:
    """Encode sentences in memory with the library alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["RAYON_NUM_THREADS"] = str(cores)
    tokenizer = hf.Tokenizer.from_file(path)
    texts = Path(text).read_text(encoding="utf-8").splitlines()
    turns.wait()
    while True:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
            turns.done(len(chunk))


def whole(turns: Turns, text: str, path: str, cores: int, folder: str) -> None:
    """Prepare the file from scratch, again and again."""
    # As `seqae` does on Linux; the driver's method would start Python again for each worker.
    multiprocessing.set_start_method("fork", force=True)
    tokenizer = Tokenizer.load(path)
    cache = Path(folder) / "cache"
    settings = CorpusConfig(train=(text,), max_length=512)
    count = len(Path(text).read_bytes().splitlines())
    turns.wait()
    while True:
        shutil.rmtree(cache, ignore_errors=True)
        prepare(settings, tokenizer, cache, cores)
        turns.done(count)


if __name__ == "__main__":
    main()
