"""Time the import of seqae and short commands, with a warm file cache.

    python benchmarks/startup.py [--bundle RUN/bundle] [--output benchmarks/results/startup.json]

Each command is a fresh process, run in turn with the others; the time of `import seqae` is that
above an interpreter that does nothing. Processor time is that of all threads, user and system. The
imports of torch and of lightning are there to be subtracted: no command can be faster. A training
of one step, whose corpus has been prepared, neither validates nor fits priors nor makes a report,
and so ends where the first step does; another one does it all. Without `--bundle` a small one is
trained first.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from driver import ROOT, benchmark_parser, report

HEAVY = ("torch", "lightning", "wandb", "datasets")
SEQAE = (str(Path(sys.executable).with_name("seqae")),)
LIMITS = {"import seqae": 0.3, "seqae --help": 1.0, "seqae reconstruct": 4.0}  # seconds, wall
ONLY_A_STEP = ("--samples=0", "--prior_sentences=0", "--report=false", "--threads=1")


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = args.bundle or train_bundle(Path(folder))
        commands = {
            "bare python": (sys.executable, "-c", "pass"),
            "import seqae": (sys.executable, "-c", "import seqae"),
            "seqae --help": (*SEQAE, "--help"),
            "seqae reconstruct": (*SEQAE, "reconstruct", str(bundle), "a small sentence"),
            "seqae encode --help": (*SEQAE, "encode", "--help"),
            "seqae evaluate --help": (*SEQAE, "evaluate", "--help"),
            "seqae fit --help": (*SEQAE, "fit", "--help"),
            "import torch": (sys.executable, "-c", "import torch"),
            "import lightning": (sys.executable, "-c", "import lightning.pytorch.cli"),
            "seqae fit, to the first step": fit_command(Path(folder)),
            "seqae fit, one step, whole": fit_command(Path(folder), everything=True),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        cpu: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                shutil.rmtree(Path(folder, "one_step"), ignore_errors=True)
                wall, processor = time_of(command)
                if number:  # the first round warms the file cache
                    times[name].append(wall)
                    cpu[name].append(processor)
    bare, bare_cpu = times.pop("bare python"), cpu.pop("bare python")
    times["import seqae"] = [a - b for a, b in zip(times["import seqae"], bare, strict=True)]
    cpu["import seqae"] = [a - b for a, b in zip(cpu["import seqae"], bare_cpu, strict=True)]
    imported = heavy_imports()
    rows = [
        {
            "command": name,
            "best, s": f"{min(seconds):.2f}",
            "median, s": f"{statistics.median(seconds):.2f}",
            "processor, s": f"{statistics.median(cpu[name]):.2f}",
            "limit, s": LIMITS.get(name, ""),
        }
        for name, seconds in times.items()
    ]
    result = {
        "seconds": times,
        "processor_seconds": cpu,
        "bare_python": bare,
        "import_seqae_imports": imported,
    }
    report(rows, result, args.output)
    print(f"\n`import seqae` imports of {', '.join(HEAVY)}: {', '.join(imported) or 'none'}")


def time_of(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its seconds by the wall clock and of the processor."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds, after = time.perf_counter() - started, os.times()
    used = after.children_user - before.children_user
    return seconds, used + after.children_system - before.children_system


def fit_command(folder: Path, everything: bool = False) -> tuple[str, ...]:
    """Return the command of a training of one step, with or without what follows the step."""
    run = ("fit", "-c=gru", "--max_steps=1", f"--run_dir={folder}/one_step")
    cache = f"--data.cache_dir={folder}/cache"
    rest = () if everything else (*ONLY_A_STEP, "--trainer.limit_val_batches=0")
    return (*SEQAE, *run, cache, *rest)


def heavy_imports() -> list[str]:
    """List the packages that take seconds and that `import seqae` imports."""
    program = f"import seqae, sys; print(*(n for n in {HEAVY} if n in sys.modules))"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def train_bundle(folder: Path) -> Path:
    """Train the main recipe for a few steps."""
    configs = [ROOT / "configs" / "gru.yaml", ROOT / "configs" / "overlays" / "debug.yaml"]
    command = [*SEQAE, "fit", *(f"-c={config}" for config in configs), f"--run_dir={folder}/run"]
    command.append(f"--data.cache_dir={folder}/cache")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "run" / "bundle"


if __name__ == "__main__":
    main()
