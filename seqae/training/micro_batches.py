"""Out of memory: the batch is run again in parts, which add up to the same gradient.

The loss of a batch is a mean over its target tokens, so the losses of its parts, each weighted by
its share of them, have the gradient of the whole as their sum. What changes is the memory that a
forward and backward pass needs, and the random draws: each part has its own.

On one device a failure of either pass is made good; gradients of earlier batches of the same
accumulation are put back as they were. Under DistributedDataParallel one of the forward pass is; in
the backward pass the gradients are on their way to the others already, and no process can take them
back. There, and with sharded weights, the training ends in one line.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from seqae.batch import Batch

# A part of a batch, and its place among the parts, to what the objective makes of it.
ValuesOf = Callable[[Batch, int], dict[str, Tensor]]

log = logging.getLogger(__name__)


class MicroBatches:
    """Runs a training batch whole, or in as many parts as fit the device's memory.

    Its methods are Lightning's forward and backward pass of a step. A size that has failed is
    remembered: batches as large or larger go through in parts from then on.

    Args:
        module: what is trained.
        sentence_means: names of the values that are means over sentences; all others are means over
            target tokens.
        whole_only: why batches cannot be run in parts, where they cannot.

    Attributes:
        values: what the objective made of the batch, known when its backward pass is over.
    """

    def __init__(
        self, module: LightningModule, sentence_means: frozenset[str], whole_only: str | None
    ) -> None:
        self._module, self._sentence_means = module, sentence_means
        self._whole_only = whole_only
        self._fails_at = math.inf  # tokens, padding counted, of the smallest part that has failed
        self._has_told = False
        self._loss: Tensor | None = None  # of the first part, on one device
        self._no_sync = ExitStack()  # open while gradients are not exchanged
        self.values: dict[str, Tensor] = {}

    def forward(self, batch: Batch, values_of: ValuesOf) -> Tensor:
        """Run the forward pass of the whole batch, or of its first part.

        Args:
            batch: on the device.
            values_of: runs the objective, for `loss` and what else is to be logged.

        Returns:
            The loss, weighted by the part's share of the batch's target tokens. On one device it
            knows nothing of the pass, whose memory would live as long as it does.

        Raises:
            ValueError: in one line, if the batch does not fit and cannot be made to.
        """
        self._batch, self._values_of = batch, values_of
        self._count = self._count_of(batch)
        loss = self._first()
        if self._is_alone:
            self._loss = loss
            return loss.detach().requires_grad_()
        ddp = self._module.trainer.model
        if isinstance(ddp, DistributedDataParallel) and self._count > 1:
            self._no_sync.enter_context(ddp.no_sync())
        return loss

    def backward(self, loss: Tensor, weight: Tensor | float) -> None:
        """Run the backward pass, and both passes of the parts that are left.

        Args:
            loss: what Lightning has made of what `forward` returned.
            weight: by which the module multiplied that.

        Raises:
            ValueError: as `forward`.
        """
        if self._is_alone:
            self._backward_alone()
        elif not self._passes_on(loss, weight):
            raise self._refusal("its gradients were on their way to the other processes")
        if self._count > 1 and not self._has_told:
            self._has_told = True
            log.warning(
                f"out of memory at a batch of {_tokens(self._batch):,} tokens: batches as large go "
                f"through in {self._count} parts from now on, with the same gradient. A lower "
                f"`data.batch_tokens` and as much more `trainer.accumulate_grad_batches` save the "
                f"time of the first try."
            )

    @property
    def _is_alone(self) -> bool:
        return self._module.trainer.world_size == 1

    def _backward_alone(self) -> None:
        """Until it has gone well, in more and more parts."""
        weights = [weight for weight in self._module.parameters() if weight.requires_grad]
        # Of earlier batches; at the first one of an accumulation there are none to copy.
        before = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        while not self._passes_alone():
            for weight, gradient in zip(weights, before, strict=True):
                if gradient is None:
                    weight.grad = None
                elif weight.grad is not None:
                    weight.grad.copy_(gradient)
            self._loss = None
            self._halve()
            with self._module.trainer.precision_plugin.train_step_context():
                self._loss = self._first()

    def _passes_alone(self) -> bool:
        """Run what is left of all parts; whether they fit."""
        try:
            for index in range(len(self._parts)):
                loss = self._loss if index == 0 else self._later(index)
                self._loss = None
                assert loss is not None
                self._as_lightning(loss).backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            return False  # what the pass has made lives as long as its error
        return True

    def _passes_on(self, loss: Tensor, weight: Tensor | float) -> bool:
        """Run what is left of all parts, exchanging gradients in the last; whether they fit."""
        try:
            loss.backward()  # type: ignore[no-untyped-call]
            for index in range(1, len(self._parts)):
                loss = self._as_lightning(self._later(index) * weight)
                if index == len(self._parts) - 1:
                    self._exchange_again(loss)
                loss.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            return False
        return True

    def _exchange_again(self, loss: Tensor) -> None:
        self._no_sync.close()
        ddp = self._module.trainer.model
        if isinstance(ddp, DistributedDataParallel):
            prepare_for_backward(ddp, loss)

    def _first(self) -> Tensor:
        """Run the first part forward; it may be smaller afterwards."""
        while True:
            self.values = {}
            self._parts = self._batch.parts(self._count) if self._count > 1 else [self._batch]
            try:
                return self._part(0)
            except torch.OutOfMemoryError:
                pass
            self._halve()

    def _later(self, index: int) -> Tensor:
        """Run another part forward, as Lightning runs the first."""
        with self._module.trainer.precision_plugin.train_step_context():
            return self._part(index)

    def _part(self, index: int) -> Tensor:
        part = self._parts[index]
        values = self._values_of(part, index)
        if len(self._parts) == 1:
            self.values = {name: value.detach() for name, value in values.items()}
            return values["loss"]
        tokens = part.num_targets / self._batch.num_targets
        for name, value in values.items():
            share = len(part) / len(self._batch) if name in self._sentence_means else tokens
            before = self.values.get(name, torch.zeros_like(value))
            self.values[name] = before + value.detach() * share
        return values["loss"] * tokens

    def _as_lightning(self, loss: Tensor) -> Tensor:
        """What Lightning makes of a loss before its backward pass."""
        trainer = self._module.trainer
        loss = loss / trainer.accumulate_grad_batches
        precision = trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and precision.scaler is not None:
            loss = precision.scaler.scale(loss)
        return loss

    def _count_of(self, batch: Batch) -> int:
        """How many parts to begin with: of half of what has failed, at most."""
        tokens, count = _tokens(batch), 1
        if tokens >= self._fails_at:
            while tokens / count > self._fails_at / 2 and 2 * count <= len(batch):
                count *= 2
        return count

    def _halve(self) -> None:
        """Take twice as many parts, and remember.

        Raises:
            ValueError: in one line, if that cannot be.
        """
        if self._whole_only is not None:
            raise self._refusal(self._whole_only)
        if 2 * self._count > len(self._batch):
            raise self._refusal("a single sentence of it does not either")
        self._fails_at = min(self._fails_at, _tokens(self._batch) / self._count)
        self._count *= 2
        if self._module.device.type == "cuda":
            torch.cuda.empty_cache()  # parts are of other sizes than what is kept for reuse

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"`data.batch_tokens` must be what fits the device's memory, but a batch of "
            f"{_tokens(self._batch):,} tokens does not, and {reason}. Lower it, raise "
            f"`trainer.accumulate_grad_batches` by as much, and go on from the last checkpoint, "
            f"which stands."
        )


def _tokens(batch: Batch) -> int:
    """Of both sides of paired text, padding counted."""
    return batch.token_ids.numel() + (0 if batch.paired is None else batch.paired.token_ids.numel())
