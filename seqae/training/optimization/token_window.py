"""TokenWindow: an optimizer step minimises the mean over all target tokens of all its batches.

A step has a window of batches (gradient accumulation) on each rank, and every batch has another
number of target tokens. Lightning divides each loss by the nominal length of the window and
averages the gradients of the ranks: a mean of means, in which the tokens of a small batch count for
more than others, and which shrinks when an epoch ends within a window.

How many tokens a window has is known only at its end. So each loss is weighed by its tokens in a
unit that is known from the start, the mean number of tokens of the ranks' first batches, and the
sum of the gradients is divided once by the tokens of the window in that unit.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from seqae.training.distributed.fsdp import local


class TokenWindow:
    """Weighs the losses of a window of batches, and the gradients to which they add up."""

    def __init__(self) -> None:
        # Of each batch so far the target tokens, on several ranks their mean over these, ().
        self._tokens: list[int | Tensor] = []

    def weigh(
        self, loss: Tensor, num_targets: int, batch_idx: int, trainer: Trainer
    ) -> tuple[Tensor, Tensor | None]:
        """Weigh the loss of a batch by its number of tokens; all ranks must call this.

        Args:
            loss: (), the mean over this rank's target tokens.
            num_targets: how many there are.
            batch_idx: number of the batch in its epoch; it says where a window begins.
            trainer: knows the ranks, and how many batches a window has.

        Returns:
            The loss to differentiate, (), and on several ranks a number, (), that is NaN on all of
            them if the loss of any is not finite.
        """
        tokens: int | Tensor = num_targets
        indicator = None
        if trainer.world_size > 1:
            # In float32, which has every whole number up to 2**24.
            own = torch.full((), num_targets, dtype=torch.float32, device=loss.device)
            pair = torch.stack([own, loss.detach().float() * 0])
            mean = trainer.strategy.reduce(pair, reduce_op="mean")
            assert isinstance(mean, Tensor)
            tokens, indicator = mean[0], mean[1]
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._tokens.clear()
        self._tokens.append(tokens)
        return loss * (num_targets / self._tokens[0]), indicator

    def rescale(self, weights: Iterable[nn.Parameter], trainer: Trainer) -> None:
        """Divide the gradients of a window by its tokens, after its last backward pass.

        Args:
            weights: have the gradients that the window has added up.
            trainer: has divided each loss by the nominal length of the window.
        """
        nominal = trainer.accumulate_grad_batches
        if nominal == 1:
            return
        factor = nominal * self._tokens[0] / sum(self._tokens)
        for weight in weights:
            if weight.grad is not None:
                local(weight.grad).mul_(factor)
