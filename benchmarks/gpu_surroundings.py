"""What surrounds the GPU in the scale recipe: loader, exchange between GPUs, Lightning's loop.

These rows of benchmarks/gpu_selftest.py belong to gpu_scale.py.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from driver import ROOT
from gpu_loops import Row, synchronize
from text import sentences
from torch import Tensor

from seqae.data.batches.batching import plan_batches
from seqae.data.config import CorpusConfig, StreamOptions
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.streaming.stream import TokenStream
from seqae.data.tokenizers import Tokenizer


def write_documents(path: Path, count: int) -> Path:
    """Write documents of about 300 words, real sentences one after the other, one a line."""
    lines = sentences(30 * count)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            file.write(" ".join(next(lines) for _ in range(30)) + "\n")
    return path


def loader(name: str, recipe: Mapping[str, Any], documents: int, seconds: float) -> Row:
    """Time one process that reads, tokenises and batches the recipe's stream, from a local file.

    Windows are short here, so that reading them and giving their batches takes turns many times;
    which batches have one length is planned for a whole window of the recipe, as far as sentences
    were read.
    """
    data = recipe["data"]
    lengths: list[Tensor] = []
    with tempfile.TemporaryDirectory() as folder:
        text = write_documents(Path(folder) / "text.txt", documents)
        tokenizer = Tokenizer.from_config(data["tokenizer"])
        with text.open(encoding="utf-8") as file:
            tokenizer.train(line.strip() for line, _ in zip(file, range(2_000), strict=False))
        limits = {"max_length": data["max_length"], "too_long": data["too_long"]}
        config = CorpusConfig(train=str(text), val_percent=0, test_percent=0, **limits)
        options = StreamOptions(data["batch_tokens"], 0, shards=1, shuffle_buffer=2_000)
        stream = TokenStream(config.open_sources()["train"], Pipeline(config, tokenizer), options)
        started = time.perf_counter()
        for item in stream.loader(num_workers=0):
            lengths.append(stream.consumed(item).lengths)
            if time.perf_counter() - started > seconds:
                break
        taken = time.perf_counter() - started
    found = torch.cat(lengths)[: data["shuffle_buffer"]].numpy().astype("int32")
    plan = plan_batches(found, data["batch_tokens"], seed=0, epoch=0)
    full = sum(len({*found[rows].tolist()}) == 1 for rows in plan) / len(plan)
    padded = sum(len(rows) * int(found[rows].max()) for rows in plan)
    speed = float(sum(int(part.sum()) - len(part) for part in lengths) / taken)
    figure = (
        f"{speed:,.0f} tokens/s of one core; in a window of {len(found):,} stretches {full:.0%} "
    )
    figure += f"of the batches have one length, and {1 - found.sum() / padded:.1%} is padding"
    return Row(name, "passed", figure, {"tokens_per_second": speed, "full_batches": full})


def exchange(name: str, kind: str, size: int) -> Row:
    """Time the sum of `size` float32 numbers over all GPUs of this machine, or over two CPUs."""
    world = torch.cuda.device_count() if kind == "cuda" else 2
    if world < 2:
        return Row(name, "skipped", "one GPU")
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port, result = free.getsockname()[1], Path(folder) / "seconds.json"
        free.close()
        arguments = [kind, str(world), str(size), str(port), str(result)]
        programs = [
            subprocess.Popen([sys.executable, __file__, str(rank), *arguments])
            for rank in range(world)
        ]
        try:
            if any([program.wait(timeout=90) for program in programs]):
                return Row(name, "failed", "a process failed; its message is above")
        finally:
            for program in programs:
                program.kill()
        seconds = json.loads(result.read_text())
    moved = 2 * (world - 1) / world * 4 * size / seconds
    figure = f"{1e3 * seconds:.2f} ms for {4 * size / 1e6:,.0f} MB over {world}, "
    values = {"seconds": seconds, "bytes_per_second": moved}
    return Row(name, "passed", figure + f"{moved / 1e9:,.1f} GB/s", values)


def exchange_rank(rank: int, kind: str, world: int, size: int, port: str, result: Path) -> None:
    """Be one of the processes of `exchange`."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    backend = "nccl" if kind == "cuda" else "gloo"
    if kind == "cuda":
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(backend, rank=rank, world_size=world)
    values, taken = torch.ones(size, device=kind), []
    for _ in range(12):
        torch.distributed.barrier()
        synchronize(kind)
        started = time.perf_counter()
        torch.distributed.all_reduce(values)
        synchronize(kind)
        taken.append(time.perf_counter() - started)
    if rank == 0:
        result.write_text(json.dumps(statistics.median(taken[2:])))
    torch.distributed.destroy_process_group()


def whole_fit(name: str, recipes: list[str], kind: str, small: bool) -> Row:
    """Run `seqae fit` on the recipe and documents of this machine: loader, Lightning and all."""
    steps = 6 if small else 60
    with tempfile.TemporaryDirectory() as folder:
        text = write_documents(Path(folder) / "text.txt", 300 if small else 20_000)
        options = ["--data.train", str(text), "--run_dir", f"{folder}/run"]
        options += ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)]
        options += ["--trainer.log_every_n_steps", str(steps // 3), "--trainer.devices", "1"]
        options += ["--trainer.limit_val_batches", "1"]
        options += ["--trainer.accelerator", "gpu" if kind == "cuda" else "cpu"]
        options += ["--data.shuffle_buffer", "1000" if small else "20000"]
        options += ["--data.stream_shards", "4", "--prior_sentences", "0", "--report", "false"]
        options += ["--data.tokenizer_sentences", "2000", "--checkpoint.every_n_steps", "0"]
        chosen = [word for recipe in recipes for word in ("-c", recipe)]
        done = subprocess.run(
            [sys.executable, "-m", "seqae", "fit", *chosen, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SEQAE_CACHE": f"{folder}/cache"},
            capture_output=True,
            text=True,
            timeout=170,
        )
        if done.returncode:
            return Row(name, "failed", (done.stderr or done.stdout)[-160:].replace("\n", " "))
        lines = Path(folder, "run", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    speeds = [
        row["train/tokens_per_second"] for row in map(json.loads, lines) if "train/loss" in row
    ]
    figure = f"{speeds[-1]:,.0f} tokens/s in the last {steps // 3} of {steps} steps"
    return Row(name, "passed", figure, {"tokens_per_second": speeds[-1]})


if __name__ == "__main__":
    its_rank, its_kind, its_world, its_size, its_port, its_result = sys.argv[1:]
    exchange_rank(
        int(its_rank), its_kind, int(its_world), int(its_size), its_port, Path(its_result)
    )
