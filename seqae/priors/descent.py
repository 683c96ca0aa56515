"""How the networks of priors learn: AdamW, a warm-up, a cosine, and the running mean of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_


@final
class Descent:
    """Steps of a training whose result is the running mean of the weights.

    Args:
        weights: that learn.
        averages: of the same shapes, which become their running mean.
        learning_rate: the highest; it rises from zero and then falls as a cosine.
        steps: of the whole training.
        warmup: steps in which it rises.
        decay: of the running mean, once that has forgotten its beginning.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        averages: Iterable[Tensor],
        learning_rate: float,
        steps: int,
        warmup: int,
        decay: float,
    ) -> None:
        self.weights, self.averages = list(weights), list(averages)
        self.learning_rate, self.steps = learning_rate, steps
        self.warmup, self.decay = warmup, decay
        self.optimizer = torch.optim.AdamW(self.weights, learning_rate, betas=(0.9, 0.99))
        self.done = 0

    def step(self, loss: Tensor) -> None:
        """Take a step down a loss."""
        done = self.done
        rate = min(1.0, (done + 1) / self.warmup) * math.cos(math.pi / 2 * done / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        decay = min(self.decay, (1 + done) / (10 + done))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - decay)
        self.done += 1
