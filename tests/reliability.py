"""The tests of what must survive, the long ones too, and their table: `scripts/reliability`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent

ELASTIC = "other_ranks or twice_resumed or ended_within or limit or one_process_to_two"
WHOLE = f"not ({ELASTIC})"

# Name, what it shows, file, and which of its tests.
ROWS = (
    ("R1", "resume equals uninterrupted", "resume", WHOLE),
    ("R2 R3", "each sentence once, on other ranks", "resume", ELASTIC),
    ("R4", "signals and the clock", "preemption", ""),
    ("R6", "changed settings, --resume auto", "resuming", ""),
    ("C1", "kill -9 within saves", "crashes", "within_saves"),
    ("C1", "kill -9 at each moment of a training", "crashes", "moment or write or bundle or row"),
    ("C2", "a fault at each call of a save", "checkpointing", "not training"),
    ("C2", "a fault at each call of a training", "checkpointing", "training"),
    ("C2 C5", "files as a whole", "storage", ""),
    ("C4", "damaged checkpoints", "crashes", "damage"),
    ("C3 C5 C6", "temporary folders, modes, room", "disks", ""),
    ("N1", "numbers that are not finite", "numbers", ""),
    ("N2", "a process that dies", "processes", ""),
    ("N2", "torchrun: killed, stopped, started again", "torchrun", ""),
    ("N3", "two processes against one", "ranks", ""),
    ("N4", "memory that runs out", "out_of_memory", ""),
    ("N5", "loggers that fail", "loggers", ""),
    ("R1 C2", "sharded checkpoints (FSDP2)", "sharding", ""),
)


def run_row(file: str, selection: str) -> tuple[int, int, list[str]]:
    """Run the tests of a row: rounds, failures, and what the tests said."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", HERE / f"test_{file}.py", "-q", "-m", "not gpu"]
        command += ["-k", selection] if selection else []
        command += [f"--junitxml={report}", "-o", "junit_family=xunit1"]
        done = subprocess.run([str(part) for part in command], cwd=HERE.parent, capture_output=True)
        if not report.exists():
            raise RuntimeError(done.stdout.decode() + done.stderr.decode())
        cases = list(ElementTree.parse(report).iter("testcase"))
    rounds, failures, told = 0, 0, []
    for case in cases:
        found = {p.get("name"): str(p.get("value")) for p in case.iter("property")}
        rounds += int(found.get("rounds", 1)) * (case.find("skipped") is None)
        failures += case.find("failure") is not None or case.find("error") is not None
        told += [found["said"]] if "said" in found else []
    return rounds, failures, told


def main() -> int:
    """Print the table; the exit status is 1 if anything failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", help="such as C1; by default all")
    names = options.parse_args().names
    print(f"{'':9} {'what':38} {'rounds':>6} {'failures':>8} {'seconds':>7}")
    total = 0
    for name, what, file, selection in ROWS:
        if names and not set(names) & set(name.split()):
            continue
        began = time.monotonic()
        rounds, failures, told = run_row(file, selection)
        total += failures
        seconds = time.monotonic() - began
        print(f"{name:9} {what:38} {rounds:6,} {failures:8,} {seconds:7,.0f}", flush=True)
        for line in told:
            print(f"{'':10}{line}")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
