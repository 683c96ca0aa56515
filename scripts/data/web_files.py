"""What clean_web.py reads and writes: documents in files of any kind, and shards."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from typing_extensions import override

from seqae.data.sentences.cleaning import LANGUAGES, sentence_splitter
from seqae.data.sources.discovery import find_files
from seqae.data.sources.formats.compression import open_file
from seqae.data.sources.walking import suffix_of

KINDS = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet", ".warc": "warc",
    ".wet": "warc", ".arc": "warc", ".txt": "text", ".md": "text", ".html": "html", ".htm": "html",
    ".xhtml": "html",
}  # fmt: skip
LARGEST = 1 << 26  # bytes of a document that is read whole

# Where the HTML standard looks for a page's encoding, and what it takes some names for.
CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
CHARSET_WITHIN = 1024  # bytes
MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
NOT_OF_PAGES = ("idna", "punycode", "unicode_escape", "raw-unicode-escape", "utf-7")


def kind_of(path: str) -> str | None:
    """Tell what a file holds by its name; None if that is unknown."""
    return KINDS.get(suffix_of(path))


class Files(PipelineStep):
    """Reads the documents of files; a task reads every `world_size`-th file.

    Args:
        files: their paths.
        column: of JSON and Parquet that holds the text.
        lines: whether each line of a text file is a document.
    """

    type, name = "READER", "read"

    def __init__(self, files: list[str], column: str, lines: bool = False) -> None:
        super().__init__()
        self.files, self.column, self.lines = files, column, lines

    @override
    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for path in self.files[rank::world_size]:
            for number, (text, metadata) in enumerate(self.records(path, str(kind_of(path)))):
                self.stat_update("total")
                if isinstance(text, str) and text.strip():
                    self.stat_update("forwarded")
                    name = str(metadata.pop("id", f"{path}:{number + 1}"))
                    yield Document(text=text, id=name, metadata=metadata)
                else:
                    self.stat_update("dropped", f"dropped_{metadata.get('why', 'no_text')}")

    def records(self, path: str, kind: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the text of each record, or None, with what else is known of it."""
        if kind == "parquet":
            import pyarrow.parquet as pq

            try:
                with pq.ParquetFile(path) as table:
                    for batch in table.iter_batches(1000):
                        yield from map(self._from_row, batch.to_pylist())
            except (ValueError, OSError) as error:  # pyarrow's own do not name the file
                raise ValueError(f"{path} cannot be read: {error}") from None
            return
        with ExitStack() as stack:
            file = find_files(path, "FILES").files[0]
            stream = io.BufferedReader(_Stream(open_file(file, "FILES", 0, stack)), 1 << 20)
            if kind == "json":
                is_array = ".jsonl" not in path.lower() and stream.peek(64).lstrip()[:1] == b"["
                yield from self._from_array(stream) if is_array else map(self._from_line, stream)
            elif kind == "warc":
                yield from _from_warc(stream)
            elif kind == "text" and self.lines:
                yield from ((line.decode("utf-8", "replace"), {}) for line in stream)
            else:
                raw = stream.read(LARGEST + 1)
                if len(raw) > LARGEST:
                    yield None, {"why": "too_large"}
                else:
                    is_html = kind == "html"
                    text = decoded(raw) if is_html else raw.decode("utf-8-sig", "replace")
                    yield text, {"html": is_html, "url": None}

    def _from_line(self, line: bytes) -> tuple[Any, dict[str, Any]]:
        try:
            row = json.loads(line)
        except ValueError:
            return None, {"why": "malformed"}
        return self._from_row(row) if isinstance(row, dict) else (None, {"why": "malformed"})

    def _from_array(self, stream: io.BufferedReader) -> Iterator[tuple[Any, dict[str, Any]]]:
        raw = stream.read(LARGEST + 1)
        if len(raw) > LARGEST:
            yield None, {"why": "too_large"}
            return
        try:
            rows = json.loads(raw)
        except ValueError:
            yield None, {"why": "malformed"}
            return
        for row in rows:
            yield self._from_row(row) if isinstance(row, dict) else (None, {"why": "malformed"})

    def _from_row(self, row: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        inner = row.get("metadata")
        url = row.get("url") or (inner.get("url") if isinstance(inner, dict) else None)
        known = {"url": url} | ({"id": row["id"]} if row.get("id") else {})
        return row.get(self.column), known


def _from_warc(stream: io.BufferedReader) -> Iterator[tuple[Any, dict[str, Any]]]:
    from warcio.archiveiterator import ArchiveIterator

    for record in ArchiveIterator(stream):
        if record.rec_type not in ("response", "conversion"):
            continue
        headers = record.http_headers
        kind = ((headers and headers.get_header("Content-Type")) or "text/plain").lower()
        is_html = "html" in kind
        known = {
            "url": record.rec_headers.get_header("WARC-Target-URI"),
            "id": record.rec_headers.get_header("WARC-Record-ID"),
            "html": is_html,
        }
        if not (is_html or record.rec_type == "conversion"):
            yield None, {"why": "not_html"}
            continue
        raw = record.content_stream().read(LARGEST)
        yield decoded(raw, kind.partition("charset=")[2].split(";")[0].strip(" \"'")), known


def decoded(raw: bytes, charset: str = "") -> str:
    """Decode a page as the server says, or else the page, or else as UTF-8 or windows-1252.

    Args:
        raw: the page.
        charset: from the server; empty if it said nothing.
    """
    own = CHARSET.search(raw[:CHARSET_WITHIN])
    for name in (charset, own[1].decode() if own else "", "utf-8"):
        try:
            known = codecs.lookup(name).name
            if known not in NOT_OF_PAGES:
                return raw.decode(MEANT.get(known, known)).removeprefix("\ufeff")
        except (ValueError, LookupError):  # another encoding, or none at all
            continue
    return raw.decode("cp1252", "replace")


class _Stream(io.RawIOBase):
    """A file object over a function that reads."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Samples:
    """Keeps the first documents that are dropped for each reason, for a person to read.

    Args:
        folder: for a file of each task.
        limit: documents of each reason.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self.limit = Path(folder), limit
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> Samples:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def write(self, document: Document, rank: int = 0) -> None:
        """Keep a document, unless there are enough of its kind."""
        why = str(document.metadata.get("filter_reason", ""))
        self.seen[why] += 1
        if self.seen[why] <= self.limit:
            row = {"why": why, "id": document.id, "url": document.metadata.get("url")}
            mode = "w" if self.seen.total() == 1 else "a"
            with (self.folder / f"{rank:05}.jsonl").open(mode, encoding="utf-8") as file:
                file.write(json.dumps(row | {"text": document.text[:2000]}) + "\n")


class Shards(PipelineStep):
    """Writes a file of each task, whole or not at all: documents, or the sentences in them.

    Args:
        folder: for the files.
        format: `jsonl` (with .gz) or `parquet`.
        sentences: whether to write each sentence as a record.
    """

    type, name = "WRITER", "written"

    def __init__(self, folder: str, format: str = "jsonl", sentences: bool = False) -> None:
        super().__init__()
        self.folder, self.format, self.sentences = Path(folder), format, sentences

    @override
    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        suffix = "parquet" if self.format == "parquet" else "jsonl.gz"
        path = self.folder / f"{rank:05}.{suffix}"
        unfinished = path.with_name(f".{path.name}.unfinished")
        with ExitStack() as stack:
            write = self._open(unfinished, stack)
            for document in data:
                self.stat_update("total")
                for row in self._rows(document):
                    self.stat_update("records")
                    self.stat_update("characters", value=len(row["text"]))
                    write(row)
                yield document
        unfinished.replace(path)

    def _rows(self, document: Document) -> Iterator[dict[str, Any]]:
        known = {key: document.metadata.get(key) for key in ("url", "language")}
        known["language_probability"] = document.metadata.get("language_probability")
        if not self.sentences:
            yield {"text": document.text, "id": document.id, **known}
            return
        code = known["language"] if known["language"] in LANGUAGES else "en"
        for paragraph in document.text.split("\n"):
            for sentence in sentence_splitter(str(code))(paragraph):
                yield {"text": sentence, "id": document.id, **known}

    def _open(self, path: Path, stack: ExitStack) -> Any:
        if self.format == "jsonl":
            opened = gzip.open(path, "wt", encoding="utf-8", compresslevel=6)  # noqa: SIM115
            file = stack.enter_context(opened)
            return lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, pa.string()) for name in ("text", "id", "url", "language")])
        schema = schema.append(pa.field("language_probability", pa.float64()))
        writer = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
        rows: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def add(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) >= 10_000:
                flush()

        stack.callback(flush)
        return add


class Passed(PipelineStep):
    """Reads what Shards wrote, each task its own file.

    Args:
        folder: of these files.
    """

    type, name = "READER", "passed"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)

    @override
    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        with gzip.open(self.folder / f"{rank:05}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield Document(text=row.pop("text"), id=row.pop("id"), metadata=row)
