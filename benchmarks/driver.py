"""Run programs in turn, and report medians of ratios as a table and as JSON: for all benchmarks.

Two runs on a shared machine cannot be compared: it is faster in one minute than in the next. So all
programs are started once, stay alive, and work in turn for a few seconds each. A ratio compares two
programs of one round, and the report gives the median over the rounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Turns:
    """A program's side of the protocol: it calls `done` after each step, and waits there.

    Args:
        connection: to the driver.
        clock: a key of CLOCKS.
    """

    def __init__(self, connection: Connection, clock: str = "wall") -> None:
        self.connection, self.clock = connection, CLOCKS[clock]
        self.work, self.started, self.seconds = 0.0, 0.0, 0.0

    def done(self, work: float) -> None:
        """Add a step's work (tokens, FLOPs ...); return when it is this program's turn again."""
        self.work += work
        elapsed = self.clock() - self.started
        if elapsed >= self.seconds:
            self.connection.send(self.work / elapsed)
            self.wait()

    def wait(self) -> None:
        """Wait for the turn; a program calls this before its first step."""
        self.seconds = self.connection.recv()
        self.work, self.started = 0.0, self.clock()


@dataclass(frozen=True)
class Program:
    """A program that works in steps.

    Attributes:
        run: called in a process of its own with `Turns` and the arguments; never returns.
        arguments: plain data.
    """

    run: Callable[..., None]
    arguments: tuple[Any, ...] = ()


def run_in_turn(
    programs: Mapping[str, Program], seconds: float, rounds: int, clock: str = "wall"
) -> dict[str, list[float]]:
    """Run programs in turn.

    Args:
        programs: by name.
        seconds: of a turn; a step that has begun is finished, and its time counts.
        rounds: number of turns of each program, after one more round that warms up.
        clock: `wall`, or `cpu` for seconds of processor time, which other work on the machine
            disturbs less; only for programs with one thread.

    Returns:
        The work per second of each program in each round.
    """
    context = multiprocessing.get_context("spawn")
    speeds: dict[str, list[float]] = {name: [] for name in programs}
    connections, processes = {}, []
    try:
        for name, program in programs.items():
            connections[name], theirs = context.Pipe()
            # Not a daemon: it could not start processes of its own, as preparation does.
            process = context.Process(target=_start, args=(theirs, program, clock))
            process.start()
            theirs.close()  # so that the death of a program ends our waiting
            processes.append(process)
        for number in range(rounds + 1):
            for name, connection in connections.items():
                connection.send(seconds)
                speed = connection.recv()
                if number:
                    speeds[name].append(speed)
            note = ", ".join(f"{n} {s[-1]:,.0f}" for n, s in speeds.items() if s) or "warmed up"
            note += f"; load {os.getloadavg()[0]:.1f}"
            print(f"round {number}/{rounds}: {note}", file=sys.stderr)
    finally:
        for process in processes:
            process.kill()
    return speeds


def _start(connection: Connection, program: Program, clock: str) -> None:
    sys.stdout = sys.stderr  # the output of a training does not belong in the report
    program.run(Turns(connection, clock), *program.arguments)


def ratios(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Compute the median, lowest and highest ratio over the rounds."""
    values = [a / b for a, b in zip(over, under, strict=True)]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def format_ratio(ratio: Mapping[str, float]) -> str:
    """Format a ratio for people: `2.91 [2.60, 3.20]`."""
    return f"{ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"


def environment() -> dict[str, Any]:
    """Describe the hardware, the versions, the commit, and the load of the machine."""
    packages = ("torch", "lightning", "tokenizers", "numpy", "jsonargparse")
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
    )
    return {
        "command": " ".join(["python", *sys.argv]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit.stdout.strip() + (" with changes" if changed.stdout.strip() else ""),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Create the parser of a benchmark, with its description and `--output`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="write the result to this file, as JSON")
    return parser


def interleaved_parser(
    description: str | None, rounds: int, seconds: float = 3.0
) -> argparse.ArgumentParser:
    """Create the parser of a benchmark whose programs take turns.

    Args:
        description: as `benchmark_parser` takes it.
        rounds: the default of `--rounds`, the number of turns of each program.
        seconds: the default of `--seconds`, the least length of a turn.
    """
    parser = benchmark_parser(description)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each program")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="of a turn, at least")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: busy, one thread")
    return parser


def report(rows: Sequence[Mapping[str, Any]], result: Any, output: Path | None) -> None:
    """Print rows as a table, and write the result and the environment as JSON.

    Args:
        rows: all with the same keys, the names of the columns.
        result: plain data, with all measurements.
        output: the JSON file, if any.
    """
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *rest = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first, *rest]).rstrip())
    if output is not None:
        text = json.dumps({"environment": environment(), "result": result}, indent=2)
        output.write_text(text + "\n", encoding="utf-8")
