"""AdamW for an autoencoder and its objective: groups of weights, clipping, new draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.distributed.fsdp import drawing_weights
from seqae.training.lightning_internals import leave_unscaling_to_scaler


def make_optimizer(
    model: nn.Module,
    objective: Objective,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> torch.optim.AdamW:
    """Make AdamW with three groups of weights.

    AdamW keeps the state of each weight apart, so that a group of its own serves the objective's
    weights as a second optimizer would.

    Args:
        model: its matrices decay; its biases, norms and position vectors do not.
        objective: its weights, if any, have a learning rate and a beta1 of their own.
        learning_rate: of the model.
        weight_decay: of the matrices.
        betas: decays of the means of gradients and of squared gradients.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [w for name, w in named if w.ndim >= 2 and "positions" not in name]
    others = [w for name, w in named if w.ndim < 2 or "positions" in name]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if own := list(objective.parameters()):
        groups.append(
            {
                "params": own,
                "weight_decay": 0.0,
                "lr": learning_rate * objective.learning_rate_factor,
                "betas": (betas[0] if objective.beta1 is None else objective.beta1, betas[1]),
            }
        )
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)
    # Lightning refuses to clip under mixed precision if a fused optimizer unscales the gradients
    # in its step. Here the scaler does it, before the clipping.
    leave_unscaling_to_scaler(optimizer)
    return optimizer


@contextmanager
def clip_gradients_apart(objective: Objective) -> Iterator[None]:
    """Hide the gradients of the objective's own weights while the block clips the others."""
    own = [(weight, weight.grad) for weight in objective.parameters()]
    for weight, _ in own:
        weight.grad = None
    yield
    for weight, gradient in own:
        weight.grad = gradient


def reinitialize_weights(
    objective: Objective,
    model: SequenceAutoencoder,
    step: int,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Draw again the weights that the objective wants new, and forget AdamW's state of them.

    Args:
        objective: names the weights, if any.
        model: has them.
        step: optimizer steps taken.
        optimizer: keeps the state.
    """
    with drawing_weights():
        drawn = list(objective.reinitialized_parameters(model, step))
    for weight in drawn:
        optimizer.state.pop(weight, None)
