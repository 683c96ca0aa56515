"""How fast batches come from a stream, beside those of a corpus that is tokenised already.

    python benchmarks/stream.py [--output benchmarks/results/stream.json]

Each way takes as many sentences as the text has, in a fresh process, one way after the other in
each round; the time counts from when the loader is made. The text is a file, the same packed, and
the same in 64 files; the corpus is what was tokenised of it before. Memory is that of the process
and its workers at the end, what they share counted once (PSS), above that of a process with the
same imports and tokenizer that gets no batch.
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
from driver import parser, ratios, report, shown
from text import write_sentences

from seqae.batch import Batch
from seqae.data.config import CorpusConfig
from seqae.data.corpus import CorpusWriter, TokenizedCorpus
from seqae.data.preprocessing import Pipeline
from seqae.data.sampler import RoundedPadding, TokenBudgetBatchSampler
from seqae.data.streaming.shard import StreamOptions
from seqae.data.streaming.stream import TokenStream
from seqae.data.tokenizers import BPETokenizer, Tokenizer

BATCH_TOKENS = 3072
FILES = 64
KINDS = ("one file", "packed", f"{FILES} files")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sentences", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--program", nargs=4, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.program:
        folder, kind, workers, sentences = given.program
        print(json.dumps(load(Path(folder), kind, int(workers), int(sentences))))
        return
    ways = [(kind, workers) for kind in ("corpus", *KINDS) for workers in (0, 2)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.sentences)
        alone = run(folder, "nothing", 0, 0)["memory"]
        rounds = []
        for number in range(given.rounds):
            rounds.append([run(folder, *way, given.sentences) for way in ways])
            print(f"round {number + 1}/{given.rounds}", file=sys.stderr)
    rows, result = [], []
    first = [found[0]["sentences_per_second"] for found in rounds]
    for (kind, workers), runs in zip(ways, zip(*rounds, strict=True), strict=True):
        speeds = [found["sentences_per_second"] for found in runs]
        found = {
            "program": f"{kind}, {workers} workers",
            "sentences_per_second": statistics.median(speeds),
            "tokens_per_second": statistics.median(found["tokens_per_second"] for found in runs),
            "seconds_to_first_batch": statistics.median(f["seconds_to_first"] for f in runs),
            "over_corpus": ratios(speeds, first),
            "padding_share": runs[0]["padding_share"],
            "memory_above_nothing": runs[0]["memory"] - alone,
        }
        result.append(found)
        rows.append(
            {
                "batches from": found["program"],
                "sentences/s": f"{found['sentences_per_second']:,.0f}",
                "tokens/s": f"{found['tokens_per_second']:,.0f}",
                "against the corpus": shown(found["over_corpus"]),
                "first batch": f"{found['seconds_to_first_batch']:.2f} s",
                "padding": f"{found['padding_share']:.2%}",
                "memory": f"{found['memory_above_nothing'] / 2**20:.0f} MiB",
            }
        )
    report(rows, {"sentences": given.sentences, "ways": result}, given.output)


def write(folder: Path, sentences: int) -> None:
    """The text in its three forms, the trained tokenizer and the tokenised corpus."""
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
    """Batches without an end."""
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


def run(folder: Path, kind: str, workers: int, sentences: int) -> dict[str, Any]:
    """As `load`, in a fresh process."""
    told = [str(folder), kind, str(workers), str(sentences)]
    command = [sys.executable, __file__, "--program", *told]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def load(folder: Path, kind: str, workers: int, sentences: int) -> dict[str, Any]:
    """Take batches until there are so many sentences."""
    torch.set_num_threads(1)
    process, seen, tokens, positions, first = psutil.Process(), 0, 0, 0, 0.0
    if kind == "nothing":
        open_pipeline(folder, kind)
        return {"memory": process.memory_full_info().pss}
    started = time.perf_counter()
    source = batches(folder, kind, workers)  # held, as its workers end with it
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
