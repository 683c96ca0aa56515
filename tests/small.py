"""Small corpora, a small recipe and the command line in this process, for the end-to-end tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.sentences.preprocessing import Encoded, Pipeline
from seqae.data.sources.records import Block, Counts
from seqae.data.tokenizers import Tokenizer

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
COMMAND = Path(sys.executable).with_name("seqae")

# What text can be: other scripts, emoji with joiners, control characters, YAML, our own tokens.
ODD_SENTENCES = (
    "null",
    "[a]",
    "你好,世界。",
    "我们坐在海边。",
    "a smile 😀 and a family 👩‍👩‍👧",
    "a \x1b[31mred\x1b[0m word",
    "the <eos> is text, and so is <pad>",
    "שלום to all",
)
SENTENCES = (
    *ODD_SENTENCES,
    *(
        f"{who} {does} the {what}"
        for who in ("the cat", "a dog")
        for does in ("sees", "likes", "finds", "has")
        for what in ("mat", "red ball", "old house by the river")
    ),
)
assert len(set(SENTENCES)) == 32

RECIPE: dict[str, Any] = {
    "data": {
        "batch_tokens": 96,
        "max_length": 64,
        "tokenizer": {"class_path": "BPETokenizer", "init_args": {"vocab_size": 300}},
    },
    "model": {
        "learning_rate": 1e-2,
        "warmup_steps": 10,
        "objective": {"class_path": "Reconstruction"},
        "autoencoder": {
            "embedding_dim": 32,
            "encoder": {
                "class_path": "GRUEncoder",
                "init_args": {"hidden_dim": 32, "position_dim": 64},
            },
            "latent": {"class_path": "DeterministicLatent", "init_args": {"latent_dim": 64}},
            "decoder": {
                "class_path": "GRUDecoder",
                "init_args": {"hidden_dim": 32, "position_dim": 64},
            },
        },
    },
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1},
    "threads": 1,
    "samples": 0,
}


def write_recipe(folder: Path, name: str = "small.yaml") -> Path:
    """The small recipe as a file."""
    path = folder / name
    path.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return path


def write_text(path: Path, sentences: Iterable[str] = SENTENCES) -> Path:
    """A text file, one sentence a line."""
    path.write_text("".join(f"{s}\n" for s in sentences), encoding="utf-8")
    return path


def numbered(count: int) -> list[str]:
    """Different sentences of different lengths."""
    return [f"number {i}{' and more' * (i % 5)}" for i in range(count)]


def block_of(sentences: Iterable[str], targets: Iterable[str] | None = None) -> Block:
    """Sentences as if they had been read from a file of that many lines."""
    texts = list(sentences)
    counts = Counts(read=len(texts))
    aims = None if targets is None else list(targets)
    return Block("a.txt", texts, range(1, len(texts) + 1), counts, {}, aims)


def encode_block(block: Block, tokenizer: Tokenizer, **options: Any) -> Encoded:
    """Tokenise a block of training sentences, none of them held out."""
    settings = CorpusConfig(train=("a.txt",), **{"val_percent": 0, "test_percent": 0, **options})
    return Pipeline(settings, tokenizer)(block, "train")


def write_corpus(
    folder: Path, sentences: Iterable[str], tokenizer: Tokenizer, **options: Any
) -> TokenizedCorpus:
    """A tokenised corpus of a few sentences."""
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    writer = CorpusWriter(folder, dtype, tokenizer.pad_id)
    writer.append(encode_block(block_of(sentences), tokenizer, **options).rows["train"])
    return writer.finish()


def run_seqae(*arguments: object) -> int:
    """The command in this process: its exit status. It changes what a process of its own may."""
    from seqae.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["seqae"])
        patch.setenv("SEQAE_RUN_TIME", "now")
        patch.delenv("SEQAE_RUN_TIME")
        try:
            return main([str(argument) for argument in arguments])
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            os.environ.pop("SEQAE_RUN_TIME", None)


def with_callback(name: str, **arguments: object) -> list[object]:
    """The options of a training that has one callback, by its class path."""
    return ["--trainer.callbacks", json.dumps([{"class_path": name, "init_args": arguments}])]


def own_process(**variables: str) -> dict[str, str]:
    """The environment of a command in a process of its own: one thread, callbacks of the tests."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    own = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "SEQAE_LEAN_IMPORTS": "1",  # the callbacks of the tests take nothing of torchmetrics
    }
    return {**os.environ, **own, **variables}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figures(run: Path) -> list[dict[str, Any]]:
    """A run's metrics.jsonl without what the clock says."""
    timed = ("time", "train/tokens_per_second")
    return [
        {name: value for name, value in row.items() if name not in timed}
        for row in read_rows(run / "metrics.jsonl")
    ]


class Recorder(Callback):
    """Write down which sentences each training step of each rank saw, as token ids."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        lengths = batch.lengths.tolist()
        rows = [row[:n] for row, n in zip(batch.token_ids.tolist(), lengths, strict=True)]
        line = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "sentences": [" ".join(map(str, row)) for row in rows],
            "threads": torch.get_num_threads(),
        }
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
