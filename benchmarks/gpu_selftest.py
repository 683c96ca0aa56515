"""Test and time a GPU: the tests marked `gpu`, and speeds by model, precision and compilation.

    scripts/gpu_selftest [--output benchmarks/results/gpu.json]
    scripts/gpu_selftest --device cpu         # the same program at small sizes, to try it out

It prints a table in Markdown, and also writes it next to the JSON file of `--output`. Speeds are
those of a bare training loop (model, loss, clipping, AdamW) over batches of random sentences, in
target tokens per second; "of peak" compares them with one large product in the same precision on
the same device. The status is 1 if a check fails or there is no GPU.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from driver import ROOT, benchmark_parser, environment
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from seqae.batch import Batch, Vocabulary
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder, TransformerDecoder
from seqae.model.encoders import GRUEncoder, TransformerEncoder
from seqae.model.latents import DeterministicLatent
from seqae.objectives import Reconstruction
from seqae.training.optimization.precision import Bfloat16Weights, set_tf32

# Types of weights and products: float32, float32 with products in TF32 ...
PRECISIONS = ("fp32", "tf32", "bf16-mixed", "bf16-true")
PHASES = ("data", "forward", "backward", "optimizer")
CHECKS = "checks"


@dataclass(frozen=True)
class Sizes:
    """Sizes of the models and batches that are timed.

    Attributes:
        vocab_size: V; a multiple of 8, which suits tensor cores.
        embedding_dim: E.
        hidden_dim: H of the recurrent layers and of the Transformer.
        batch_tokens: tokens of a batch, padding counted.
        product: side of the square matrices whose product gives the peak.
        seconds: how long each loop is timed.
    """

    vocab_size: int
    embedding_dim: int
    hidden_dim: int
    batch_tokens: int
    product: int
    seconds: float


SIZES = {
    "cuda": Sizes(10_000, 256, 512, 16_384, 8192, 3.0),
    "cpu": Sizes(304, 32, 32, 256, 256, 0.2),
}


@dataclass
class Row:
    """A line of the table."""

    name: str
    result: str
    figure: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", choices=SIZES, default="cuda")
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="rows not begun by then are skipped"
    )
    parser.add_argument("--only", help="rows whose names contain this; `checks` are the tests")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "There is no GPU here. `--device cpu` tries the program without one.", file=sys.stderr
        )
        return 1
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    rows = []
    deadline = time.monotonic() + 60 * args.minutes
    print(header(args.device), flush=True)
    for row in all_rows(args.device, args.only or "", deadline):
        rows.append(row)
        print(line(row), flush=True)
    if args.output is not None:
        values = [{"name": r.name, "result": r.result, **r.values} for r in rows]
        result = {"environment": environment() | device(args.device), "rows": values}
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        table = "\n".join([header(args.device), *map(line, rows)])
        args.output.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    return int(any(row.result == "failed" for row in rows))


def all_rows(kind: str, only: str, deadline: float) -> Iterator[Row]:
    """Measure the speeds first: they take about three minutes, the checks the rest."""
    peaks: dict[str, float] = {}
    for name, measure in speeds(kind, peaks):
        if only and only not in name:
            continue
        if time.monotonic() > deadline:
            yield Row(name, "skipped", "out of time")
            continue
        try:
            yield measure(name)
        except (RuntimeError, ValueError) as error:
            yield Row(name, "failed", str(error).splitlines()[0][:100])
    if not only or only in CHECKS:
        yield from checks(kind, max(10.0, deadline - time.monotonic()))


# Speeds


def speeds(kind: str, peaks: dict[str, float]) -> Iterator[tuple[str, Callable[[str], Row]]]:
    """Yield the name of each row, and the function that makes it."""
    for precision in PRECISIONS[:3]:
        yield f"product, {precision}", lambda name, p=precision: product(name, kind, p, peaks)
    for model in ("gru", "transformer"):
        for precision in PRECISIONS:
            yield (
                f"{model}, {precision}",
                lambda name, m=model, p=precision: training(name, kind, m, p, False, peaks),
            )
        for precision in ("tf32", "bf16-mixed"):
            yield (
                f"{model}, {precision}, compiled",
                lambda name, m=model, p=precision: training(name, kind, m, p, True, peaks),
            )


def product(name: str, kind: str, precision: str, peaks: dict[str, float]) -> Row:
    """Measure the speed of a large product."""
    if not switch(kind, precision):
        return Row(name, "skipped", "this device has no TF32")
    side, dtype = SIZES[kind].product, torch.bfloat16 if "bf16" in precision else torch.float32
    left, right = (torch.randn(side, side, device=kind, dtype=dtype) for _ in range(2))
    seconds = timed(lambda: left @ right, kind, SIZES[kind].seconds)
    peaks[precision] = 2 * side**3 / seconds
    return Row(
        name, "passed", f"{peaks[precision] / 1e12:.2f} TFLOP/s", {"flops": peaks[precision]}
    )


def training(
    name: str, kind: str, model: str, precision: str, compiled: bool, peaks: dict[str, float]
) -> Row:
    """Measure the speed of a training loop, and where its time goes."""
    if not switch(kind, precision):
        return Row(name, "skipped", "this device has no TF32")
    loop = Loop(kind, model, precision, compiled)
    started = time.perf_counter()
    for _ in range(len(loop.batches)):  # every shape once, so that it is compiled
        loop.step()
    synchronize(kind)
    prepared = time.perf_counter() - started
    seconds = timed(loop.step, kind, SIZES[kind].seconds)
    phases = loop.phases()
    tokens = statistics.mean(batch.num_targets for batch in loop.batches)
    speed, flops = tokens / seconds, loop.flops_per_token()
    values = {
        "tokens_per_second": speed,
        "seconds_before": prepared,
        "flops_per_token": flops,
        "milliseconds": {phase: 1e3 * value for phase, value in phases.items()},
    }
    figure = f"{speed:,.0f} tokens/s"
    if (peak := peaks.get("bf16-mixed" if "bf16" in precision else precision)) is not None:
        values["share_of_peak"] = speed * flops / peak
        figure += f", {values['share_of_peak']:.0%} of peak"
    figure += "; ms " + ", ".join(f"{phase} {1e3 * value:.1f}" for phase, value in phases.items())
    return Row(name, "passed", figure, values)


class Loop:
    """A training loop without Lightning, over random sentences of 8 to 32 tokens.

    Args:
        kind: `cuda` or `cpu`.
        model: `gru` or `transformer`.
        precision: one of PRECISIONS.
        compiled: whether to use compiled kernels.
    """

    def __init__(self, kind: str, model: str, precision: str, compiled: bool) -> None:
        torch.manual_seed(0)
        self.kind, self.name, self.precision = kind, model, precision
        self.model = build(model, SIZES[kind]).to(kind).train()
        if precision == "bf16-true":
            Bfloat16Weights().convert_module(self.model)
        if compiled:
            self.model.compile_parts()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.objective = Reconstruction(word_dropout=0.2)
        self.batches = [random_batch(SIZES[kind], width) for width in (8, 16, 24, 32)]
        if kind == "cuda":
            self.batches = [batch.pin_memory() for batch in self.batches]
        self.taken = 0

    def step(self) -> None:
        """Take a step without waiting for the device."""
        self.optimize(self.backward(self.forward(self.data())))

    def data(self) -> Batch:
        """Start to copy the next batch to the device."""
        batch = self.batches[self.taken % len(self.batches)]
        self.taken += 1
        return batch.to(self.kind, non_blocking=True)

    def forward(self, batch: Batch) -> Tensor:
        """Compute the loss."""
        half = self.precision == "bf16-mixed"
        with torch.autocast(self.kind, torch.bfloat16) if half else nullcontext():
            generator = Generator().manual_seed(self.taken)
            return self.objective(self.model, batch, 0, generator)["loss"]

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        self.optimizer.zero_grad()
        loss.backward()

    def optimize(self, _: None) -> None:
        """Clip the gradients and update the weights."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def phases(self) -> dict[str, float]:
        """Time each phase in seconds, synchronised: the median over steps of all shapes."""
        taken: dict[str, list[float]] = {phase: [] for phase in PHASES}
        for _ in range(3 * len(self.batches)):
            value: Any = None
            for phase in PHASES:
                synchronize(self.kind)
                started = time.perf_counter()
                if phase == "data":
                    value = self.data()
                elif phase == "forward":
                    value = self.forward(value)
                elif phase == "backward":
                    value = self.backward(value)
                else:
                    self.optimize(value)
                synchronize(self.kind)
                taken[phase].append(time.perf_counter() - started)
        return {phase: statistics.median(values) for phase, values in taken.items()}

    def flops_per_token(self) -> float:
        """Count forward and backward pass, on a CPU, where a GRU consists of products."""
        model, batch = build(self.name, SIZES[self.kind]), random_batch(SIZES["cpu"], 24)
        counter = FlopCounterMode(display=False)
        with counter:
            generator = Generator().manual_seed(0)
            self.objective(model.train(), batch, 0, generator)["loss"].backward()
        return counter.get_total_flops() / batch.num_targets


def build(name: str, sizes: Sizes) -> SequenceAutoencoder:
    """Build a model at the sizes of the reference setting of docs/log.md, or of a small test."""
    hidden: dict[str, Any] = {"hidden_dim": sizes.hidden_dim}
    if name == "gru":
        parts: tuple[Any, Any] = GRUEncoder(**hidden), GRUDecoder(**hidden)
    else:
        hidden |= {"feedforward_dim": 4 * sizes.hidden_dim, "num_heads": 4, "num_layers": 4}
        parts = TransformerEncoder(**hidden), TransformerDecoder(**hidden)
    model = SequenceAutoencoder(
        parts[0], DeterministicLatent(4 * 32), parts[1], embedding_dim=sizes.embedding_dim
    )
    return model.build(Vocabulary(sizes.vocab_size, 0, 1, 2, 3), 64)


def random_batch(sizes: Sizes, width: int) -> Batch:
    """Draw as many sentences of at most `width` tokens as the budget holds."""
    rows = max(1, sizes.batch_tokens // width)
    lengths = torch.randint(width - 4, width + 1, (rows,))
    token_ids = torch.randint(4, sizes.vocab_size, (rows, width))
    return Batch(token_ids.masked_fill(torch.arange(width) >= lengths[:, None], 0), lengths)


def timed(run: Callable[[], Any], kind: str, seconds: float) -> float:
    """Time a call in seconds, the mean over as many as fit; synchronise after every fourth."""
    run()
    synchronize(kind)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(4):
            run()
        synchronize(kind)
        count += 4
    return (time.perf_counter() - started) / count


def switch(kind: str, precision: str) -> bool:
    """Set how float32 numbers are multiplied; return whether this device can do it."""
    try:
        set_tf32(precision == "tf32", torch.device(kind))
    except ValueError:
        return False
    return True


def synchronize(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


# Checks


def checks(kind: str, seconds: float) -> Iterator[Row]:
    """Run the tests marked `gpu` and yield a row for each, or one if the time runs out."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/test_gpu.py", "-q"]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = dict(os.environ, SEQAE_TEST_DEVICE=kind, PYTHONPATH=os.pathsep.join(paths))
        try:
            done = subprocess.run(
                [*command, f"--junitxml={report}"],
                cwd=ROOT,
                env=variables,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            yield Row("checks", "failed", f"not done after {seconds:.0f} s; see --minutes")
            return
        if not report.exists():
            yield Row("checks", "failed", (done.stderr or done.stdout)[-200:].replace("\n", " "))
            return
        yield from map(row_of, ElementTree.parse(report).getroot().iter("testcase"))


def row_of(case: ElementTree.Element) -> Row:
    """Convert a test's result to a row."""
    name = case.get("name", "").removeprefix("test_").replace("_", " ")
    messages = {child.tag: child.get("message", "") for child in case}
    result = "failed" if {"failure", "error"} & messages.keys() else "passed"
    result = "skipped" if "skipped" in messages else result
    lines = " ".join(messages.values()).splitlines()
    values = {"seconds": float(case.get("time", 0.0))}
    return Row(name, result, lines[0][:100] if lines else f"{values['seconds']:.0f} s", values)


# The table


def device(kind: str) -> dict[str, Any]:
    """Describe the device under test."""
    if kind == "cpu":
        return {"device": "CPU, small sizes", "devices": 1}
    return {
        "device": torch.cuda.get_device_name(),
        "devices": torch.cuda.device_count(),
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def header(kind: str) -> str:
    """Format the description of the device and the head of the table."""
    properties: Mapping[str, Any] = device(kind) | {"torch": torch.__version__}
    description = ", ".join(f"{key} {value}" for key, value in properties.items())
    return f"{description}\n\n| check | result | figure |\n|---|---|---|"


def line(row: Row) -> str:
    """Format a row in Markdown."""
    return f"| {row.name} | {row.result} | {row.figure.replace('|', '/')} |"


if __name__ == "__main__":
    sys.exit(main())
