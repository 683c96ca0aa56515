"""Measure exported graphs in onnxruntime beside torch: encode, and decode greedily.

    python benchmarks/onnx_speed.py demo runs/fluent --output benchmarks/results/onnx_speed.json

Test sentences are encoded and decoded on one thread, in turn, one alone and 64 together. Seconds
are those of the processor; a ratio compares two of one round, and the table has medians, with the
smallest and the largest. Tokenizing is left out. Both must write the same tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.batches.padding import collate
from seqae.generation import greedy
from seqae.interchange.onnx.agreement import session
from seqae.interchange.onnx.model_graphs import write_graphs
from seqae.tasks.evaluate.texts import read_split


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="+", help="bundles or folders of runs")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for where in args.models:
        model = seqae.load(where)
        graphs = write_graphs(model.autoencoder, {})
        sessions = {name: session(data) for name, data in graphs.items()}
        texts = read_split(model, Path(where), "test").sample(64, 0).inputs
        for count in (1, 64):
            rows += measure(model, sessions, texts[:count], args.rounds, Path(where).name)
    report([shown(row) for row in rows], rows, args.output)


def measure(
    model: TextAutoencoder, sessions: dict[str, Any], texts: list[str], rounds: int, name: str
) -> list[dict[str, Any]]:
    """Time both in both, after one round that warms up."""
    autoencoder, vocabulary = model.autoencoder, model.tokenizer.vocabulary
    batch = collate(model.tokenizer.encode(texts), vocabulary)
    feed = {"token_ids": batch.token_ids.numpy(), "lengths": batch.lengths.numpy()}

    def encode_by_torch() -> torch.Tensor:
        with torch.inference_mode():
            return autoencoder.encode(batch).latent

    latents = encode_by_torch().clone()
    names = [output.name for output in sessions["decoder_init"].get_outputs()]

    def decode_by_onnx() -> list[list[int]]:
        start: dict[str, Any] = {"latents": latents.numpy()}
        if autoencoder.latent_noise is not None:
            start["noise"] = np.zeros(len(texts), np.float32)
        state = sessions["decoder_init"].run(None, start)
        token, open_rows = np.full(len(texts), vocabulary.bos_id), np.arange(len(texts))
        written: list[list[int]] = [[] for _ in texts]
        for _ in range(autoencoder.max_length - 1):
            own = dict(zip(names, state, strict=True))
            logits, *state = sessions["decoder_step"].run(None, {"token": token, **own})
            logits[:, [vocabulary.pad_id, vocabulary.bos_id]] = -np.inf
            token = logits.argmax(axis=1)
            if (ends := token == vocabulary.eos_id).any():
                open_rows, token, *state = (part[~ends] for part in (open_rows, token, *state))
            for row, one in zip(open_rows, token, strict=True):
                written[row].append(int(one))
            if not len(open_rows):
                break
        return written

    same = [a == b for a, b in zip(greedy(autoencoder, latents), decode_by_onnx(), strict=True)]
    programs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "encode": (encode_by_torch, lambda: sessions["encoder"].run(None, feed)),
        "decode": (lambda: greedy(autoencoder, latents), decode_by_onnx),
    }
    found = []
    for what, pair in programs.items():
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds + 1):
            for run, taken in zip(pair, times, strict=True):
                start = time.process_time()
                run()
                taken.append(time.process_time() - start)
        row = {"model": name, "rows": len(texts), "what": what, "same_tokens": sum(same)}
        found.append(row | {"torch": times[0][1:], "onnxruntime": times[1][1:]})
    return found


def shown(row: dict[str, Any]) -> dict[str, str]:
    """Format a row of the table."""
    ratios = [a / b for a, b in zip(row["torch"], row["onnxruntime"], strict=True)]
    return {
        "model": row["model"],
        "rows": str(row["rows"]),
        "": row["what"],
        "torch, ms": f"{statistics.median(row['torch']) * 1e3:.2f}",
        "onnxruntime, ms": f"{statistics.median(row['onnxruntime']) * 1e3:.2f}",
        "ratio": f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
        "same tokens": f"{row['same_tokens']} of {row['rows']}",
    }


if __name__ == "__main__":
    main()
