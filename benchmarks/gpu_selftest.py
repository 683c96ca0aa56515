"""Whether everything that only a GPU can show works on this one, and how fast: a table to share.

    scripts/gpu_selftest [--output benchmarks/results/gpu.json]
    scripts/gpu_selftest --device cpu --steps 6      # the same program, where there is no GPU

Each row is a training by the command line in a process of its own, on the built-in corpus. It takes
less than ten minutes on one GPU. Speeds are medians of `train/tokens_per_second` behind the first
third of the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from driver import ROOT, parser, report

SPEEDS = {
    "gru, 32-true": ("gru", "--trainer.precision", "32-true"),
    "gru, bf16-mixed": ("gru", "--trainer.precision", "bf16-mixed"),
    "gru, bf16-true": ("gru", "--trainer.precision", "bf16-true"),
    "transformer, 32-true": ("transformer", "--trainer.precision", "32-true"),
    "transformer, bf16-mixed": ("transformer", "--trainer.precision", "bf16-mixed"),
    "transformer, bf16-mixed, compiled": (
        "transformer",
        *("--trainer.precision", "bf16-mixed", "--model.compile", "true"),
    ),
}


class Skipped(Exception):
    """Not for this machine."""


class Selftest:
    """Runs trainings on a device.

    Args:
        device: `cuda` or `cpu`.
        steps: of each training.
        folder: for runs and the cache.
    """

    def __init__(self, device: str, steps: int, folder: Path) -> None:
        self.device, self.steps, self.folder = device, steps, folder
        self.number = 0

    def fit(self, recipe: str, *options: str, devices: int = 1, run: Path | None = None) -> Path:
        """Train with the command; the run's folder."""
        self.number += 1
        run = run or self.folder / f"run{self.number}"
        accelerator = "gpu" if self.device == "cuda" else "cpu"
        arguments = ["-c", str(ROOT / f"configs/{recipe}.yaml"), "--run_dir", str(run)]
        if self.device == "cuda":
            arguments += ["-c", str(ROOT / "configs/overlays/gpu.yaml")]
        arguments += ["--trainer.accelerator", accelerator, "--trainer.devices", str(devices)]
        arguments += ["--trainer.max_steps", str(self.steps), "--trainer.log_every_n_steps", "1"]
        arguments += ["--model.warmup_steps", "5", "--trainer.limit_val_batches", "1"]
        arguments += ["--density_sentences", "0", "--samples", "0"]
        arguments += ["--data.cache_dir", str(self.folder / "cache"), *options]
        self.seqae("fit", *arguments)
        return run

    def seqae(self, *arguments: str) -> str:
        """What the command says."""
        environment = dict(os.environ, SEQAE_CACHE=str(self.folder / "cache"))
        done = subprocess.run(
            [sys.executable, "-m", "seqae", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(said[-1] if said else f"status {done.returncode}")
        return done.stdout + done.stderr

    def checks(self) -> dict[str, Callable[[], str]]:
        """By name; each gives a figure."""
        precisions = ["32-true", "bf16-mixed", "bf16-true"]
        precisions += ["16-mixed"] if self.device == "cuda" else []
        return {
            "gradients are the CPU's": self.gradients,
            **{f"{name} trains": lambda name=name: self.trains(name) for name in precisions},  # type: ignore[misc]
            "16-mixed: the scaler is saved": self.scaler,
            "a resume goes on as it would have": self.resumes,
            "compiled blocks give the same losses": self.compiled,
            "all devices, DDP": lambda: self.all_devices("ddp"),
            "all devices, FSDP2": lambda: self.all_devices("fsdp"),
            "out of memory: in parts": self.out_of_memory,
        }

    def gradients(self) -> str:
        """The same model and batch on both: the largest difference, relative to the largest."""
        from seqae.batch import Batch, Vocabulary
        from seqae.model.autoencoder import SequenceAutoencoder
        from seqae.model.decoders import GRUDecoder
        from seqae.model.encoders import GRUEncoder
        from seqae.model.latents import DeterministicLatent
        from seqae.objectives.reconstruction import Reconstruction

        torch.manual_seed(0)
        model = SequenceAutoencoder(GRUEncoder(64), DeterministicLatent(32), GRUDecoder(64), 32)
        model.build(Vocabulary(100, 0, 1, 2, 3), 32)
        batch = Batch(torch.randint(4, 100, (16, 20)), torch.full((16,), 20))
        found = []
        for device in ("cpu", self.device):
            model = model.to(device)
            model.zero_grad()
            generator = torch.Generator().manual_seed(0)
            Reconstruction()(model, batch.to(device), 0, generator)["loss"].backward()
            found.append([w.grad.cpu() for w in model.parameters() if w.grad is not None])
        worst = max(
            float((a - b).abs().max() / a.abs().max().clamp(min=1e-12))
            for a, b in zip(*found, strict=True)
        )
        if worst > 1e-3:
            raise RuntimeError(f"differ by {worst:.1e} of the largest")
        return f"within {worst:.1e}"

    def trains(self, precision: str) -> str:
        """The loss falls, and the bundle is whole."""
        run = self.fit("gru", "--trainer.precision", precision)
        losses = figures(run, "train/loss")
        if not losses[-1] < losses[0]:
            raise RuntimeError(f"the loss went from {losses[0]:.2f} to {losses[-1]:.2f}")
        self.seqae("check", str(run))
        return f"loss {losses[0]:.2f} to {losses[-1]:.2f}"

    def scaler(self) -> str:
        """Its scale is in the checkpoint."""
        if self.device == "cpu":
            raise Skipped("a CPU has no float16")
        run = self.fit("gru", "--trainer.precision", "16-mixed")
        saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        return f"scale {saved['MixedPrecision']['scale']:g}"

    def resumes(self) -> str:
        """From the middle, against an undisturbed run."""
        half = max(1, self.steps // 2)
        every = ("--checkpoint.every_n_steps", str(half), "--checkpoint.keep", "9")
        whole = self.fit("gru", *every)
        again = self.folder / "again"
        shutil.copytree(whole, again, symlinks=True)
        saved = again / "checkpoints"
        for path in saved.glob("step=*.ckpt"):
            if path.name != f"step={half}.ckpt":
                path.unlink()
        (saved / "last.ckpt").unlink()
        (saved / "last.ckpt").symlink_to(f"step={half}.ckpt")
        self.seqae("fit", "--resume", str(again))
        worst = difference(figures(whole, "train/loss"), figures(again, "train/loss"))
        return "bit-equal" if worst == 0 else f"within {worst:.1e} (kernels differ by run)"

    def compiled(self) -> str:
        """Against the same training without."""
        plain = figures(self.fit("transformer"), "train/loss")
        found = figures(self.fit("transformer", "--model.compile", "true"), "train/loss")
        worst = difference(plain, found)
        if worst > 0.05:
            raise RuntimeError(f"losses differ by {worst:.1%}")
        return f"within {worst:.1e}"

    def all_devices(self, overlay: str) -> str:
        """All devices against one at as many tokens a step."""
        count = torch.cuda.device_count() if self.device == "cuda" else 2
        if count < 2:
            raise Skipped("there is one GPU")
        tokens = 4096 if self.device == "cuda" else 256
        one = self.fit("gru", "--data.batch_tokens", str(tokens * count))
        more = ("-c", str(ROOT / f"configs/overlays/{overlay}.yaml"))
        precision = ("--data.batch_tokens", str(tokens))
        many = self.fit("gru", *more, *precision, "--trainer.devices", str(count), devices=count)
        losses = figures(many, "train/loss")
        if not losses[-1] < losses[0]:
            raise RuntimeError(f"the loss went from {losses[0]:.2f} to {losses[-1]:.2f}")
        speeds = [statistics.median(speeds_of(run)) for run in (one, many)]
        return f"{count} devices: {speeds[1] / speeds[0]:.2f} x the tokens/s of one"

    def out_of_memory(self) -> str:
        """A batch that does not fit, since most of the memory is taken."""
        if self.device == "cpu":
            raise Skipped("a CPU does not say so; tests/test_out_of_memory.py stands in")
        free, _ = torch.cuda.mem_get_info()
        taken = torch.empty(max(0, free - 3 * 2**30), dtype=torch.uint8, device="cuda")
        try:
            large = ("--data.batch_tokens", str(2**20), "--data.max_length", "192")
            said = self.seqae(
                *("fit", "-c", "configs/transformer.yaml", "-c", "configs/overlays/gpu.yaml"),
                *("--trainer.devices", "1", "--trainer.max_steps", "3", "--density_sentences", "0"),
                *("--run_dir", str(self.folder / "memory"), "--trainer.limit_val_batches", "0"),
                *("--model.warmup_steps", "1", *large),
            )
        finally:
            del taken
            torch.cuda.empty_cache()
        if "from now on batches of more than" not in said:
            raise RuntimeError("memory did not run out; fewer than 3 GiB would have to be free")
        return "three steps taken"


def figures(run: Path, name: str) -> list[float]:
    """A figure of all rows that have it."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [row[name] for row in rows if name in row]


def speeds_of(run: Path) -> list[float]:
    """Tokens a second, behind the first third of the steps."""
    found = figures(run, "train/tokens_per_second")
    return found[len(found) // 3 :]


def difference(one: list[float], other: list[float]) -> float:
    """The largest relative difference of two lists."""
    if len(one) != len(other):
        raise RuntimeError(f"{len(one)} steps against {len(other)}")
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def product_speed(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOP a second of a product of two square matrices."""
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    taken = []
    for _ in range(10):
        wait()
        started = time.perf_counter()
        left @ right
        wait()
        taken.append(time.perf_counter() - started)
    return 2.0 * size**3 / statistics.median(taken)


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options.add_argument("--steps", type=int, default=60, help="of each training")
    options.add_argument("--only", nargs="+", help="rows with one of these in the name")
    given = options.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("`device` must be a GPU that torch finds, but there is none. Try --device cpu.")
        return 1
    with tempfile.TemporaryDirectory() as name:
        return run_all(Selftest(given.device, given.steps, Path(name)), given)


def run_all(selftest: Selftest, given: argparse.Namespace) -> int:
    """All checks and speeds; 1 if any failed."""
    cuda = given.device == "cuda"
    device = torch.cuda.get_device_name() if cuda else "CPU"
    count = torch.cuda.device_count() if cuda else 1
    print(f"{count} x {device}, torch {torch.__version__}, CUDA {torch.version.cuda}\n", flush=True)

    def measured(name: str) -> str:
        recipe, *more = SPEEDS[name]
        return f"{statistics.median(speeds_of(selftest.fit(recipe, *more))):,.0f} tokens/s"

    def host() -> str:
        run = selftest.fit("gru", "--data.batch_tokens", "64")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        times = [row["time"] for row in rows if "train/loss" in row]
        steps = [b - a for a, b in zip(times, times[1:], strict=False)]
        return f"{statistics.median(steps[len(steps) // 3 :]) * 1e3:.1f} ms"

    def product(dtype: torch.dtype) -> str:
        size = 8192 if cuda else 1024
        return f"{product_speed(given.device, dtype, size) / 1e12:,.1f} TFLOP/s"

    work = {
        **selftest.checks(),
        **{f"speed: {name}": lambda name=name: measured(name) for name in SPEEDS},  # type: ignore[misc]
        "a step of 64 tokens: what is not computing": host,
        "product in float32": lambda: product(torch.float32),
        "product in bfloat16": lambda: product(torch.bfloat16),
    }
    rows, failed = [], 0
    for name, run in work.items():
        if given.only and not any(part in name for part in given.only):
            continue
        started = time.perf_counter()
        try:
            state, figure = "passed", run()
        except Skipped as reason:
            state, figure = "skipped", str(reason)
        except Exception as error:  # one row must not take the others with it
            state, figure = "FAILED", " ".join(str(error).split())[:200]
            failed += 1
        seconds = time.perf_counter() - started
        rows.append({"check": name, "": state, "figure": figure, "s": f"{seconds:.0f}"})
        print(f"{name}: {state}, {figure}", file=sys.stderr, flush=True)
    report(rows, {"device": device, "devices": count, "rows": rows}, given.output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
