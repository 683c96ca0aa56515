"""Text of stores is read as that of files is: every format, folders, patterns, byte ranges."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_server import BUCKET, S3Fault, S3Proxy, serve_s3
from small import run_seqae

from seqae.data.config import DataConfig
from seqae.data.sources.open import open_source
from seqae.data.sources.records import ReadOptions

SENTENCES = [f"the sentence of number {n} is written here" for n in range(15_000)]
LINES = "".join(f"{text}\n" for text in SENTENCES).encode()


def write_formats(folder: Path) -> list[str]:
    """Write the sentences in every format; return the names."""
    rows = [json.dumps({"text": text}) for text in SENTENCES]
    (folder / "a.txt").write_bytes(LINES)
    (folder / "b.jsonl").write_text("\n".join(rows))
    (folder / "c.csv").write_text("\n".join(["text", *SENTENCES]))
    (folder / "d.txt.gz").write_bytes(gzip.compress(LINES))
    table = pa.table({"text": SENTENCES, "other": SENTENCES[::-1]})
    pq.write_table(table, folder / "e.parquet", row_group_size=2000)
    return sorted(path.name for path in folder.iterdir())


def test_every_format_reads_as_from_a_disk(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    for name in write_formats(tmp_path):
        memory.pipe_file(f"/b/{name}", (tmp_path / name).read_bytes())
        far = open_source(f"memory://b/{name}", "key")
        assert list(far.texts()) == SENTENCES, name
        parts = far.parts(6)
        texts = [text for part in parts for block in part.blocks() for text in block.texts]
        assert sorted(texts) == sorted(SENTENCES), name
        if name in ("a.txt", "b.jsonl", "e.parquet"):  # of CSV, a quote may hold line ends
            assert [part.stride for part in parts] == [1] * 6, "cut by ranges"
        blocks = parts[1].blocks()
        end = next(blocks).end
        rest = [block.texts for block in blocks]
        assert [block.texts for block in parts[1].blocks(end)] == rest, "goes on at a position"


def test_folders_patterns_and_what_is_left_out(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("a/x.txt", "a/deep/y.jsonl", "a/.hidden/z.txt", "a/picture.png", "b/w.txt"):
        text = b'{"text": "one"}\n' if name.endswith("l") else b"one\n"
        memory.pipe_file(f"/t/{name}", text)
    folder = open_source("memory://t/a", "key")
    assert list(folder.texts()) == ["one", "one"]
    assert folder.left_out == {".png": {"files": 1, "first": ["picture.png"]}}
    assert list(open_source("memory://t/*/*.txt", "key").texts()) == ["one", "one"]
    named = open_source("memory://t/a/deep/y.jsonl#text", "key")
    assert list(named.texts()) == ["one"]
    with pytest.raises(FileNotFoundError, match="none fits"):
        open_source("memory://t/*.csv", "key")
    with pytest.raises(FileNotFoundError, match="there is no memory://t/nothing"):
        open_source("memory://t/nothing", "key")


def test_a_file_that_changes_is_noticed_and_changes_the_fingerprint(
    memory: fsspec.AbstractFileSystem,
) -> None:
    memory.pipe_file("/t/x.txt", LINES)
    source = open_source("memory://t/x.txt", "key")
    blocks = source.blocks()
    next(blocks)
    memory.pipe_file("/t/x.txt", LINES[::-1])
    with pytest.raises(ValueError, match="must not change while it is in use"):
        list(blocks)
    assert open_source("memory://t/x.txt", "key").fingerprint != source.fingerprint


def test_an_address_that_is_none_of_ours_says_the_way_out() -> None:
    for name in ("file:///x.txt", "ftp://x/y", "https://huggingface.co/datasets/a/b"):
        with pytest.raises(ValueError, match="Write its path alone|curl -LO|Write hf:a/b"):
            open_source(name, "data.train")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A web server that, as Python's own, sends no parts of files."""
    folder = tmp_path_factory.mktemp("web")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path, wanted = folder / self.path.strip("/").split("?")[0], self.headers.get("Range")
            if wanted is None or not path.is_file() or "whole" in path.name:
                super().do_GET()
                return
            first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
            data, size = path.read_bytes()[first : last + 1], path.stat().st_size
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has gone is no error of a test."""

    with Server(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_web_server(web: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = web
    monkeypatch.setattr("seqae.remote.store.WAITS", (0.0,))
    long = LINES * 3  # more than one range
    (folder / "x.txt").write_bytes(long)
    (folder / "whole.txt").write_bytes(long)
    source = open_source(f"{address}/x.txt?download=1", "key", ReadOptions())
    assert list(source.texts()) == SENTENCES * 3
    with pytest.raises(FileNotFoundError, match="there is no http"):
        open_source(f"{address}/nothing.txt", "key")
    with pytest.raises(OSError, match="sends parts of files"):
        list(open_source(f"{address}/whole.txt", "key").texts())


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Proxy]:
    with serve_s3() as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.mark.slow
def test_s3_reads_on_after_cuts_and_refusals(s3: S3Proxy, tmp_path: Path) -> None:
    store = fsspec.filesystem("s3", use_listings_cache=False)
    for name in write_formats(tmp_path):
        store.put_file(str(tmp_path / name), f"{BUCKET}/r/{name}")
        s3.faults = [
            S3Fault(f"GET .*{name} bytes", after=1000, times=3),
            S3Fault(f"GET .*{name} bytes", status=503, times=7),
            S3Fault(f"GET .*{name} bytes", status=429, times=2),
            S3Fault(f"HEAD .*{name}", status=500, times=6),
        ]
        assert list(open_source(f"s3://{BUCKET}/r/{name}", "key").texts()) == SENTENCES, name
        assert not any(fault.times for fault in s3.faults), name
    s3.faults = []
    assert len(list(open_source(f"s3://{BUCKET}/r/*.txt*", "key").texts())) == 2 * len(SENTENCES)
    assert len(list(open_source(f"s3://{BUCKET}/r", "key").texts())) == 5 * len(SENTENCES)


@pytest.mark.slow
def test_s3_notices_a_file_that_changes_between_two_ranges(s3: S3Proxy) -> None:
    store = fsspec.filesystem("s3", use_listings_cache=False)
    store.pipe_file(f"{BUCKET}/c/x.txt", LINES * 4)
    blocks = open_source(f"s3://{BUCKET}/c/x.txt", "key").blocks()
    next(blocks)
    store.pipe_file(f"{BUCKET}/c/x.txt", LINES[::-1] * 4)
    with pytest.raises(ValueError, match="must not change while it is in use"):
        list(blocks)


@pytest.mark.slow
def test_s3_streams_and_prepares_as_from_a_disk(s3: S3Proxy, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(LINES)
    fsspec.filesystem("s3").put_file(str(tmp_path / "x.txt"), f"{BUCKET}/p/x.txt")
    far = DataConfig(train=f"s3://{BUCKET}/p/x.txt").open_sources()["train"][0]
    near = DataConfig(train=str(tmp_path / "x.txt")).open_sources()["train"][0]
    assert [b.end for b in far.blocks()] == [b.end for b in near.blocks()]
    assert run_seqae("prepare", "-c", "gru", "--data.train", f"s3://{BUCKET}/p/x.txt") == 0
