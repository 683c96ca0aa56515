"""Whether the loader keeps ahead of the model, and whether its memory stays flat.

    python benchmarks/loader.py [--output benchmarks/results/loader.json]

Speed, in target tokens a second: `seqae`'s loader with and without workers, against what the
reference model (reference.py) consumes on the same machine with one thread, in turn.

Memory: a fresh process reads a corpus with workers, epoch after epoch, and does nothing else. After
each epoch, while the workers live, the memory of all of them and of the main process is summed up
as PSS, in which a page that several processes share counts once. Anonymous memory is what the
processes hold; file memory are pages of the corpus and of libraries, which the system keeps as long
as nobody else wants them. USS is what one worker shares with nobody: the mean over them.
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
from driver import Program, Turns, parser, ratios, report, run_in_turn, shown
from reference import bare_loop, write_config
from text import write_sentences

from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import Tokenizer

MEBIBYTE = 2**20


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    options.add_argument("--speed_sentences", type=int, default=200_000)
    options.add_argument("--sentences", type=int, nargs="+", default=[200_000, 2_000_000])
    options.add_argument("--batch_tokens", type=int, default=3072)
    options.add_argument("--workers", type=int, default=8, help="whose memory is measured")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        config, workers, epochs = given.measure
        measure(Path(config), int(workers), int(epochs))
        return
    result: dict[str, Any] = {"batch_tokens": given.batch_tokens}
    result["speed"], speed_rows = compare(given)
    report(speed_rows, result, None)
    print()
    result["memory"], memory_rows = watch(given)
    report(memory_rows, result, given.output)


def compare(given: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let the loader and the model work in turn."""
    with tempfile.TemporaryDirectory() as name:
        config = str(make_config(Path(name), given.speed_sentences, given.batch_tokens))
        programs = {"the reference model": Program(bare_loop, (config, 1))}
        for workers in (0, 2):
            programs[f"loader, {workers} workers"] = Program(read, (config, workers))
        speeds = run_in_turn(programs, given.seconds, given.rounds)
    found, rows = {}, []
    for program, rounds in speeds.items():
        over = ratios(rounds, speeds["the reference model"])
        found[program] = {
            "tokens_per_second": statistics.median(rounds),
            "over_the_model": over,
            "rounds": rounds,
        }
        row = {"program": program, "tokens/s": f"{statistics.median(rounds):,.0f}"}
        rows.append({**row, "against the model": shown(over)})
    return found, rows


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


def watch(given: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure memory for corpora of several sizes, in fresh processes."""
    found, rows = [], []
    for sentences in given.sentences:
        with tempfile.TemporaryDirectory() as name:
            config = make_config(Path(name), sentences, given.batch_tokens)
            # Prepared by another process: its memory would be seen here.
            for epochs in (0, given.epochs):
                command = [sys.executable, __file__, "--measure", str(config)]
                command += [str(given.workers), str(epochs)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seen = json.loads(done.stdout.splitlines()[-1])
        found.append({"sentences": sentences, "workers": given.workers, "epochs": seen})
        for number, after in enumerate(seen, 1):
            size = {key: f"{value / MEBIBYTE:.0f} MiB" for key, value in after.items()}
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
    return found, rows


def measure(config: Path, workers: int, epochs: int) -> None:
    """Read a corpus with workers and print the memory after each epoch, in bytes."""
    data = open_data(config, workers)
    loader = data.train_dataloader()
    main_process = psutil.Process()
    seen = []
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for _ in loader:
            pass
        mine = rollup(main_process.pid)
        theirs = [rollup(child.pid) for child in main_process.children()]
        assert len(theirs) == workers
        everyone = [mine, *theirs]
        uss = [one["Private_Clean"] + one["Private_Dirty"] for one in theirs]
        seen.append(
            {
                "pss": sum(one["Pss"] for one in everyone),
                "pss_anonymous": sum(one["Pss_Anon"] for one in everyone),
                "pss_file": sum(one["Pss_File"] for one in everyone),
                "main_anonymous": mine["Anonymous"],
                "worker_uss": statistics.mean(uss),
            }
        )
    print(json.dumps(seen))


def rollup(pid: int) -> dict[str, int]:
    """What the kernel says about a process's memory, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(kb.split()[0]) * 1024 for name, kb in (line.split(":") for line in lines)}


def make_config(folder: Path, sentences: int, batch_tokens: int) -> Path:
    """The reference setting with a text of so many sentences."""
    text = write_sentences(folder / "sentences.txt", sentences)
    return write_config(folder / "config.yaml", text, "ReferenceDecoder", batch_tokens)


def open_data(config: Path, workers: int) -> TextDataModule:
    """The data of a configuration, prepared if it is not yet; without what it has to say."""
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
