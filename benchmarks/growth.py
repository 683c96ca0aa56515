"""Measure how a training step grows with vocabulary, length, batch and latent, and planning too.

    python benchmarks/growth.py [--output growth.json] [--picture docs/growth.svg]
    python benchmarks/growth.py --measured growth.json --picture docs/growth.svg

One thread, processor time. The step is that of the reference model (reference.py): loss, gradients,
clipping, AdamW, on random tokens of one length. One size changes at a time; all variants take
turns, and the table has the median step, its memory (peak above what weights and optimizer hold)
and the operations of its products as torch counts them. A slope is that of a line through the
logarithms: 1 means in proportion. Time must not be steeper than the operations.

K latents need a Transformer; its step has 64 rows of 16 tokens. Length is measured at a fixed
budget of tokens, and with 16 rows or more (`data.min_rows`). How preparing and training grow with
the corpus is measured by memory.py.
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report
from reference import EMBEDDING_DIM, HIDDEN_DIM, LATENT_DIM, VOCAB_SIZE, ReferenceDecoder
from torch.utils.flop_counter import FlopCounterMode

from seqae import AutoencoderModule, SequenceAutoencoder
from seqae.batch import Batch, Vocabulary
from seqae.data.batches.batching import plan_batches
from seqae.model.decoders import GRUDecoder, TransformerDecoder
from seqae.model.encoders import GRUEncoder, TransformerEncoder
from seqae.model.latents import DeterministicLatent
from seqae.objectives import Reconstruction
from seqae.training.optimization.denormals import flushing_denormals

BATCH_TOKENS, LENGTH, MIN_ROWS = 1024, 14, 16
CORPORA = (10_000, 100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Variant:
    """A model and a batch.

    Attributes:
        axis: what changes.
        size: how large it is.
        vocab_size: words.
        latent_dim: Z.
        num_latents: K; 0 is the reference model, others a Transformer.
        rows: of a batch.
        length: tokens of each row, bos and eos counted.
        own: whether the model is of gru.yaml's kind, small and with position binding.
    """

    axis: str
    size: int
    vocab_size: int = VOCAB_SIZE
    latent_dim: int = LATENT_DIM
    num_latents: int = 0
    rows: int = BATCH_TOKENS // LENGTH
    length: int = LENGTH
    own: bool = False

    def build(self) -> SequenceAutoencoder:
        """Make the model, with weights from a fixed seed."""
        torch.manual_seed(0)
        if self.num_latents:
            model = SequenceAutoencoder(
                TransformerEncoder(pooling="attention", num_latents=self.num_latents),
                DeterministicLatent(latent_dim=self.latent_dim),
                TransformerDecoder(),
                embedding_dim=EMBEDDING_DIM,
            )
        elif self.own:
            model = SequenceAutoencoder(
                GRUEncoder(hidden_dim=64, position_dim=1024),
                DeterministicLatent(latent_dim=384),
                GRUDecoder(hidden_dim=128, position_dim=1024),
                embedding_dim=96,
            )
        else:
            model = SequenceAutoencoder(
                GRUEncoder(hidden_dim=HIDDEN_DIM, bidirectional=False, pooling="last"),
                DeterministicLatent(latent_dim=self.latent_dim),
                ReferenceDecoder(),
                embedding_dim=EMBEDDING_DIM,
                head="linear",
            )
        vocabulary = Vocabulary(size=self.vocab_size, pad_id=0, unk_id=1, bos_id=2, eos_id=3)
        return model.build(vocabulary, max(self.length, 64))

    def batch(self) -> Batch:
        """Make random rows of one length."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.rows, self.length)
        token_ids = torch.randint(4, self.vocab_size, shape, generator=generator)
        token_ids[:, 0], token_ids[:, -1] = 2, 3
        return Batch(token_ids, torch.full((self.rows,), self.length))


def variants() -> list[Variant]:
    """List all variants, those of an axis from small to large."""
    made = [Variant("vocabulary", size, vocab_size=size) for size in (2500, 5000, 10_000, 25_000)]
    made += [Variant("batch", rows * LENGTH, rows=rows) for rows in (18, 36, 73, 146, 292)]
    made += [Variant("latent", size, latent_dim=size) for size in (32, 128, 512, 2048)]
    made += [Variant("K", count, 2000, 64, count, rows=64, length=16) for count in (1, 2, 4, 8, 16)]
    for own in (False, True):
        kind = "gru.yaml, " if own else ""
        sizes = {"own": own, "vocab_size": 500 if own else VOCAB_SIZE}
        tokens = 768 if own else BATCH_TOKENS
        for least, name in ((1, "length"), (MIN_ROWS, f"length, {MIN_ROWS} rows")):
            made += [
                Variant(kind + name, n, rows=max(least, tokens // n), length=n, **sizes)
                for n in (20, 50, 100, 200)
            ]
    return made


def make_step(variant: Variant) -> Callable[[], None]:
    """Make a function that takes an optimizer step."""
    model, batch, objective = variant.build(), variant.batch(), Reconstruction()
    module = AutoencoderModule(model, objective)
    betas = (module.beta1, module.beta2)
    optimizer = torch.optim.AdamW(model.parameters(), module.learning_rate, betas, fused=True)
    generator = torch.Generator()

    def step() -> None:
        loss = objective(model, batch, 0, generator)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak_memory(step: Callable[[], None]) -> int:
    """Measure the bytes that a step holds at its peak above what is held after it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def count_operations(step: Callable[[], None]) -> int:
    """Count the operations of a step's products."""

    def count(total: Any, left: Any, right: Any, **options: Any) -> int:
        return 2 * left[0] * left[1] * right[1]  # their shapes

    in_place: dict[Any, Any] = {torch.ops.aten.addmm_: count}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        step()
    return counter.get_total_flops()


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Fit a line through the logarithms: its slope."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure_steps(rounds: int) -> list[dict[str, Any]]:
    """Measure all variants in turn."""
    made = variants()
    steps = [make_step(variant) for variant in made]
    operations = [count_operations(step) for step in steps]  # and warms up
    memory = [peak_memory(step) for step in steps]
    seconds: list[list[float]] = [[] for _ in made]
    for number in range(rounds):
        for index, step in enumerate(steps):
            start = time.process_time()
            step()
            seconds[index].append(time.process_time() - start)
        print(f"round {number + 1}/{rounds}", flush=True)
    return [
        {
            "axis": variant.axis,
            "size": variant.size,
            "tokens": variant.rows * (variant.length - 1),
            "seconds": statistics.median(taken),
            "rounds": taken,
            "bytes": held,
            "operations": counted,
        }
        for variant, taken, held, counted in zip(made, seconds, memory, operations, strict=True)
    ]


def measure_planning(rounds: int) -> list[dict[str, Any]]:
    """Measure the plan of an epoch on corpora of 10 k to 10 M sentences."""
    measured = []
    for count in CORPORA:
        lengths = np.random.default_rng(0).poisson(10, count).astype(np.int32) + 3
        taken = []
        for _ in range(rounds):
            start = time.process_time()
            plan_batches(lengths, 3072, seed=0, epoch=0)
            taken.append(time.process_time() - start)
        tracemalloc.start()
        plan_batches(lengths, 3072, seed=0, epoch=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        measured.append(
            {
                "axis": "plan of a corpus",
                "size": count,
                "seconds": statistics.median(taken),
                "rounds": taken,
                "bytes": peak,
                "operations": count,  # in proportion
            }
        )
    return measured


def short(size: int) -> str:
    """Write a size in few characters: 10 k, 10 M."""
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if size >= unit:
            return f"{size / unit:.3g} {letter}"
    return str(size)


def picture(measured: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time over size, an axis each, beside the line of the operations.

    Args:
        measured: rows of the result.
        path: an .svg file.
    """
    from matplotlib.figure import Figure

    from seqae.tasks.plot.figure_style import looks, styled

    axes_of = list(dict.fromkeys(row["axis"] for row in measured))
    with styled():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        panels = list(figure.subplots(3, 3, squeeze=False).flat)
        time_look, work_look = looks(2)
        for panel in panels[len(axes_of) :]:
            panel.remove()
        for panel, axis in zip(panels, axes_of, strict=False):
            rows = [row for row in measured if row["axis"] == axis]
            per = [row.get("tokens", 1) if "length" in axis else 1 for row in rows]
            sizes = [row["size"] for row in rows]
            times = [row["seconds"] / n for row, n in zip(rows, per, strict=True)]
            work = [row["operations"] / n for row, n in zip(rows, per, strict=True)]
            relative = [t / times[0] for t in times]
            panel.loglog(sizes, relative, color=time_look.color, marker="o", label="time")
            panel.loglog(
                sizes,
                [w / work[0] for w in work],
                color=work_look.color,
                linestyle="--",
                label="operations",
            )
            panel.set_title(axis + (", a token" if "length" in axis else ""))
            highest = max(4, 1.3 * max(relative))
            panel.set_ylim(0.5, highest)
            # The style writes no mathematics, as the labels of a logarithm would be.
            ends = [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
            panel.set_xticks(ends, [short(size) for size in ends])
            marks = [mark for mark in (1, 2, 4, 8, 10**2, 10**3) if mark < highest]
            panel.set_yticks(marks, [short(mark) for mark in marks])
            panel.minorticks_off()
        panels[0].set_ylabel("times the smallest")
        panels[0].legend()
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="write the picture to this .svg file")
    parser.add_argument("--measured", type=Path, help="draw this result, and measure nothing")
    args = parser.parse_args()
    if args.measured is not None:
        picture(json.loads(args.measured.read_text())["result"]["measured"], args.picture)
        return
    torch.set_num_threads(1)
    with flushing_denormals():  # as `fit` does
        measured = [*measure_steps(args.rounds), *measure_planning(min(3, args.rounds))]
    rows, slopes = [], {}
    for axis in dict.fromkeys(row["axis"] for row in measured):
        of_axis = [row for row in measured if row["axis"] == axis]
        sizes = [row["size"] for row in of_axis]
        per = [row["tokens"] if "length" in axis else 1 for row in of_axis]
        slopes[axis] = {
            key: slope(sizes, [row[key] / n for row, n in zip(of_axis, per, strict=True)])
            for key in ("seconds", "operations", "bytes")
        }
        first = of_axis[0]
        for row, n in zip(of_axis, per, strict=True):
            relative = row["seconds"] / n / (first["seconds"] / per[0])
            last = row is of_axis[-1]
            rows.append(
                {
                    "axis": axis,
                    "size": f"{row['size']:,}",
                    "ms": f"{1e3 * row['seconds']:.1f}",
                    "ms/1 k tokens": f"{1e6 * row['seconds'] / n:.1f}" if "length" in axis else "",
                    "times the first": f"{relative:.2f}",
                    "MiB": f"{row['bytes'] / 2**20:.0f}",
                    "slope: time": f"{slopes[axis]['seconds']:.2f}" if last else "",
                    "operations": f"{slopes[axis]['operations']:.2f}" if last else "",
                    "memory": f"{slopes[axis]['bytes']:.2f}" if last else "",
                }
            )
    report(rows, {"measured": measured, "slopes": slopes}, args.output)
    if args.picture is not None:
        picture(measured, args.picture)
        print(f"\npicture: {args.picture}")


if __name__ == "__main__":
    main()
