#!/usr/bin/env python3
"""Turn public sets of documents and summaries into the JSON lines that seqae reads.

A line is {"document": ..., "summary": ...}; of several reviews, or several summaries of one
document, it holds a list. Nothing is downloaded: give the files as their authors, or the parquet
branch of a hub, have them.

    python scripts/data/public_summaries.py xsum 0000.parquet > train.jsonl
    python scripts/data/public_summaries.py gigaword train.src.txt train.tgt.txt > train.jsonl
    python scripts/data/public_summaries.py debian Packages Translation-en --split test > test.jsonl
    python scripts/data/public_summaries.py debian Packages Translation-zh_CN --split all > zh.jsonl

xsum           columns `document`, `summary` (EdinburghNLP/xsum, from its Parquet branch)
cnn_dailymail  columns `article`, `highlights` (abisee/cnn_dailymail, any version)
samsum         columns `dialogue`, `summary` (the authors' JSON, or knkarthick/samsum)
gigaword       two texts of equal lines, or columns `document`, `summary` (Harvard/gigaword)
opinions       a row for each product. Columns rev1 ... and summ1 ... (Amazon, Bražinskas et al.
               2020); Input.original_review_0 ... and Answer.summary (Yelp, Chu and Liu 2019); or
               `reviews` and `summary` (both, Iso et al. 2021)
debian         Packages and Translation-en of a Debian release, or the translation of another
               language, as Translation-zh_CN: long descriptions of packages, and short ones as
               their headlines; those of one source package are in one split, and `--split all` has
               one pair of each

Columns are those of Parquet, JSON, JSON lines, CSV or TSV.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TABLES = (".parquet", ".json", ".jsonl", ".csv", ".tsv")
FEWEST_WORDS = 15  # of a long description; what is shorter says no more than the short one
HAN = r"[\u3007\u4e00-\u9fff]"  # a Chinese character, half a word
WIDE = r"[\u3000-\u9fff\uff00-\uffef]"  # the same, or punctuation beside which no blank belongs


def main() -> None:
    """Read the files of one set and print its pairs."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=sorted(READERS))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--split", choices=("train", "val", "test", "all"), help="of debian")
    arguments = parser.parse_args()
    for file in arguments.files:
        if not file.exists():
            raise SystemExit(f"{file} must be a file, but there is none of that name.")
    count = 0
    for pair in pairs(arguments.set, arguments.files, arguments.split):
        print(json.dumps(pair, ensure_ascii=False))
        count += 1
    print(f"{count:,} pairs", file=sys.stderr)


def pairs(name: str, files: list[Path], split: str | None = None) -> Iterator[Row]:
    """Yield the pairs of a set, without those of which a side is empty."""
    if (split is None) == (name == "debian"):
        raise SystemExit("`--split` must be given for debian, and for no other set.")
    found = debian(files, str(split)) if name == "debian" else READERS[name](files)
    for document, summary in found:
        if document and summary:
            yield {"document": document, "summary": summary}


def columns(document: str, summary: str) -> Callable[[list[Path]], Iterator[tuple[str, str]]]:
    """Make a reader of tables that have these two columns."""

    def read(files: list[Path]) -> Iterator[tuple[str, str]]:
        for file in files:
            for row in rows(file):
                if not {document, summary} <= row.keys():
                    raise SystemExit(f"{file} must have the columns {document} and {summary}.")
                yield tidy(row[document] or ""), tidy(row[summary] or "")

    return read


def gigaword(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Read two texts of equal lines, or tables."""
    if all(file.suffix in TABLES for file in files):
        yield from columns("document", "summary")(files)
        return
    if len(files) != 2:
        raise SystemExit("gigaword must be two texts, the sources and the targets, or tables.")
    # Not `splitlines`: a text may contain U+2028, which ends no line of a file.
    sources, targets = (file.read_text(encoding="utf-8").rstrip("\n").split("\n") for file in files)
    if len(sources) != len(targets):
        raise SystemExit(f"{files[0]} and {files[1]} must have equally many lines.")
    for source, target in zip(sources, targets, strict=True):
        yield tidy(source), tidy(target)


def opinions(files: list[Path]) -> Iterator[tuple[list[str], list[str]]]:
    """Read the reviews of a product and all summaries of them."""
    review, summary = r"rev\d+|Input\.original_review_\d+", r"summ\d+|Answer\.summary.*"
    for file in files:
        for row in rows(file):
            if {"reviews", "summary"} <= row.keys():
                yield listed(row["reviews"]), listed(row["summary"])
                continue
            if not any(re.fullmatch(review, name) for name in row):
                raise SystemExit(
                    f"{file} must have the columns reviews and summary, or those of the authors, "
                    f"but it has {', '.join(row)} instead."
                )
            yield matching(row, review), matching(row, summary)


def debian(files: list[Path], split: str) -> Iterator[tuple[str, str]]:
    """Read descriptions of packages: the long one of each, and the short one as its headline.

    Libraries of one source describe the same thing. So a source is in one split (by its hash: 5 %
    test, 3 % val), and gives one pair for the test, the validation or all of them. A translation
    may be unfinished: if it is Chinese, both sides must have more of its characters than of other
    words.
    """
    if len(files) != 2:
        raise SystemExit("debian must be two files, Packages and Translation-LANGUAGE.")
    packages, translation = (file.read_text(encoding="utf-8") for file in files)
    sources = {}
    for stanza in packages.split("\n\n"):
        if name := re.search(r"^Package: (\S+)", stanza, re.MULTILINE):
            source = re.search(r"^Source: (\S+)", stanza, re.MULTILINE)
            sources[name[1]] = (source or name)[1]
    seen: set[str] = set()
    pattern = re.compile(r"^Description-(?!md5)(\w+): (.*)\n((?: .*\n?)*)", re.MULTILINE)
    for stanza in translation.split("\n\n"):
        name = re.search(r"^Package: (\S+)", stanza, re.MULTILINE)
        description = pattern.search(f"{stanza}\n")
        if not name or not description:
            continue
        source = sources.get(name[1], name[1])
        language, short, long = description.groups()
        short, long = unwrapped(short), unwrapped(re.sub(r"^ \.$", "", long, flags=re.M))
        if language.startswith("zh") and not (is_chinese(short) and is_chinese(long)):
            continue
        keys = {f"{source}\n{short}", long} | ({source} if split != "train" else set())
        if split in (split_of(source), "all") and words(long) >= FEWEST_WORDS and not keys & seen:
            seen |= keys
            yield long, short


def split_of(source: str) -> str:
    """Choose the split of a source package."""
    place = int(hashlib.sha256(source.encode()).hexdigest(), 16) % 100
    return "test" if place < 5 else "val" if place < 8 else "train"


def rows(file: Path) -> Iterator[Row]:
    """Read the rows of a Parquet, JSON, JSON lines, CSV or TSV file."""
    if file.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    elif file.suffix in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)  # a document may be long
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")
    else:
        text = file.read_text(encoding="utf-8-sig")
        is_list = text.lstrip().startswith("[")
        lines_of_it = (line for line in text.split("\n") if line.strip())
        yield from json.loads(text) if is_list else map(json.loads, lines_of_it)


def tidy(text: str) -> str:
    """Join lines with a blank, and take away blanks at the ends."""
    return " ".join(text.split())


def unwrapped(text: str) -> str:
    """Join lines, in Chinese without a blank."""
    return re.sub(rf"(?<={WIDE}) (?={WIDE})", "", tidy(text))


def words(text: str) -> float:
    """Count words; two Chinese characters are one."""
    return len(re.sub(HAN, " ", text).split()) + len(re.findall(HAN, text)) / 2


def is_chinese(text: str) -> bool:
    """Tell whether a text has more Chinese characters than other words."""
    count = len(re.findall(HAN, text))
    return count > words(text) - count / 2


def listed(texts: str | list[str]) -> list[str]:
    """Make a list of one text or several, without empty ones."""
    return [tidy(text) for text in ([texts] if isinstance(texts, str) else texts) if text.strip()]


def matching(row: Row, pattern: str) -> list[str]:
    """List what a row has in the columns of a pattern, in their order."""
    return listed([text for name, text in row.items() if text and re.fullmatch(pattern, name)])


READERS: dict[str, Any] = {
    "xsum": columns("document", "summary"),
    "cnn_dailymail": columns("article", "highlights"),
    "samsum": columns("dialogue", "summary"),
    "gigaword": gigaword,
    "opinions": opinions,
    "debian": debian,
}

if __name__ == "__main__":
    main()
