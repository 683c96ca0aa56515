"""Read a text from S3 on loopback and from the disk, in turns, and print the ratio.

    python benchmarks/remote.py --rounds 7 --megabytes 64

The server is moto's, in a process of its own, which holds the text in memory; it is far slower than
S3 in bandwidth and far quicker to begin. `read` only decodes lines; `stream` also cleans, tokenises
and batches them, as a training does; `parquet` reads one of two columns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, environment_of, serve_s3

from seqae.data.config import DataConfig
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.sources.open import open_source
from seqae.data.streaming.stream import TokenStream
from seqae.data.tokenizers import ByteTokenizer

WORDS = (
    *("the", "a", "cat", "dog", "house", "river", "sees", "likes", "finds", "small", "red", "old"),
    *("walk", "stone", "by", "to", "and", "of"),
)


def write_lines(path: Path, megabytes: int) -> int:
    """Write sentences of about 50 bytes; return their number."""
    choose, count, size = random.Random(0), 0, 0
    with path.open("w") as file:
        while size < megabytes << 20:
            line = " ".join(choose.choices(WORDS, k=11)) + "\n"
            size += file.write(line)
            count += 1
    return count


def read(name: str) -> int:
    """Read all lines of a source."""
    return sum(len(block.texts) for block in open_source(name, "train").blocks())


def stream(name: str, batches: int = 1500) -> int:
    """Take batches of a stream in this process, as a training without loader workers does."""
    config = DataConfig(train=name, streaming=True, max_length=128, batch_tokens=4096)
    config.check()
    pipeline = Pipeline(config.corpus_config, ByteTokenizer())
    tokens = TokenStream(config.open_sources()["train"], pipeline, config.stream_options)
    loader = tokens.loader()
    return sum(len(tokens.consumed(item).lengths) for item in islice(iter(loader), batches))


def timed(call: Callable[[str], int], name: str) -> tuple[float, int]:
    """Return seconds and what was counted."""
    begin = time.perf_counter()
    count = call(name)
    return time.perf_counter() - begin, count


def main() -> None:
    """Measure, and print a table and JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serve_s3() as proxy:
        # Past the proxy of the tests, which would copy all of it once more.
        os.environ.update(environment_of(f"http://127.0.0.1:{proxy.port}"))
        import fsspec

        text, table = Path(scratch) / "text.txt", Path(scratch) / "text.parquet"
        write_lines(text, options.megabytes)
        lines = text.read_text().splitlines()
        pq.write_table(pa.table({"text": lines, "other": lines[::-1]}), table, row_group_size=10**5)
        del lines
        store = fsspec.filesystem("s3")
        for path in (text, table):
            store.put_file(str(path), f"{BUCKET}/{path.name}")
        cases = {"read": (read, text), "stream": (stream, text), "parquet": (read, table)}
        results = {}
        for what, (call, path) in cases.items():
            near, far = str(path), f"s3://{BUCKET}/{path.name}"
            timed(call, near), timed(call, far)  # warm both
            rounds = []
            for _ in range(options.rounds):
                (here, count), (there, again) = timed(call, near), timed(call, far)
                assert count == again, (what, count, again)
                rounds.append((here, there, count))
            ratios = [here / there for here, there, _ in rounds]
            near_rate = statistics.median(count / here for here, _, count in rounds)
            far_rate = statistics.median(count / there for _, there, count in rounds)
            results[what] = {
                "sentences/s from the disk": round(near_rate),
                "sentences/s from S3": round(far_rate),
                "ratio": round(statistics.median(ratios), 3),
                "from": round(min(ratios), 3),
                "to": round(max(ratios), 3),
            }
            print(what, json.dumps(results[what]), flush=True)


if __name__ == "__main__":
    main()
