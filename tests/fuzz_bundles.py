"""Fuzz `seqae check` and `seqae.load` with coverage: `scripts/fuzz --minutes 30`.

libFuzzer, through atheris, keeps the inputs that reach new code of this package, and goes on from
them. What comes of an input is judged in bundle_fuzz.py; what must not is kept in the folder
`findings`, one input for each place in the code, and the fuzzing goes on. An input that takes 10
seconds or 2 GB more than the process has, or that ends it, is kept there by libFuzzer; then another
process goes on.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

PACKAGES = ("bundle", "data.tokenizers", "model", "priors", "generation")
SECONDS = 10
MEMORY_MB = 2048
MAX_BYTES = 150_000


def fuzz(folder: Path, place: Path, seconds: int, seed: int) -> None:
    """Fuzz in this process, which libFuzzer ends.

    Args:
        folder: of `corpus` and `findings`.
        place: where bundles are written for a moment.
        seconds: how long.
        seed: of the mutations.
    """
    import atheris

    with atheris.instrument_imports(include=["seqae"]):
        import bundle_fuzz
        import bundle_mutations
        import torch

        for package in PACKAGES:
            path = importlib.import_module(f"seqae.{package}").__path__
            for module in pkgutil.walk_packages(path, f"seqae.{package}."):
                importlib.import_module(module.name)
    torch.set_num_threads(1)
    place = Path(tempfile.mkdtemp(dir=place))
    bases = bundle_fuzz.write_bases(place)
    for number, given in enumerate(bundle_fuzz.seeds(bases)):
        (folder / "corpus" / f"seed-{number}").write_bytes(given.pack())
    watch, results, known = bundle_fuzz.Watch(place), Counter[str](), set[str]()

    def run_one(data: bytes) -> None:
        try:
            results[bundle_fuzz.run(data, bases, place / "now", watch)] += 1
        except bundle_fuzz.Finding as finding:
            results["found"] += 1
            name = re.sub(r"[^\w.:]+", "-", bundle_fuzz.place_of(finding))
            if name not in known:
                known.add(name)
                (folder / "findings" / name).write_bytes(data)
                print(f"FOUND {name}: {finding}"[:400], flush=True)
        if sum(results.values()) % 1000 == 0:
            print(f"RESULTS {bundle_fuzz.counts(results)}", flush=True)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        return bundle_mutations.mutate(data, bases, chance, max_size, atheris.Mutate)

    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    options = [f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-max_len={MAX_BYTES}"]
    options += [f"-rss_limit_mb={rss // 2**20 + MEMORY_MB}", "-len_control=0", f"-seed={seed}"]
    options += [f"-artifact_prefix={folder / 'findings'}/", "-print_final_stats=1"]
    arguments = [sys.argv[0], *options, str(folder / "corpus")]
    atheris.Setup(arguments, run_one, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    """Fuzz in processes of their own until the time is over; return 1 if anything was found."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--folder", type=Path, default=Path("fuzzing"), help="is kept")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child is not None:
        fuzz(chosen.folder, chosen.place, chosen.child, chosen.seed)
        return 0
    for name in ("corpus", "findings"):
        (chosen.folder / name).mkdir(parents=True, exist_ok=True)
    end, seed = time.monotonic() + 60 * chosen.minutes, chosen.seed
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        while (left := int(end - time.monotonic())) > 5:
            command = [sys.executable, __file__, "--child", str(left), "--seed", str(seed)]
            command += ["--place", place, "--folder", str(chosen.folder)]
            subprocess.run(command, check=False)
            seed += 1
    found = sorted(path.name for path in (chosen.folder / "findings").iterdir())
    print(f"{len(found)} findings in {chosen.folder / 'findings'}: {', '.join(found)}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
