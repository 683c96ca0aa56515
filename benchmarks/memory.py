"""Peak memory of `seqae fit` for a small and a large corpus: it must not grow with the corpus.

    python benchmarks/memory.py [--output benchmarks/results/memory.json]

For each size a text file is made in a temporary folder, and two processes work on it, one after the
other: the first tokenises it and trains no step, the second finds it tokenised and trains. Peak
resident memory is VmHWM. Pages of the memory-mapped corpus count as resident while they are
mapped in, though they belong to the file cache, which can drop them at any time; so the anonymous
memory (RssAnon at the end), which is the process's own, stands beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from driver import parser, report
from text import write_sentences

MEBIBYTE = 2**20


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sentences", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--tokenizer", default="BPETokenizer", help="or WordTokenizer")
    options.add_argument("--vocab_size", type=int, default=2000)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        work(*given.worker)
        return
    result = [measure(sentences, given) for sentences in given.sentences]
    rows = [
        {
            "sentences": f"{found['sentences']:,}",
            "text": f"{found['text_bytes'] / MEBIBYTE:.1f} MiB",
            **{
                f"{part}: peak (own)": f"{found[part]['peak'] / MEBIBYTE:.0f} "
                f"({found[part]['own'] / MEBIBYTE:.0f}) MiB, {found[part]['seconds']:.0f} s"
                for part in ("tokenise", "train")
            },
        }
        for found in result
    ]
    report(rows, result, given.output)


def measure(sentences: int, given: argparse.Namespace) -> dict[str, Any]:
    """Tokenise and train in fresh processes."""
    found: dict[str, Any] = {"sentences": sentences, "steps": given.steps}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = write_sentences(folder / "sentences.txt", sentences)
        found["text_bytes"] = text.stat().st_size
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(configuration(text, folder, given)), encoding="utf-8")
        for part, steps in (("tokenise", 0), ("train", given.steps)):
            started = time.perf_counter()
            worker = [str(config), str(folder / part), str(steps)]
            command = [sys.executable, __file__, "--worker", *worker]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[part] = json.loads(output.splitlines()[-1])
            found[part]["seconds"] = time.perf_counter() - started
    return found


def configuration(text: Path, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """A small model, so that what the data needs is seen; validation is limited to one batch."""
    tokenizer = {"class_path": given.tokenizer, "init_args": {"vocab_size": given.vocab_size}}
    return {
        "threads": given.threads,
        "checkpoint": {"every_n_steps": 100},
        "data": {
            "train": str(text),
            "cache_dir": str(folder / "cache"),
            "batch_tokens": 1024,
            "max_length": 512,
            "tokenizer": tokenizer,
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
    """Run `seqae fit` in this process, and print its memory; no steps: only prepare the data."""
    from seqae.cli import main as seqae

    if int(steps):
        seqae(["fit", "-c", config, "--run_dir", run_dir, "--trainer.max_steps", steps])
    else:
        from seqae.data.datamodule import TextDataModule
        from seqae.data.tokenizers import Tokenizer

        data = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["data"]
        data["tokenizer"] = Tokenizer.from_config(data["tokenizer"])
        TextDataModule(**data).prepare_data()
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    memory = {"peak": status["VmHWM"], "own": status["RssAnon"]}
    print(json.dumps({name: int(kb.split()[0]) * 1024 for name, kb in memory.items()}))


if __name__ == "__main__":
    main()
