"""Out of memory on a device: the batch again, in parts, with the gradient of the whole.

The gradients of the parts are computed one by one and added up, and the training gets a loss that
carries the sum: what follows (DDP, the scaler, accumulation, clipping) sees one backward pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqae.batch import Batch

log = logging.getLogger(__name__)

Values = dict[str, Tensor]


class MicroBatches:
    """Computes an objective on batches that may be too large for the device.

    Args:
        forward: the objective, of a part and its number.
        weights: that get gradients.
        sentence_means: names of figures that are means over sentences; others are over tokens.
        scale: tells that of a gradient scaler, so that parts in float16 lose no more than a whole
            batch does; it is asked only when there are parts, since it waits for a GPU.

    Attributes:
        limit: most positions of a part, once memory has run out.
        obstacle: why batches must stay whole, if they must.
    """

    def __init__(
        self,
        forward: Callable[[Batch, int], Values],
        weights: Sequence[Tensor],
        sentence_means: frozenset[str],
        scale: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.forward, self.weights = forward, list(weights)
        self.sentence_means, self.scale = sentence_means, scale
        self.limit: int | None = None
        self.obstacle: str | None = None

    def __call__(self, batch: Batch) -> Values:
        """Compute the objective, in as many parts as have been found to fit.

        Args:
            batch: sentences.

        Raises:
            ValueError: if a single sentence is too much, or batches must stay whole.
        """
        while True:
            parts = self._parts(batch)
            try:
                return self.forward(batch, 0) if parts == 1 else self._sum(batch, parts)
            except torch.OutOfMemoryError:
                pass  # on this side of the block: the exception holds the failed attempt's tensors
            self.halve(batch)

    def halve(self, batch: Batch) -> None:
        """Take half as much at a time from now on; say so the first time.

        Raises:
            ValueError: if it was one sentence, or batches must stay whole.
        """
        parts, rows = self._parts(batch), len(batch)
        length = batch.token_ids.shape[1]
        if self.obstacle is not None:
            raise ValueError(
                f"`data.batch_tokens` must be lower: a batch of {rows * length:,} positions does "
                f"not fit the memory of {batch.token_ids.device}, and it cannot be trained in "
                f"parts, since {self.obstacle}. Halve it, and double "
                f"`trainer.accumulate_grad_batches`; the last checkpoint stands."
            )
        if parts >= rows:
            raise ValueError(
                f"`data.max_length` must be lower: a single sentence of {length} tokens does not "
                f"fit the memory of {batch.token_ids.device}. Lower it, or the model's sizes."
            )
        if self.limit is None:
            log.warning(
                f"out of memory on {batch.token_ids.device}: from now on batches of more than "
                f"{rows // 2 * length:,} positions are trained in parts, with the gradient of the "
                f"whole. A smaller `data.batch_tokens` would be faster."
            )
        self.limit = -(-rows // (2 * parts)) * length
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _parts(self, batch: Batch) -> int:
        if self.limit is None:
            return 1
        rows = max(1, self.limit // batch.token_ids.shape[1])
        return -(-len(batch) // rows)

    def _sum(self, batch: Batch, parts: int) -> Values:
        scale = self.scale()
        gradients: list[Tensor | None] = [None] * len(self.weights)
        values: Values = {}
        for number, part in enumerate(split(batch, parts)):
            of_tokens = part.num_targets / batch.num_targets
            found = self.forward(part, number)
            scaled = found["loss"] * (of_tokens * scale)
            new = torch.autograd.grad(scaled, self.weights, allow_unused=True)
            for place, gradient in enumerate(new):
                if gradient is not None:
                    old = gradients[place]
                    gradients[place] = gradient if old is None else old.add_(gradient)
            for name, value in found.items():
                share = len(part) / len(batch) if name in self.sentence_means else of_tokens
                values[name] = values.get(name, torch.zeros_like(value)) + value.detach() * share
        for total in gradients:
            if total is not None:
                total.div_(scale)
        values["loss"] = _Carrier.apply(values["loss"], gradients, *self.weights)  # type: ignore[no-untyped-call]
        return values


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """Parts of about as many sentences each, in order; none is empty."""
    rows = len(batch)
    for number in range(parts):
        start, end = rows * number // parts, rows * (number + 1) // parts
        yield _rows(batch, start, end)


def _rows(batch: Batch, start: int, end: int) -> Batch:
    paired = None if batch.targets is None else _rows(batch.targets, start, end)
    return Batch(batch.token_ids[start:end], batch.lengths[start:end], paired)


class _Carrier(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        found = (None if g is None else g * grad_loss.to(g.dtype) for g in ctx.gradients)
        return (None, None, *found)
