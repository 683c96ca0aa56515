"""Compare `near_duplicates` with all pairs of sentences, and say which edits it takes for a copy.

    python benchmarks/near_duplicates.py [--sentences 20000] [--file TEXT]

`all pairs` computes the Jaccard index of every two sentences as a sparse product, and goes through
them in order: a sentence goes if an earlier one that stays is near. `found` are those of them that
`find_near_duplicates` drops, `more` what it drops besides (near to one that went itself later).
`edits` changes each sentence in one way and says how often the result is near to it, by n-gram and
threshold; two different sentences of the corpus should not be. `rensa` is the time of its
signatures with the same number of hashes, where the package is installed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from driver import benchmark_parser, report
from scipy.sparse import csr_matrix

from seqae.data.builtin import load_builtin
from seqae.data.sentences.near_duplicates import (
    Similarity,
    Sketcher,
    comparable,
    find_near_duplicates,
)

LENGTHS = ((1, 30), (31, 60), (61, 120), (121, 10**6))  # characters
SAMPLE = 500  # sentences of each length that are edited


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--file", help="sentences, one a line; else the built-in corpora")
    parser.add_argument("--sentences", type=int, default=20_000)
    args = parser.parse_args()
    texts = (
        Path(args.file).read_text(encoding="utf-8").splitlines()
        if args.file
        else [*load_builtin("wordnet-examples"), *load_builtin("speeches")]
    )
    texts = random.Random(0).sample(texts, min(args.sentences, len(texts)))
    rows, result = [], []
    for ngram in (3, 4, 5):
        for threshold in (0.6, 0.7, 0.8):
            similarity = Similarity(threshold, ngram)
            measured = {"ngram": ngram, "threshold": threshold}
            measured |= against_all_pairs(texts, similarity) | edits(texts, similarity)
            rows.append({name: f"{value}" for name, value in measured.items()})
            result.append(measured)
            print(measured, flush=True)
    report(rows, result, args.output)


def against_all_pairs(texts: list[str], similarity: Similarity) -> dict[str, object]:
    begin = time.process_time()
    sketches = Sketcher(similarity)(texts, None)
    signed = time.process_time()
    found = find_near_duplicates([[band] for band in sketches.bands], texts_of(texts), similarity)
    compared = time.process_time()
    true = all_pairs(texts, similarity)
    dropped = ~found.keep
    return {
        "bands x rows": "{} x {}".format(*similarity.shape),
        "all pairs": int(true.sum()),
        "found": int((true & dropped).sum()),
        "more": int((dropped & ~true).sum()),
        "us a sentence": round((signed - begin) / len(texts) * 1e6, 1),
        "us to compare": round((compared - signed) / len(texts) * 1e6, 1),
        "us with rensa": rensa_time(texts, similarity),
    }


def texts_of(texts: list[str]) -> Callable[[int], str]:
    return [comparable(text) for text in texts].__getitem__


def all_pairs(texts: list[str], similarity: Similarity) -> np.ndarray:
    """Which sentences go, by the exact rule."""
    numbers: dict[str, int] = {}
    columns: list[int] = []
    ends = [0]
    for text in texts:
        words = comparable(text)
        grams = similarity.grams(words) if words else set()
        columns += [numbers.setdefault(gram, len(numbers)) for gram in grams]
        ends.append(len(columns))
    ones = np.ones(len(columns), np.int32)
    matrix = csr_matrix((ones, columns, ends), (len(texts), len(numbers)))
    sizes = np.diff(ends)
    goes = np.zeros(len(texts), bool)
    for start in range(0, len(texts), 500):
        shared = (matrix[start : start + 500] @ matrix.T).tocoo()
        later, earlier = shared.row + start, shared.col
        near = shared.data >= similarity.threshold * (sizes[later] + sizes[earlier] - shared.data)
        near &= earlier < later
        for row, column in sorted(zip(later[near], earlier[near], strict=True)):
            goes[row] |= not goes[column]
    return goes


def edits(texts: list[str], similarity: Similarity) -> dict[str, str]:
    """Percent of edited sentences that are near to what they were, by length, for each edit."""
    rng = random.Random(1)
    words = [word for text in texts[:2000] for word in text.split()]

    def replaced(text: str) -> str:
        parts = text.split()
        parts[rng.randrange(len(parts))] = rng.choice(words)
        return " ".join(parts)

    def typo(text: str) -> str:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice("etaoinshr") + text[at + 1 :]

    def added(text: str) -> str:
        return f"{text} {rng.choice(words)}"

    changes = {"typo": typo, "a word more": added, "a word replaced": replaced}
    shares: dict[str, list[str]] = {name: [] for name in changes}
    for low, high in LENGTHS:
        chosen = [text for text in texts if low <= len(text) <= high][:SAMPLE]
        for name, change in changes.items():
            near = [
                similarity.are_near(
                    similarity.grams(comparable(text)), similarity.grams(comparable(change(text)))
                )
                for text in chosen
            ]
            shares[name].append(f"{100 * sum(near) / max(1, len(near)):.0f}")
    return {name: " / ".join(by_length) for name, by_length in shares.items()}


def rensa_time(texts: list[str], similarity: Similarity) -> float | None:
    """Microseconds a sentence of processor time, with the hashes of n-grams that we have."""
    try:
        from rensa import RMinHash
    except ImportError:
        return None
    bands, rows = similarity.shape
    parts = list(Sketcher(similarity)._chunks([comparable(text) for text in texts]))
    begin = time.process_time()
    for _, grams, starts in parts:
        offsets = np.append(starts, len(grams)).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            grams.astype(np.uint64), offsets, bands * rows, 0
        )
        np.asarray(matrix.to_rows(), np.uint32)
    return round((time.process_time() - begin) / len(texts) * 1e6, 1)


if __name__ == "__main__":
    main()
