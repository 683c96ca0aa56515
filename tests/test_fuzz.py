"""Malformed files: no traceback, no hang, and nothing lost without a word.

python tests/test_fuzz.py SEED FILES    # another round, or a longer one
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from seqae.data.sources.formats.lines import BYTE_ORDER_MARK
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Counts, ReadOptions

FILES = 600
SECONDS = 5.0  # for one file; the slowest of 20,000 took 0.2
MAX_LINE_BYTES = 2000

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
UNPACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(),
}
ROWS = [
    {
        "id": str(n),
        "text": f'row {n}, "so"\nit is' if n % 9 == 0 else f"row {n} é 文 " * (n % 5),
        "tag": f"t{n % 3}",
    }
    for n in range(120)
]
# What is put in: what means something to one of the formats, and what means nothing anywhere.
PIECES = [b"\0", b'"', b'","', b"\n", b"\r", b"\r\n", b",", b"\t", b"{", b"[", b"\\", b"\xff"]
PIECES += [b"\xed\xa0\x80", b"\xe2\x80\xa8", BYTE_ORDER_MARK, b"\\ud800", b'{"text": null}\n']
PIECES += [b"x" * 3000, b'"' + b"y\n" * 1500, b"[" * 3000, b'\n"text","id"\n']


def one_line(text: str) -> str:
    """What fits a TSV as it is, where a quote is text."""
    return text.replace("\n", " ").replace('"', "'")


def make_files() -> dict[str, bytes]:
    """A good file of each format, by its suffix."""
    table = pa.Table.from_pylist(ROWS)
    table = table.set_column(2, "tag", table["tag"].combine_chunks().dictionary_encode())
    files = {
        ".txt": "".join(row["text"] + "\n" for row in ROWS).encode(),
        ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        ".json": json.dumps(ROWS, indent=1).encode(),
    }
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ROWS[0], delimiter=delimiter)
        writer.writeheader()
        rows = (
            ROWS if suffix == ".csv" else [{**row, "text": one_line(row["text"])} for row in ROWS]
        )
        writer.writerows(rows)
        files[suffix] = text.getvalue().encode()
    for codec in ("none", "snappy", "zstd", "gzip"):
        stream = io.BytesIO()
        pq.write_table(table, stream, compression=codec, row_group_size=50)
        files[f".{codec}.parquet"] = stream.getvalue()
    for codec in (None, "lz4", "zstd"):
        for make in (pa.ipc.new_file, pa.ipc.new_stream):
            stream = io.BytesIO()
            options = pa.ipc.IpcWriteOptions(compression=codec)
            with make(stream, table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=50)
            files[f".{make.__name__}-{codec}.arrow"] = stream.getvalue()
    return files


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Spoil a file in one place, or in a few."""
    spoilt = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(len(spoilt) + 1)
        if chance.random() < 0.3:  # what formats begin and end with decides how all is read
            at = chance.choice([min(at, 40), max(0, len(spoilt) - at % 60)])
        kind = chance.randrange(8)
        if kind == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            spoilt[at : at + 8] = chance.randbytes(8)
        elif kind == 2:
            del spoilt[at : at + chance.choice([1, 2, 10, 100])]
        elif kind == 3:
            spoilt[at:at] = spoilt[at : at + chance.choice([1, 10, 100, 1000])]
        elif kind == 4 and chance.random() < 0.5:
            del spoilt[at:]
        elif kind == 5:  # swap the first two lines
            first, _, rest = bytes(spoilt).partition(b"\n")
            second, _, rest = rest.partition(b"\n")
            spoilt = bytearray(b"\n".join([second, first, rest]))
        else:
            spoilt[at:at] = chance.choice(PIECES)
    return bytes(spoilt)


def read(path: Path, errors: str) -> tuple[Counts, list[str], int] | str:
    """What became of a file: counts, texts and the last line; or the line that refuses it."""
    options = ReadOptions(errors=errors, column="text", max_line_bytes=MAX_LINE_BYTES)
    counts, texts, line = Counts(), [], 0
    try:
        for block in open_source(str(path), "data.train", options, "data.reading.").blocks():
            counts.add(block.counts)
            texts += block.texts
            assert len(block.texts) == len(block.numbers) == block.counts.kept
            line = block.end.get("line", 0)
    except (ValueError, OSError) as error:
        return str(error)
    return counts, texts, line


def check(path: Path, suffix: str, packing: str, errors: str) -> str:
    """Read a file, and check what became of it; say in a word what that was."""
    start = time.monotonic()
    result = read(path, errors)
    assert time.monotonic() - start < SECONDS
    if isinstance(result, str):
        assert result.startswith("`data."), result
        assert result.endswith("."), result
        assert result.isprintable(), result
        assert len(result) < 1000, result
        return "refused"
    counts, texts, line = result
    assert counts.read == len(texts) + sum(counts.dropped.values())
    assert all(text == text.strip() != "" for text in texts)
    data = UNPACKINGS[packing](path.read_bytes())
    if suffix in (".txt", ".jsonl"):
        assert counts.read == line == len(data.removeprefix(BYTE_ORDER_MARK).splitlines())
    elif suffix in (".csv", ".tsv"):
        assert line == len(data.removeprefix(BYTE_ORDER_MARK).splitlines())
        assert counts.read < line
    elif suffix.endswith(".parquet"):
        assert counts.read == pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
    return "read"


def fuzz(folder: Path, seed: int, files: int) -> Counter[str]:
    """Make and check so many files; say how many were refused and read."""
    chance, good, results = random.Random(seed), make_files(), Counter()
    for number in range(files):
        suffix = sorted(good)[number % len(good)]
        packing = chance.choice(sorted(PACKINGS)) if chance.random() < 0.4 else ""
        data = good[suffix]
        if chance.random() < 0.5 or not packing:
            data = PACKINGS[packing](mutate(data, chance))
        else:
            data = mutate(PACKINGS[packing](data), chance)
        path = folder / f"{number}{suffix}{packing}"
        path.write_bytes(data)
        for errors in ("strict", "skip", "replace"):
            try:
                results[check(path, suffix, packing, errors)] += 1
            except BaseException as error:
                raise AssertionError(f"{path}, errors: {errors}") from error
        path.unlink()
    return results


def test_good_files_are_read(tmp_path):
    for suffix, data in make_files().items():
        for packing, pack in PACKINGS.items():
            path = tmp_path / f"good{suffix}{packing}"
            path.write_bytes(pack(data))
            assert check(path, suffix, packing, "strict") == "read"


@pytest.mark.timeout(120)
def test_malformed_files(tmp_path):
    results = fuzz(tmp_path, seed=1, files=FILES)
    assert results.total() == 3 * FILES
    assert results["read"] > FILES / 2  # it was not only seen that they begin badly
    assert results["refused"] > FILES / 2


if __name__ == "__main__":
    print(fuzz(Path(sys.argv[3] if len(sys.argv) > 3 else "."), int(sys.argv[1]), int(sys.argv[2])))
