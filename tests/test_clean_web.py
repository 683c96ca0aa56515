"""scripts/data/clean_web.py: files of every kind in, clean shards and a report out."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import ROOT

from seqae.data.builtin import load_builtin
from seqae.data.config import CorpusConfig
from seqae.data.prepared.cache import open_prepared, prepare
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.tokenizers import ByteTokenizer

SPEECH = load_builtin("speeches")
GERMAN = (
    "Der Ausschuss hat beschlossen, die Sitzung auf die nächste Woche zu verschieben. Wir werden "
    "den Vertrag in den kommenden Tagen noch einmal sehr genau lesen und dann entscheiden. "
)


def clean_web(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "data" / "clean_web.py"
    command = [sys.executable, str(script), *map(str, arguments), "--workers", "1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=800)


def page(first: int) -> str:
    """Twenty sentences of a speech, a line each."""
    return "\n".join(SPEECH[first : first + 20])


def warc(html: bytes) -> bytes:
    """One record as a crawler writes it (ISO 28500)."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; Charset=utf-8\r\n\r\n" + html
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
        "WARC-Target-URI: https://example.org/d\r\nContent-Type: application/http\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    rows = [
        {"text": page(0), "url": "https://example.org/a", "id": "first"},
        {"text": page(0).replace("\n", " \n", 3), "id": "copy"},
        {"text": "Home\nAbout\nLogin", "id": "menu"},
        {"text": GERMAN * 3, "id": "german"},
    ]
    with gzip.open(folder / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.write("{broken\n")
    pq.write_table(pa.table({"text": [page(40), None]}), folder / "b.parquet")
    (folder / "c.txt").write_text(page(80), encoding="utf-8")
    paragraphs = "".join(f"<p>{text}</p>" for text in SPEECH[120:140])
    html = f"<html><body><nav>Menu</nav><article>{paragraphs}</article></body></html>"
    (folder / "d.warc.gz").write_bytes(gzip.compress(warc(html.encode())))
    # As an old page is written: with line ends anywhere, and the encoding in the page.
    wrapped = "".join(f"<p>{text}</p>".replace(" ", "\n") for text in SPEECH[160:180])
    old = f"<html><head><meta charset=iso-8859-1></head><body>{wrapped}<p>A naïve plan.</p></body>"
    (folder / "e.html").write_bytes(old.encode("latin-1"))
    (folder / "f.json").write_text(json.dumps([{"text": page(200)}]), encoding="utf-8")
    (folder / "ignored.png").write_bytes(b"\x89PNG")
    return folder


def read(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl.gz"))
        for line in gzip.open(path, "rt", encoding="utf-8")
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_clean_web(web: Path) -> None:
    output = web / "clean"  # whose files are not read when it goes on
    done = clean_web(web, "--output", output, "--languages", "en", "--tasks", 2)
    assert done.returncode == 0, done.stderr
    rows = read(output)
    assert {row["language"] for row in rows} == {"en"}
    assert {"https://example.org/d"} < {row["url"] for row in rows}
    assert [row["id"] for row in rows if row["id"] in ("first", "copy")] in (["first"], ["copy"])
    assert not any("Menu" in row["text"] for row in rows)
    texts = "\n".join(row["text"] for row in rows).split("\n")
    assert {SPEECH[165], SPEECH[205], "A naïve plan."} < set(texts)
    report = json.loads((output / "report.json").read_text())
    assert report["read"]["dropped_malformed"] == 1
    assert report["read"]["dropped_no_text"] == 1
    assert report["language"]["dropped_other (de)"] == 1
    assert report["near-duplicates"]["dropped"] == 1
    assert report["written"]["total"] == len(rows) == 6
    assert "near-duplicates" in done.stdout
    dropped = (output / "dropped" / "language").glob("*.jsonl")
    assert any("Der Ausschuss" in path.read_text() for path in dropped)

    again = clean_web(web, "--output", output, "--languages", "en", "--tasks", 2)
    assert again.returncode == 0, again.stderr
    assert read(output) == rows
    assert json.loads((output / "report.json").read_text()) == report
    other = clean_web(web, "--output", output, "--languages", "de", "--tasks", 2)
    assert other.returncode == 1
    assert "must be a new folder for other files or options" in other.stderr

    config = CorpusConfig(
        train=f"{output}/*.jsonl.gz", cleaning=CleanOptions(split_sentences="en"), max_length=512
    )
    prepared = open_prepared(prepare(config, ByteTokenizer(), web / "cache"))
    assert prepared.report["sources"][0]["records"]["kept"] == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sentences_in_parquet(web: Path, tmp_path: Path) -> None:
    output = tmp_path / "clean"
    done = clean_web(
        web, "--output", output, "--format", "parquet", "--sentences", "--skip", "near-duplicates"
    )
    assert done.returncode == 0, done.stderr
    texts = [
        row["text"] for path in output.glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert SPEECH[85] in texts


def test_refused_in_one_line(web: Path, tmp_path: Path) -> None:
    done = clean_web(web / "ignored.png", "--output", tmp_path / "clean")
    assert done.returncode == 1
    assert done.stderr.startswith("clean_web: `FILES` must end with .jsonl")
    assert done.stderr.count("\n") == 1
