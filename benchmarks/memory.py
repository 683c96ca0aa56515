"""Measure the peak memory of `seqae fit`, which must not grow with the corpus.

    python benchmarks/memory.py [--output benchmarks/results/memory.json]
    python benchmarks/memory.py --steps 0 --near_duplicates 0.8 --sentences 1000000 10000000

For each size it makes a text file in a temporary folder and starts two processes, one after the
other: the first tokenises the text and does not train, the second finds it tokenised and trains.
Peak resident memory is VmHWM. It includes mapped pages of the corpus, though they belong to the
file cache, which can drop them at any time; so the process's own anonymous memory (RssAnon at the
end) is reported as well. Seconds are of processor time, and of the clock. `--steps 0` does not
train; `--file` takes as many lines of a text instead of made sentences.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from driver import benchmark_parser, report
from text import write_sentences

MEBIBYTE = 2**20


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sentences", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--near_duplicates", type=float, help="threshold; by default they stay")
    parser.add_argument("--tokenizer", default="BPETokenizer", help="or WordTokenizer")
    parser.add_argument("--vocab_size", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(*args.worker)
        return
    result = [measure(sentences, args) for sentences in args.sentences]
    rows = [
        {
            "sentences": f"{measured['sentences']:,}",
            "text": f"{measured['text_bytes'] / MEBIBYTE:.1f} MiB",
            **{
                f"{part}: peak (own)": f"{measured[part]['peak'] / MEBIBYTE:.0f} "
                f"({measured[part]['own'] / MEBIBYTE:.0f}) MiB, "
                f"{measured[part]['processor']:.0f} s ({measured[part]['seconds']:.0f} s)"
                for part in ("tokenise", "train")
                if part in measured
            },
        }
        for measured in result
    ]
    report(rows, result, args.output)


def measure(sentences: int, args: argparse.Namespace) -> dict[str, Any]:
    """Tokenise and train in fresh processes."""
    measured: dict[str, Any] = {"sentences": sentences, "steps": args.steps}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "sentences.txt"
        if args.file:
            with args.file.open("rb") as source, text.open("wb") as head:
                head.writelines(islice(source, sentences))
        else:
            write_sentences(text, sentences)
        measured["text_bytes"] = text.stat().st_size
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(configuration(text, folder, args)), encoding="utf-8")
        for part, steps in [("tokenise", 0), ("train", args.steps)][: 2 if args.steps else 1]:
            started = time.perf_counter()
            worker = [str(config), str(folder / part), str(steps)]
            command = [sys.executable, __file__, "--worker", *worker]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            measured[part] = json.loads(output.splitlines()[-1])
            measured[part]["seconds"] = time.perf_counter() - started
    return measured


def configuration(text: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Configure a small model, so that the data's memory shows, and one batch of validation."""
    tokenizer = {"class_path": args.tokenizer, "init_args": {"vocab_size": args.vocab_size}}
    return {
        "threads": args.threads,
        "checkpoint": {"every_n_steps": 100},
        "data": {
            "train": str(text),
            "cache_dir": str(folder / "cache"),
            "batch_tokens": 1024,
            "max_length": 512,
            "tokenizer": tokenizer,
            "prepare_workers": args.threads,
            "cleaning": {"near_duplicates": args.near_duplicates},
        },
        "model": {
            "objective": {"class_path": "Reconstruction"},
            "autoencoder": {
                "embedding_dim": 64,
                "encoder": {"class_path": "GRUEncoder", "init_args": {"hidden_dim": 64}},
                "latent": {"class_path": "DeterministicLatent"},
                "decoder": {"class_path": "GRUDecoder", "init_args": {"hidden_dim": 64}},
            },
        },
        "trainer": {"accelerator": "cpu", "limit_val_batches": 1, "max_epochs": -1},
    }


def work(config: str, run_dir: str, steps: str) -> None:
    """Run `seqae fit` in this process and print its memory; 0 steps only prepare the data."""
    from seqae.cli import main as seqae

    if int(steps):
        seqae(["fit", "-c", config, "--run_dir", run_dir, "--trainer.max_steps", steps])
    else:
        from seqae.data.datamodule import TextDataModule
        from seqae.data.sentences.cleaning import CleanOptions
        from seqae.data.tokenizers import Tokenizer

        data = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["data"]
        data["tokenizer"] = Tokenizer.from_config(data["tokenizer"])
        data["cleaning"] = CleanOptions(**data["cleaning"])
        TextDataModule(**data).prepare_data()
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    memory = {"peak": status["VmHWM"], "own": status["RssAnon"]}
    measured = {name: int(kb.split()[0]) * 1024 for name, kb in memory.items()}
    print(json.dumps(measured | {"processor": time.process_time()}))


if __name__ == "__main__":
    main()
