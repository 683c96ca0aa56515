"""Pack a trained run as the demo that ships with the package; see scripts/make_demo.

The weights are stored in float16, to stay below 3 MB. The card has the metrics that these weights
reach on 1,000 sentences of the test split, which the model never saw.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.io import load, read_bundle, write_bundle
from seqae.bundle.prior_draws import fit_priors, usual_priors
from seqae.bundle.stored_priors import add_priors
from seqae.files import replace_folder
from seqae.tasks.evaluate.texts import read_split

MAX_BYTES = 3_000_000


def evaluate(folder: Path) -> dict[str, float]:
    """Measure a bundle on its test split."""
    output = folder.parent / "evaluation.json"
    command = [sys.executable, "-m", "seqae", "evaluate", str(folder), "--output", str(output)]
    subprocess.run([*command, "--metrics", "reconstruction"], check=True)
    scores = json.loads(output.read_text(encoding="utf-8"))["scores"]["model"]
    return {f"test/{name}": value for name, value in scores.items()}


def pack(run: Path, folder: Path) -> None:
    """Write the bundle of a run with rounded weights, and what these reach on unseen sentences."""
    model, tokenizer, normalization, details = read_bundle(run / "bundle", with_priors=False)
    texts = [row["text"] for row in details["selftest"]]

    def write(metrics: dict[str, Any], selftest: list[dict[str, str]]) -> None:
        training, half = details["training"], torch.float16
        write_bundle(folder, model, tokenizer, metrics, training, selftest, normalization, half)

    write({}, [])
    rounded = load(folder)
    pairs = zip(texts, rounded.reconstruct(texts), strict=True)
    selftest = [{"text": text, "reconstruction": written} for text, written in pairs]
    write(evaluate(folder), selftest)
    latents = rounded.encode(read_split(rounded, folder, "train").inputs[::4])
    add_priors(folder, fit_priors(usual_priors(model), latents))


def main() -> None:
    """Pack a run, and put the files into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run")
    run = parser.parse_args().run
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        pack(run, folder)
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    size = sum(map(len, files.values()))
    if size > MAX_BYTES:
        sys.exit(f"The demo must have at most {MAX_BYTES:,} bytes, but it has {size:,}.")
    replace_folder(DEMO_FOLDER, files)
    print(f"{DEMO_FOLDER}: {size:,} bytes")


if __name__ == "__main__":
    main()
