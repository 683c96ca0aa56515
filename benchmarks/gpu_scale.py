"""The scale recipe on this device: its speed, where its time goes, and the constants behind it.

These rows of benchmarks/gpu_selftest.py measure what docs/scaling.md assumes. Each takes the recipe
itself, `scale/transformer`, or with `--small` its hundredth, and the real optimizer and objective.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from gpu_loops import Row, synchronize, timed
from gpu_surroundings import exchange, loader, whole_fit
from recipe_counts import count, read_recipe
from recipe_loop import RecipeLoop, autocast, gru_of
from scaling_recipe import memory
from torch.profiler import ProfilerActivity, profile

from seqae.model import cross_entropy
from seqae.training.lightning_internals import multiplies_bfloat16

RECIPES = {False: ["scale/transformer"], True: ["scale/transformer", "scale/hundredth"]}
BARS = {"transformer": 0.45, "gru": 0.10}  # shares of the bf16 peak to reach on a GPU
TOP = 15  # operators that are listed

# Dense bf16 FLOP/s and bytes a second, from data sheets, by the first of these words in a device's
# name.
DATA_SHEETS = {"H100 PCIe": (756e12, 2.0e12), "H100 NVL": (835e12, 3.9e12)}
DATA_SHEETS |= {"H200 NVL": (835e12, 4.8e12), "GH200 480GB": (989e12, 4.0e12)}
DATA_SHEETS |= {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "L40S": (362e12, 0.86e12)}
DATA_SHEETS |= {"A100-SXM4-40GB": (312e12, 1.555e12), "A100-PCIE-40GB": (312e12, 1.555e12)}
DATA_SHEETS |= {"A100": (312e12, 2.04e12)}

# Kernels of torch.nn.functional.scaled_dot_product_attention, by the operator that a profile shows.
KERNELS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_efficient_attention": "memory-efficient",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash of CPUs",
    "aten::_scaled_dot_product_attention_math": "math",
}


@dataclass
class Scale:
    """What the rows share.

    Attributes:
        kind: `cuda` or `cpu`.
        small: whether it is the hundredth.
        seconds: how long each loop is timed.
        constants: measured so far, under the names of scaling_recipe.Device and more.
        tables: longer ones, printed after the rows, by title.
        loop_seconds: of a step of the recipe's bare loop, once it is known.
        loop_targets: target tokens of such a step.
    """

    kind: str
    small: bool
    seconds: float
    constants: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    loop_seconds: float = 0.0
    loop_targets: float = 0.0

    def __post_init__(self) -> None:
        self.recipe = read_recipe(RECIPES[self.small])
        name = "CPU" if self.kind == "cpu" else torch.cuda.get_device_name()
        known = [values for word, values in DATA_SHEETS.items() if word in name]
        self.constants["name"] = name
        if self.kind == "cuda":
            self.constants["memory"] = torch.cuda.get_device_properties(0).total_memory
        if known:
            self.constants["peak"], self.constants["bandwidth"] = known[0]

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of products: bfloat16 but on CPUs that lack it, where autocast is left out."""
        return torch.bfloat16 if self.kind == "cuda" or multiplies_bfloat16() else None

    def loop(self, recipe: Mapping[str, Any], compiled: bool, **options: Any) -> RecipeLoop:
        """Make the training loop of a recipe on this device."""
        return RecipeLoop(self.kind, self.dtype, recipe, compiled, **options)

    def rows(self) -> Iterator[tuple[str, float, Callable[[str], Row]]]:
        """Yield each row's name, how many seconds it may take on a GPU, and what makes it."""
        yield "scale, memory bandwidth", 5, self.bandwidth
        yield "scale, products of the recipe", 10, self.products
        yield "scale, attention kernels", 20, self.attention
        yield "scale, transformer, compiled", 150, self.transformer
        yield "scale, padded batches, compiled", 60, self.padded
        yield "scale, transformer, not compiled", 20, self.plain
        yield "scale, gru", 30, self.gru
        yield "scale, chunks of the loss", 20, self.chunks
        yield "scale, exchange", 60, self.exchange
        yield "scale, loader", 30, self.loader
        yield "scale, seqae fit", 170, self.fit

    # Constants

    def bandwidth(self, name: str) -> Row:
        """Time the sum of two large tensors."""
        size = 2**18 if self.small else 2**28
        left, right, out = (torch.ones(size, device=self.kind) for _ in range(3))
        seconds = timed(lambda: torch.add(left, right, out=out), self.kind, self.seconds)
        found = 3 * left.nbytes / seconds
        figure = f"{found / 1e9:,.0f} GB/s"
        if (known := self.constants.setdefault("bandwidth", found)) != found:
            figure += f", {found / known:.0%} of the data sheet"
        self.constants["traffic_share"] = found / known
        return Row(name, "passed", figure, {"bytes_per_second": found})

    def products(self, name: str) -> Row:
        """Time the products of a block and of the output layer, at the recipe's sizes."""
        counts = count(self.recipe)
        hidden, wide, vocab = counts.hidden_dim, counts.feedforward_dim, counts.vocab_size
        tokens, rows = counts.batch_tokens, min(counts.batch_tokens, 2**26 // vocab)
        shapes = [(tokens, hidden, 3 * hidden), (tokens, hidden, hidden), (tokens, hidden, wide)]
        shapes += [(tokens, wide, hidden), (rows, hidden, vocab)]
        dtype = self.dtype or torch.float32
        total = flops = 0.0
        parts = {}
        for shape in shapes:
            left = torch.randn(shape[0], shape[1], device=self.kind, dtype=dtype)
            right = torch.randn(shape[2], shape[1], device=self.kind, dtype=dtype).t()
            seconds = timed(lambda a=left, b=right: a @ b, self.kind, self.seconds / 5)
            work = 2 * shape[0] * shape[1] * shape[2]
            parts[" x ".join(map(str, shape))] = work / seconds
            total, flops = total + seconds, flops + work
        known = self.constants.setdefault("peak", flops / total)
        self.constants["product_share"] = flops / total / known
        figure = f"{flops / total / 1e12:.2f} TFLOP/s, {flops / total / known:.0%} of peak"
        return Row(name, "passed", figure, {"flops": parts})

    # Training

    def attention(self, name: str) -> Row:
        """Find the kernels that attention takes; it must never be `math`."""
        found = {}
        for label, is_full in (("one length", True), ("several lengths", False)):
            loop = RecipeLoop(
                self.kind, self.dtype, self.recipe, compiled=False, rows=4, is_full=is_full
            )
            names = {event.key for event in self.profiled(loop, 1)}
            found[label] = sorted(KERNELS[key] for key in names & KERNELS.keys())
        result = "failed" if any("math" in kernels for kernels in found.values()) else "passed"
        figure = "; ".join(f"{label}: {', '.join(found[label])}" for label in found)
        return Row(name, result, figure, {"kernels": found})

    def transformer(self, name: str) -> Row:
        """Time the recipe as it trains, and list the operators that take its time."""
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
        loop = RecipeLoop(
            self.kind, self.dtype, self.recipe, compiled=self.recipe["model"]["compiled"]
        )
        row = self.timed_row(name, loop, "transformer")
        self.loop_seconds = row.values["seconds"]
        self.loop_targets = loop.targets
        if self.kind == "cuda":
            used, told = torch.cuda.max_memory_allocated(), sum(memory(loop.counts).values())
            row.values |= {"memory": used, "memory_predicted": told}
            row.figure += f"; {used / 1e9:.1f} GB of memory (predicted {told / 1e9:.1f})"
        self.tables["where the time of the transformer goes"] = self.operators(loop)
        return row

    def padded(self, name: str) -> Row:
        """Compare compiled steps under a mask, at widths that suit no kernel, with plain ones."""
        recipe = {**self.recipe, "data": {**self.recipe["data"], "max_length": 61}}
        losses = []
        for compiled in (False, True):
            loop = self.loop(recipe, compiled=compiled, rows=8, is_full=False)
            losses.append([float(loop.step()) for _ in range(2)])
        worst = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
        result = "passed" if worst < 0.02 else "failed"
        return Row(name, result, f"losses differ by at most {worst:.2%}", {"losses": losses})

    def plain(self, name: str) -> Row:
        """Time the recipe as written, without compiled kernels."""
        return self.timed_row(name, self.loop(self.recipe, compiled=False), None)

    def gru(self, name: str) -> Row:
        """Time a GRU in place of the Transformers, on the same batches."""
        loop = self.loop(gru_of(self.recipe), compiled=True)
        row = self.timed_row(name, loop, "gru")
        self.tables["where the time of the gru goes"] = self.operators(loop)
        return row

    def timed_row(self, name: str, loop: RecipeLoop, bar: str | None) -> Row:
        """Time a loop, and compare it with the peak and the bar."""
        started = time.perf_counter()
        for _ in loop.batches:  # every shape once, so that it is compiled
            loop.step()
        synchronize(self.kind)
        prepared = time.perf_counter() - started
        seconds = timed(loop.step, self.kind, self.seconds)
        speed, flops = loop.targets / seconds, loop.flops / seconds
        values: dict[str, Any] = {"tokens_per_second": speed, "flops": flops}
        values |= {
            "seconds": seconds,
            "seconds_before": prepared,
            "weights": loop.counts.parameters,
        }
        figure = f"{speed:,.0f} tokens/s, {1e3 * seconds:.1f} ms a step"
        if (peak := self.constants.get("peak")) is not None:
            values["share_of_peak"] = flops / peak
            figure += f", {flops / peak:.0%} of peak"
            if bar is not None and not self.small:
                values["bar"] = BARS[bar]
                verdict = "reached" if flops / peak >= BARS[bar] else "missed"
                figure += f" (bar {BARS[bar]:.0%}: {verdict})"
        return Row(name, "passed", figure, values)

    def operators(self, loop: RecipeLoop) -> list[dict[str, Any]]:
        """List the operators that take most of a step's time on the device."""
        steps = 2 * len(loop.batches)
        events = self.profiled(loop, steps)
        own = {event.key: device_time(event, self.kind) for event in events}
        total = sum(own.values()) or 1.0
        calls = {event.key: event.count / steps for event in events}
        most = sorted(own, key=lambda key: -own[key])[:TOP]
        return [
            {
                "operator": key[:60].replace("|", "/"),
                "calls a step": f"{calls[key]:.1f}",
                "ms a step": f"{own[key] / 1e3 / steps:.3f}",
                "share": f"{own[key] / total:.1%}",
            }
            for key in most
        ]

    def profiled(self, loop: RecipeLoop, steps: int) -> Any:
        """Run steps under torch's profiler; return its sums by operator."""
        activities = [ProfilerActivity.CPU]
        if self.kind == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities) as found:
            for _ in range(steps):
                loop.step()
            synchronize(self.kind)
        return found.key_averages()

    def chunks(self, name: str) -> Row:
        """Time the loss at several sizes of a chunk of logits."""
        counts = count(self.recipe)
        rows = min(counts.targets, 16_384)
        features = torch.randn(rows, counts.hidden_dim, device=self.kind, requires_grad=True)
        weight = torch.randn(counts.vocab_size, counts.hidden_dim, device=self.kind)
        weight.requires_grad_()
        target = torch.randint(counts.vocab_size, (rows,), device=self.kind)
        spelled = "CHUNK_ELEMENTS" if self.kind == "cpu" else "GPU_CHUNK_ELEMENTS"
        before, found = getattr(cross_entropy, spelled), {}

        def step() -> None:
            with autocast(self.kind, self.dtype):
                loss, *_ = cross_entropy.linear_cross_entropy(features, weight, None, target)
            loss.backward()

        try:
            for power in (14, 16) if self.small else (22, 24, 25, 26, 27):
                setattr(cross_entropy, spelled, 2**power)
                found[power] = timed(step, self.kind, self.seconds / 5)
        finally:
            setattr(cross_entropy, spelled, before)
        figure = ", ".join(f"2^{power}: {1e3 * value:.2f} ms" for power, value in found.items())
        return Row(name, "passed", f"{rows:,} tokens; {figure}", {"seconds": found})

    # Surroundings

    def loader(self, name: str) -> Row:
        """Time the loader of the large recipe, on a core of this machine."""
        documents = 1_000 if self.small else 20_000
        row = loader(name, read_recipe(RECIPES[False]), documents, 1.0 if self.small else 8.0)
        self.constants["loader_tokens_per_second"] = row.values["tokens_per_second"]
        return row

    def exchange(self, name: str) -> Row:
        """Time the sum of all gradients over the GPUs of this machine."""
        row = exchange(name, self.kind, count(self.recipe).parameters)
        if row.result == "passed":
            self.constants["exchange_bytes_per_second"] = row.values["bytes_per_second"]
        return row

    def fit(self, name: str) -> Row:
        """Run the command, and take what it needs beyond the bare loop as the host's time."""
        row = whole_fit(name, RECIPES[self.small], self.kind, self.small)
        if row.result == "passed" and self.loop_seconds:
            seconds = self.loop_targets / row.values["tokens_per_second"] - self.loop_seconds
            self.constants["host_seconds"] = max(0.0, seconds)
            row.figure += f", {1e3 * seconds:.1f} ms a step more than the bare loop"
        return row


def device_time(event: Any, kind: str) -> float:
    """Return the microseconds of an operator alone, on the device."""
    found: float = event.self_device_time_total if kind == "cuda" else event.self_cpu_time_total
    return found
