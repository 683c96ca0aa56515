"""Compare one process of two threads with two processes of one, and time the parts of a step.

    python benchmarks/ranks.py [--output benchmarks/results/ranks.json]

Speeds are at the reference setting (reference.py), in tokens per second of all processes together;
the two processes of a training exchange gradients with gloo (DistributedDataParallel). In `half`
the batches of both processes together have as many tokens as the one process's, so that the
optimizer sees the same.

Then two processes train for some steps while a stopwatch times each part. Forward is the objective,
backward includes the exchange of gradients, optimizer includes clipping; the rest of a step is the
cost of this package, Lightning and the data.

Finally, two processes only add up arrays of several sizes: this gives the latency and the bandwidth
of an exchange for docs/scaling.md.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from driver import Program, Turns, benchmark_parser, format_ratio, ratios, report, run_in_turn
from reference import add_callback, fit, write_config
from text import write_sentences

PARTS = ("forward", "backward", "optimizer", "other")


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--steps", type=int, default=60, help="with the stopwatch")
    parser.add_argument("--sentences", type=int, default=200_000)
    parser.add_argument("--batch_tokens", type=int, default=3072, help="of a process's batches")
    args = parser.parse_args()
    result: dict[str, Any] = {"batch_tokens": args.batch_tokens}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = write_sentences(folder / "sentences.txt", args.sentences)
        config, half = (
            str(write_config(folder / f"{size}.yaml", text, "ReferenceDecoder", size))
            for size in (args.batch_tokens, args.batch_tokens // 2)
        )
        programs = {
            "1 x 2 threads": Program(fit, (config, str(folder / "one"), 2)),
            "1 x 1 thread": Program(fit, (config, str(folder / "alone"), 1)),
            "2 x 1 thread": Program(two, (config, str(folder / "two"))),
            "2 x 1 thread, half": Program(two, (half, str(folder / "half"))),
        }
        speeds = run_in_turn(programs, args.seconds, args.rounds)
        result["steps"] = {
            title: time_parts(file, folder / title, args.steps)
            for title, file in (("2 x 1 thread", config), ("2 x 1 thread, half", half))
        }
    result["exchange"] = time_exchange()
    rows = []
    for program, rounds in speeds.items():
        ratio = ratios(rounds, speeds["1 x 2 threads"])
        result[program] = {
            "tokens_per_second": statistics.median(rounds),
            "over_one": ratio,
            "rounds": rounds,
        }
        rows.append(
            {
                "program": program,
                "tokens/s": f"{statistics.median(rounds):,.0f}",
                "against one process": format_ratio(ratio),
            }
        )
    report(rows, result, args.output)
    for title, step in result["steps"].items():
        parts = ", ".join(f"{part} {step[part]:.1%}" for part in PARTS)
        print(f"\n{title}: a step of {step['seconds'] * 1e3:.0f} ms: {parts}")
    exchange = result["exchange"]
    print(
        f"\nan exchange between two processes: {exchange['latency_seconds'] * 1e3:.2f} ms and "
        f"{exchange['bytes_per_second'] / 1e9:.2f} GB/s"
    )


OPTIONS = ("--trainer.strategy", "ddp", "--trainer.devices", "2")


def two(turns: Turns, config: str, run_dir: str) -> None:
    """Train with two processes; this one is the first, and takes the turns for both."""
    tokens = multiprocessing.get_context("spawn").Value("q", 0)
    start_second(_count, config, run_dir, tokens)
    fit(turns, config, run_dir, 1, OPTIONS, tokens)


def start_second(work: Any, *arguments: Any) -> None:
    """Start the second process as torchrun would, and make this one the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    os.environ["LOCAL_RANK"] = "1"
    context = multiprocessing.get_context("spawn")
    context.Process(target=work, args=arguments, daemon=True).start()
    os.environ["LOCAL_RANK"] = "0"


def _count(config: str, run_dir: str, tokens: Any) -> None:
    """Train as the second process, and add up its tokens."""
    from lightning.pytorch import Callback, Trainer

    from seqae.cli import main

    class Count(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            tokens.value += args[2].num_targets

    add_callback(Count())
    main(["fit", "-c", config, "--run_dir", run_dir, "--threads", "1", *OPTIONS])


def time_parts(config: str, run_dir: Path, steps: int) -> dict[str, float]:
    """Time the parts of a step on the first of two processes: medians of the later half."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_timed, args=(config, str(run_dir), steps, theirs))
    process.start()
    theirs.close()
    taken: list[dict[str, float]] = ours.recv()
    process.join()
    taken = taken[len(taken) // 2 :]
    seconds = statistics.median(step["seconds"] for step in taken)
    shares = {
        part: statistics.median(step[part] / step["seconds"] for step in taken) for part in PARTS
    }
    return {"seconds": seconds, **shares}


def _timed(config: str, run_dir: str, steps: int, connection: Any) -> None:
    start_second(_follow, config, run_dir, steps)
    from lightning.pytorch import Callback, LightningModule, Trainer

    taken: list[dict[str, float]] = []
    marks: dict[str, float] = {}

    class Stopwatch(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            forward = pl_module.objective.forward

            def timed(*arguments: Any) -> Any:
                marks["forward"] = time.perf_counter()
                values = forward(*arguments)
                marks["forward, done"] = time.perf_counter()
                return values

            pl_module.objective.forward = timed

        def on_before_backward(self, *arguments: Any) -> None:
            marks["backward"] = time.perf_counter()

        def on_after_backward(self, *arguments: Any) -> None:
            marks["backward, done"] = time.perf_counter()

        def on_before_optimizer_step(self, *arguments: Any) -> None:
            marks["optimizer"] = time.perf_counter()

        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            marks["optimizer, done"] = marks.pop("stepped")
            now = time.perf_counter()
            if "step" in marks:
                step = {p: marks[f"{p}, done"] - marks[p] for p in PARTS[:3]}
                step["seconds"] = now - marks["step"]
                step["other"] = step["seconds"] - sum(step[p] for p in PARTS[:3])
                taken.append(step)
            marks["step"] = now

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.optimizers[0].register_step_post_hook(
                lambda *arguments: marks.update(stepped=time.perf_counter())
            )

    add_callback(Stopwatch())
    _follow(config, run_dir, steps)
    connection.send(taken)


def _follow(config: str, run_dir: str, steps: int) -> None:
    from seqae.cli import main

    last = ["--trainer.max_steps", str(steps), "--checkpoint.every_n_steps", "0"]
    main(["fit", "-c", config, "--run_dir", run_dir, "--threads", "1", *OPTIONS, *last])


def time_exchange(sizes: tuple[int, ...] = (4, 1 << 22, 1 << 24, 40 << 20)) -> dict[str, Any]:
    """Time an all-reduce with gloo for each size in bytes, and fit a line to the medians."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_exchange, args=(sizes, theirs))
    process.start()
    theirs.close()
    seconds: list[float] = ours.recv()
    process.join()
    bandwidth = (sizes[-1] - sizes[0]) / (seconds[-1] - seconds[0])
    return {
        "bytes": list(sizes),
        "seconds": seconds,
        "latency_seconds": seconds[0],
        "bytes_per_second": bandwidth,
    }


def _exchange(sizes: tuple[int, ...], connection: Any) -> None:
    start_second(_add_up, sizes)
    connection.send(_add_up(sizes))


def _add_up(sizes: tuple[int, ...]) -> list[float]:
    torch.set_num_threads(1)
    rank = int(os.environ["LOCAL_RANK"])
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    medians = []
    for size in sizes:
        values, taken = torch.zeros(max(1, size // 4)), []
        for _ in range(12):
            torch.distributed.barrier()
            started = time.perf_counter()
            torch.distributed.all_reduce(values)
            taken.append(time.perf_counter() - started)
        medians.append(statistics.median(taken[2:]))
    torch.distributed.destroy_process_group()
    return medians


if __name__ == "__main__":
    main()
