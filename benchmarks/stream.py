"""Compare the speed of batches from a stream with that of a tokenised corpus.

    python benchmarks/stream.py [--output benchmarks/results/stream.json]

Each way reads as many sentences as the text has, in a fresh process, one way after the other in
each round; the time starts when the loader is made. The text is one file, the same compressed, and
the same in 64 files; the corpus was tokenised from it before. Memory is that of the process and its
workers at the end, shared pages counted once (PSS), above that of a process with the same imports
and tokenizer that reads no batch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from driver import benchmark_parser, format_ratio, ratios, report
from text import write_sentences

from seqae.batch import Batch
from seqae.data.batches.sampler import RoundedPadding, TokenBudgetBatchSampler
from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.streaming.shard import StreamOptions
from seqae.data.streaming.stream import TokenStream
from seqae.data.tokenizers import BPETokenizer, Tokenizer

BATCH_TOKENS = 3072
FILES = 64
KINDS = ("one file", "packed", f"{FILES} files")


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.program:
        folder, kind, workers, sentences = args.program
        print(json.dumps(load(Path(folder), kind, int(workers), int(sentences))))
        return
    ways = [(kind, workers) for kind in ("corpus", *KINDS) for workers in (0, 2)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, args.sentences)
        alone = run_fresh(folder, "nothing", 0, 0)["memory"]
        rounds = []
        for number in range(args.rounds):
            rounds.append([run_fresh(folder, *way, args.sentences) for way in ways])
            print(f"round {number + 1}/{args.rounds}", file=sys.stderr)
    rows, result = [], []
    corpus_speeds = [runs[0]["sentences_per_second"] for runs in rounds]
    for (kind, workers), runs in zip(ways, zip(*rounds, strict=True), strict=True):
        speeds = [run["sentences_per_second"] for run in runs]
        measured = {
            "program": f"{kind}, {workers} workers",
            "sentences_per_second": statistics.median(speeds),
            "tokens_per_second": statistics.median(run["tokens_per_second"] for run in runs),
            "seconds_to_first_batch": statistics.median(run["seconds_to_first"] for run in runs),
            "over_corpus": ratios(speeds, corpus_speeds),
            "padding_share": runs[0]["padding_share"],
            "memory_above_nothing": runs[0]["memory"] - alone,
        }
        result.append(measured)
        rows.append(
            {
                "batches from": measured["program"],
                "sentences/s": f"{measured['sentences_per_second']:,.0f}",
                "tokens/s": f"{measured['tokens_per_second']:,.0f}",
                "against the corpus": format_ratio(measured["over_corpus"]),
                "first batch": f"{measured['seconds_to_first_batch']:.2f} s",
                "padding": f"{measured['padding_share']:.2%}",
                "memory": f"{measured['memory_above_nothing'] / 2**20:.0f} MiB",
            }
        )
    report(rows, {"sentences": args.sentences, "ways": result}, args.output)


def write(folder: Path, sentences: int) -> None:
    """Write the text in its three forms, the trained tokenizer and the tokenised corpus."""
    text = write_sentences(folder / "text.txt", sentences)
    with text.open("rb") as file:
        lines = file.readlines()
    (folder / "text.txt.gz").write_bytes(gzip.compress(b"".join(lines), compresslevel=6))
    (folder / "files").mkdir()
    for number in range(FILES):
        (folder / "files" / f"{number}.txt").write_bytes(b"".join(lines[number::FILES]))
    tokenizer = BPETokenizer(vocab_size=8000)
    tokenizer.train(line.decode().strip() for line in lines[:100_000])
    tokenizer.save(folder / "tokenizer.json")
    pipeline = open_pipeline(folder, "one file")
    first, _ = tokenizer.encode_to_arrays(["a"])
    writer = CorpusWriter(folder / "corpus", first.dtype, tokenizer.pad_id)
    for source in pipeline.config.open_sources()["train"]:
        for block in source.blocks():
            writer.append(pipeline(block, "train").rows["train"])
    writer.finish()


def open_pipeline(folder: Path, kind: str) -> Pipeline:
    names = dict(zip(KINDS, ("text.txt", "text.txt.gz", "files"), strict=True))
    train = (str(folder / names.get(kind, "text.txt")),)
    settings = CorpusConfig(train=train, val_percent=0, test_percent=0, max_length=512)
    config = BPETokenizer(vocab_size=8000).config()
    return Pipeline(settings, Tokenizer.load(folder / "tokenizer.json", config))


def batches(folder: Path, kind: str, workers: int) -> Iterator[Batch]:
    """Yield batches without an end."""
    if kind == "corpus":
        corpus = TokenizedCorpus(folder / "corpus")
        sampler = TokenBudgetBatchSampler(corpus.lengths, BATCH_TOKENS)
        loader: Any = torch.utils.data.DataLoader(
            corpus,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=RoundedPadding(sampler.rounding, corpus.pad_id),
            num_workers=workers,
        )
        while True:
            yield from loader
            sampler.set_epoch(sampler.epoch + 1)
    pipeline = open_pipeline(folder, kind)
    sources = pipeline.config.open_sources()["train"]
    stream = TokenStream(
        sources, pipeline, StreamOptions(BATCH_TOKENS, seed=0, shards=16, shuffle_buffer=10_000)
    )
    for item in stream.loader(num_workers=workers):
        yield stream.consumed(item)


def run_fresh(folder: Path, kind: str, workers: int, sentences: int) -> dict[str, Any]:
    """Call `load` in a fresh process."""
    arguments = [str(folder), kind, str(workers), str(sentences)]
    command = [sys.executable, __file__, "--program", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def load(folder: Path, kind: str, workers: int, sentences: int) -> dict[str, Any]:
    """Read batches until they have `sentences` sentences."""
    torch.set_num_threads(1)
    process, seen, tokens, positions, first = psutil.Process(), 0, 0, 0, 0.0
    if kind == "nothing":
        open_pipeline(folder, kind)
        return {"memory": process.memory_full_info().pss}
    started = time.perf_counter()
    source = batches(folder, kind, workers)  # kept alive: its workers end with it
    for batch in source:
        first = first or time.perf_counter() - started
        seen += len(batch)
        tokens += int(batch.lengths.sum())
        positions += batch.token_ids.numel()
        if seen >= sentences:
            break
    seconds = time.perf_counter() - started
    processes = [process, *process.children()]
    return {
        "sentences_per_second": seen / seconds,
        "tokens_per_second": tokens / seconds,
        "seconds_to_first": first,
        "padding_share": 1 - tokens / positions,
        "memory": sum(each.memory_full_info().pss for each in processes),
    }


if __name__ == "__main__":
    main()
