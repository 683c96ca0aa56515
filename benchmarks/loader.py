"""Check that the loader is faster than the model, and that its memory stays flat.

    python benchmarks/loader.py [--output benchmarks/results/loader.json]

Speed, in target tokens per second: `seqae`'s loader with and without workers, in turn with the
reference model (reference.py), which consumes batches on the same machine with one thread.

Memory: a fresh process reads a corpus with workers, epoch after epoch, and does nothing else. After
each epoch, while the workers live, the memory of all of them and of the main process is summed as
PSS, which counts a page that several processes share once. Anonymous memory is what the processes
hold; file memory is pages of the corpus and of libraries, which the system keeps only as long as no
process needs the room. USS is the memory that a worker shares with no other, the mean over workers.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psutil
import yaml
from driver import Program, Turns, benchmark_parser, format_ratio, ratios, report, run_in_turn
from reference import bare_loop, write_config
from text import write_sentences

from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import Tokenizer

MEBIBYTE = 2**20


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--speed_sentences", type=int, default=200_000)
    parser.add_argument("--sentences", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--batch_tokens", type=int, default=3072)
    parser.add_argument("--workers", type=int, default=8, help="whose memory is measured")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        config, workers, epochs = args.measure
        measure(Path(config), int(workers), int(epochs))
        return
    result: dict[str, Any] = {"batch_tokens": args.batch_tokens}
    result["speed"], speed_rows = compare(args)
    report(speed_rows, result, None)
    print()
    result["memory"], memory_rows = watch(args)
    report(memory_rows, result, args.output)


def compare(args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let the loader and the model work in turn."""
    with tempfile.TemporaryDirectory() as name:
        config = str(make_config(Path(name), args.speed_sentences, args.batch_tokens))
        programs = {"the reference model": Program(bare_loop, (config, 1))}
        for workers in (0, 2):
            programs[f"loader, {workers} workers"] = Program(read, (config, workers))
        speeds = run_in_turn(programs, args.seconds, args.rounds)
    result, rows = {}, []
    for program, rounds in speeds.items():
        over = ratios(rounds, speeds["the reference model"])
        result[program] = {
            "tokens_per_second": statistics.median(rounds),
            "over_the_model": over,
            "rounds": rounds,
        }
        row = {"program": program, "tokens/s": f"{statistics.median(rounds):,.0f}"}
        rows.append({**row, "against the model": format_ratio(over)})
    return result, rows


def read(turns: Turns, config: str, workers: int) -> None:
    """Take batches from the loader, epoch after epoch."""
    loader = open_data(Path(config), workers).train_dataloader()
    turns.wait()
    epoch = 0
    while True:
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            turns.done(batch.num_targets)
        epoch += 1


def watch(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure memory for corpora of several sizes, in fresh processes."""
    result, rows = [], []
    for sentences in args.sentences:
        with tempfile.TemporaryDirectory() as name:
            config = make_config(Path(name), sentences, args.batch_tokens)
            # A process of its own prepares the data: its memory would count otherwise.
            for epochs in (0, args.epochs):
                command = [sys.executable, __file__, "--measure", str(config)]
                command += [str(args.workers), str(epochs)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured = json.loads(done.stdout.splitlines()[-1])
        result.append({"sentences": sentences, "workers": args.workers, "epochs": measured})
        for number, memory in enumerate(measured, 1):
            size = {key: f"{value / MEBIBYTE:.0f} MiB" for key, value in memory.items()}
            rows.append(
                {
                    "sentences": f"{sentences:,}",
                    "after epoch": number,
                    "all, PSS": size["pss"],
                    "anonymous": size["pss_anonymous"],
                    "file": size["pss_file"],
                    "main process, anonymous": size["main_anonymous"],
                    "a worker, USS": size["worker_uss"],
                }
            )
    return result, rows


def measure(config: Path, workers: int, epochs: int) -> None:
    """Read a corpus with workers and print the memory after each epoch, in bytes."""
    data = open_data(config, workers)
    loader = data.train_dataloader()
    main_process = psutil.Process()
    measured = []
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for _ in loader:
            pass
        main_memory = rollup(main_process.pid)
        children = [rollup(child.pid) for child in main_process.children()]
        assert len(children) == workers
        processes = [main_memory, *children]
        uss = [child["Private_Clean"] + child["Private_Dirty"] for child in children]
        measured.append(
            {
                "pss": sum(process["Pss"] for process in processes),
                "pss_anonymous": sum(process["Pss_Anon"] for process in processes),
                "pss_file": sum(process["Pss_File"] for process in processes),
                "main_anonymous": main_memory["Anonymous"],
                "worker_uss": statistics.mean(uss),
            }
        )
    print(json.dumps(measured))


def rollup(pid: int) -> dict[str, int]:
    """Read the memory of a process from the kernel, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(kb.split()[0]) * 1024 for name, kb in (line.split(":") for line in lines)}


def make_config(folder: Path, sentences: int, batch_tokens: int) -> Path:
    """Write the configuration of the reference setting, and a text of `sentences` sentences."""
    text = write_sentences(folder / "sentences.txt", sentences)
    return write_config(folder / "config.yaml", text, "ReferenceDecoder", batch_tokens)


def open_data(config: Path, workers: int) -> TextDataModule:
    """Open the data of a configuration, preparing it if needed, without its messages."""
    logging.getLogger("seqae").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*will create .* worker processes in total.*")
    options = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    options["tokenizer"] = Tokenizer.from_config(options["tokenizer"])
    data = TextDataModule(**options, num_workers=workers)
    data.prepare_data()
    data.setup("fit")
    return data


if __name__ == "__main__":
    main()
