"""Training loops without Lightning, and how to time them: for benchmarks/gpu_selftest.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
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


class Loop:
    """A training loop without Lightning, over random sentences of 8 to 32 tokens.

    Args:
        kind: `cuda` or `cpu`.
        model: `gru` or `transformer`.
        precision: one of PRECISIONS.
        compiled: whether to use compiled kernels.
        sizes: of model and batches.
    """

    def __init__(self, kind: str, model: str, precision: str, compiled: bool, sizes: Sizes) -> None:
        torch.manual_seed(0)
        self.kind, self.name, self.precision, self.sizes = kind, model, precision, sizes
        self.model = build(model, sizes).to(kind).train()
        if precision == "bf16-true":
            Bfloat16Weights().convert_module(self.model)
        if compiled:
            self.model.compile_parts()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.objective = Reconstruction(word_dropout=0.2)
        self.batches = [random_batch(sizes, width) for width in (8, 16, 24, 32)]
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
        model, batch = build(self.name, self.sizes), random_batch(SIZES["cpu"], 24)
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
