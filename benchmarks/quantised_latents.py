"""Measure what latents in fewer bits still hold: reconstructions and neighbours, by precision.

    python benchmarks/quantised_latents.py demo runs/fluent --output \
        benchmarks/results/quantised_latents.json

Test sentences of the built-in corpus that a model was trained on are encoded, stored in each
precision as `seqae encode --precision` stores them, read back and decoded. Scales come from other
sentences, the first of training, as with `--calibration`, so that some numbers lie beyond their
ends. Exact match and BLEU compare with the sentences. `neighbours kept` is the share of the ten
nearest of each sentence by cosine, among the others, that are still among its ten nearest when all
are stored in that precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report

import seqae
from seqae.bundle.operations.latent_ops import Latents, nearest
from seqae.bundle.operations.quantised_latents import (
    PRECISIONS,
    Precision,
    calibrate,
    dequantise,
    quantise,
)
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.tasks.evaluate.groups import reconstruction
from seqae.tasks.evaluate.texts import read_split
from seqae.units import format_value, with_unit

NEIGHBOURS = 10


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="+", help="bundles or folders of runs")
    parser.add_argument("--sentences", type=int, default=1000, help="test sentences")
    parser.add_argument("--calibration", type=int, default=5000, help="training sentences")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for where in args.models:
        rows += measure(where, args.sentences, args.calibration)
    report([shown(row) for row in rows], rows, args.output)


def measure(where: str, sentences: int, calibration: int) -> list[dict[str, Any]]:
    """Measure a model in each precision."""
    model = seqae.load(where)
    train, test = (read_split(model, Path(where), split) for split in ("train", "test"))
    test = test.sample(min(sentences, len(test.inputs)), 0)
    latents = model.encode(test.inputs, "truncate")
    others = model.encode(train.inputs[:calibration], "truncate")
    exact = neighbours(latents)
    return [
        {"model": Path(where).name, "Z": model.latent_dim, "precision": precision}
        | stored(model, test.references, latents, others, precision, exact)
        for precision in PRECISIONS
    ]


def stored(
    model: TextAutoencoder,
    texts: list[str],
    latents: Latents,
    others: Latents,
    precision: Precision,
    exact: np.ndarray[Any, Any],
) -> dict[str, float]:
    """Measure what is left in one precision."""
    made = quantise(latents, precision, calibrate(others, precision))
    again = dequantise(made)
    scores = reconstruction(model, model.decode_ids(again), texts)
    found = neighbours(again)
    kept = [
        len(np.intersect1d(before, after)) / NEIGHBOURS
        for before, after in zip(exact, found, strict=True)
    ]
    return {
        "bytes": made.values[0].nbytes,
        "exact_match": scores["exact_match"],
        "bleu": scores["bleu"],
        "neighbours": float(np.mean(kept)),
    }


def neighbours(latents: Latents) -> np.ndarray[Any, Any]:
    """Find the nearest of each latent among the others, (n, NEIGHBOURS)."""
    indices = nearest(latents, latents, NEIGHBOURS + 1)[1]
    # A latent is its own nearest, unless another one is equal to it.
    others = [row[row != own][:NEIGHBOURS] for own, row in enumerate(indices)]
    return np.stack(others)


def shown(row: dict[str, Any]) -> dict[str, str]:
    """Format a row of the table."""
    return {
        "model": row["model"],
        "Z": str(row["Z"]),
        "precision": row["precision"],
        "bytes a sentence": f"{row['bytes']:,}",
        "exact match": with_unit(row["exact_match"], "%"),
        "BLEU": format_value(row["bleu"], "0 to 100"),
        "neighbours kept": with_unit(row["neighbours"], "%"),
    }


if __name__ == "__main__":
    main()
