"""Run the reliability tests, also the long ones, and print a table: `scripts/reliability`."""

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

# Name, what the tests show, their file, and the selection (`-k`) of its tests.
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
    """Run the tests of a row.

    Returns:
        The rounds, the failures, and the remarks of the tests.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", HERE / f"test_{file}.py", "-q", "-m", "not gpu"]
        command += ["-k", selection] if selection else []
        command += [f"--junitxml={report}", "-o", "junit_family=xunit1"]
        done = subprocess.run([str(part) for part in command], cwd=HERE.parent, capture_output=True)
        if not report.exists():
            raise RuntimeError(done.stdout.decode() + done.stderr.decode())
        cases = list(ElementTree.parse(report).iter("testcase"))
    rounds, failures, remarks = 0, 0, []
    for case in cases:
        properties = {p.get("name"): str(p.get("value")) for p in case.iter("property")}
        rounds += int(properties.get("rounds", 1)) * (case.find("skipped") is None)
        failures += case.find("failure") is not None or case.find("error") is not None
        remarks += [properties["said"]] if "said" in properties else []
    return rounds, failures, remarks


def main() -> int:
    """Print the table; return 1 if a test failed, otherwise 0."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", help="such as C1; by default all")
    names = options.parse_args().names
    print(f"{'':9} {'what':38} {'rounds':>6} {'failures':>8} {'seconds':>7}")
    total = 0
    for name, what, file, selection in ROWS:
        if names and not set(names) & set(name.split()):
            continue
        began = time.monotonic()
        rounds, failures, remarks = run_row(file, selection)
        total += failures
        seconds = time.monotonic() - began
        print(f"{name:9} {what:38} {rounds:6,} {failures:8,} {seconds:7,.0f}", flush=True)
        for line in remarks:
            print(f"{'':10}{line}")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
