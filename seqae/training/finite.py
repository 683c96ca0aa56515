"""What is NaN or infinite is neither saved nor loaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from seqae.training.sharding import local


def check_finite(trainer: Trainer) -> None:
    """Refuse to save weights that are of no use, in the place of older ones that are.

    Raises:
        ValueError: on all ranks, if a weight or a moving average of any is NaN or infinite.
    """
    module = trainer.lightning_module
    found = not_finite(itertools.chain(module.named_parameters(), module.named_buffers()))
    if not trainer.strategy.reduce_boolean_decision(found is None, all=True):
        raise ValueError(
            f"`{found or 'a weight of another process'}` must be finite to be saved, but it has "
            f"NaN or infinity at step {trainer.global_step:,}. Go on from the last checkpoint with "
            f"a lower `model.learning_rate`."
        )


def not_finite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """The name of the first tensor that has a NaN or an infinity, if there is one."""
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and not torch.isfinite(local(tensor)).all():
            return name
    return None
