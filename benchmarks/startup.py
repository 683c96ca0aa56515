"""Time the import of seqae and short commands by the wall clock, with a warm file cache.

    python benchmarks/startup.py [--bundle RUN/bundle] [--output benchmarks/results/startup.json]

Each command is a fresh process, run in turn with the others; the time of `import seqae` is that
above an interpreter that does nothing. Without `--bundle` a small one is trained first.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from driver import ROOT, benchmark_parser, report

HEAVY = ("torch", "lightning", "wandb", "datasets")
SEQAE = (str(Path(sys.executable).with_name("seqae")),)
LIMITS = {"import seqae": 0.3, "seqae --help": 1.0, "seqae reconstruct": 4.0}  # seconds


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
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if number:  # the first round warms the file cache
                    times[name].append(time.perf_counter() - started)
    bare = times.pop("bare python")
    times["import seqae"] = [a - b for a, b in zip(times["import seqae"], bare, strict=True)]
    imported = heavy_imports()
    rows = [
        {
            "command": name,
            "best, s": f"{min(seconds):.2f}",
            "median, s": f"{statistics.median(seconds):.2f}",
            "limit, s": LIMITS.get(name, ""),
        }
        for name, seconds in times.items()
    ]
    result = {"seconds": times, "bare_python": bare, "import_seqae_imports": imported}
    report(rows, result, args.output)
    print(f"\n`import seqae` imports of {', '.join(HEAVY)}: {', '.join(imported) or 'none'}")


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
