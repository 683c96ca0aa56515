"""Measure what a checkpoint every hundred steps costs a training.

    python benchmarks/saving.py [--output benchmarks/results/saving.json]

One training runs in blocks of a hundred steps: no save, one save that the training waits for, no
save, one save while the training continues, and so on. A block begins with its save, so that it
contains all of the writing, and is compared with the blocks before and after it, which save
nothing. All run in one process, because two processes differ by more than the effect measured here.
The settings are the main recipe, whose steps are short, and the reference setting (reference.py),
whose model is large.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from driver import ROOT, benchmark_parser, format_ratio, report
from reference import add_callback, write_config
from text import write_sentences

MODES = ("waited for", "asynchronous")


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=100, help="of a block")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", nargs="+", default=["gru", "reference"])
    parser.add_argument("--sentences", type=int, default=200_000, help="of the reference setting")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {"threads": args.threads, "steps": args.steps, "settings": {}}
    for setting in args.settings:
        with tempfile.TemporaryDirectory() as name:
            config = configuration(setting, Path(name), args.sentences)
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            arguments = (config, f"{name}/run", args.threads, args.steps, args.rounds, theirs)
            process = context.Process(target=train, args=arguments)
            process.start()
            theirs.close()
            blocks, size = ours.recv()
            process.join()
        result["settings"][setting] = {"checkpoint_bytes": size, "seconds_per_token": blocks}
        for number, mode in enumerate(MODES):
            costs = []
            for index in range(1 + 2 * number, len(blocks) - 1, 2 * len(MODES)):
                without = (blocks[index - 1] + blocks[index + 1]) / 2
                costs.append(blocks[index] / without - 1)
            cost = {"median": statistics.median(costs), "min": min(costs), "max": max(costs)}
            result["settings"][setting][mode] = cost
            rows.append(
                {
                    "setting": f"{setting}, {size / 2**20:.0f} MiB",
                    "a checkpoint every hundred steps": mode,
                    "costs, %": format_ratio({name: 100 * value for name, value in cost.items()}),
                }
            )
    report(rows, result, args.output)


def train(
    config: str, run_dir: str, threads: int, steps: int, rounds: int, connection: Any
) -> None:
    """Train all blocks; send the seconds per token of each, and the size of a checkpoint."""
    from lightning.pytorch import Callback, LightningModule, Trainer

    from seqae.cli import main as seqae
    from seqae.training.checkpoints.callback import CheckpointWriter, checkpoints
    from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO

    blocks: list[float] = []

    class Blocks(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.writer = next(c for c in trainer.callbacks if isinstance(c, CheckpointWriter))
            self.checkpoint_ios = {mode: SafeCheckpointIO(mode == MODES[1]) for mode in MODES}
            for checkpoint_io in self.checkpoint_ios.values():
                checkpoint_io.on_written = self.writer.io.on_written
            self.number = -2  # the first blocks warm up
            self.begin()

        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            self.tokens += arguments[2].num_targets
            if trainer.global_step % steps:
                return
            if self.number >= 0:
                blocks.append((time.perf_counter() - self.started) / self.tokens)
            self.number += 1
            mode = MODES[self.number // 2 % len(MODES)] if self.number % 2 else None
            # The writer runs after this callback, and then saves or not.
            self.writer.every_n_steps = 0 if mode is None else steps
            if mode is not None:
                self.writer.io = trainer.strategy.checkpoint_io = self.checkpoint_ios[mode]
            self.begin()

        def begin(self) -> None:
            self.tokens, self.started = 0, time.perf_counter()

    add_callback(Blocks())
    last = steps * (2 + 2 * len(MODES) * rounds + 1)
    options = ["--trainer.max_steps", str(last), "--prior_sentences", "0"]
    seqae(["fit", "-c", config, "--run_dir", run_dir, "--threads", str(threads), *options])
    size = max(path.stat().st_size for path in checkpoints(Path(run_dir) / "checkpoints"))
    connection.send((blocks, size))


def configuration(setting: str, folder: Path, sentences: int) -> str:
    """Write the reference setting or a recipe, changed so that it does not end or validate."""
    if setting == "reference":
        text = write_sentences(folder / "sentences.txt", sentences)
        return str(write_config(folder / "reference.yaml", text, "ReferenceDecoder", 3072))
    config: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{setting}.yaml").read_text())
    config["data"] |= {"cache_dir": str(folder / "cache"), "val_percent": 0}
    config["trainer"]["max_epochs"] = 1000
    path = folder / f"{setting}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    main()
