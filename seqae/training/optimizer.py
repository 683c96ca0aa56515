"""AdamW over the model's weights and those of the objective's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from seqae.objectives.objective import Objective
from seqae.training.lightning_internals import leave_unscaling_to_scaler


def make_optimizer(
    model: nn.Module,
    objective: Objective,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> torch.optim.Optimizer:
    """Make one optimizer for all weights; it keeps the state of each apart, as several would.

    Args:
        model: its matrices decay; its biases, norms and vectors of positions do not.
        objective: its own weights, if there are any, do not decay, and have rates of their own.
        learning_rate: the highest learning rate.
        weight_decay: of the matrices.
        betas: decays of the means of gradients and of squared gradients.
    """
    trained = [(name, w) for name, w in model.named_parameters() if w.requires_grad]
    matrices = [w for name, w in trained if w.ndim >= 2 and "positions" not in name]
    others = [w for name, w in trained if w.ndim < 2 or "positions" in name]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if own := list(objective.parameters()):
        beta1 = betas[0] if objective.beta1 is None else objective.beta1
        rate = learning_rate * objective.learning_rate_factor
        own_options = {"weight_decay": 0.0, "lr": rate, "betas": (beta1, betas[1])}
        groups.append({"params": own, **own_options})
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)
    leave_unscaling_to_scaler(optimizer)  # which does it before the clipping
    return optimizer


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """Take the gradients away from the weights of a module while a block runs."""
    gradients = [(weight, weight.grad) for weight in module.parameters()]
    for weight, _ in gradients:
        weight.grad = None
    yield
    for weight, gradient in gradients:
        weight.grad = gradient
