"""Refuse what is NaN or infinite: a loss before the update, weights before a save or a load."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from seqae.training.distributed.fsdp import local


def check_finite(trainer: Trainer) -> None:
    """Refuse to save weights that are of no use, since they would replace older ones that are.

    Raises:
        ValueError: on all ranks, if a weight or a moving average of any is NaN or infinite.
    """
    module = trainer.lightning_module
    name = not_finite(itertools.chain(module.named_parameters(), module.named_buffers()))
    if not trainer.strategy.reduce_boolean_decision(name is None, all=True):
        raise ValueError(
            f"`{name or 'a weight of another process'}` must be finite to be saved, but it has "
            f"NaN or infinity at step {trainer.global_step:,}. Go on from the last checkpoint with "
            f"a lower `model.learning_rate`."
        )


def check_loaded(state: Mapping[str, Any]) -> None:
    """Refuse to load weights that are of no use.

    Args:
        state: the weights of a checkpoint, by name.

    Raises:
        ValueError: if one of them is NaN or infinite.
    """
    if (name := not_finite(state.items())) is not None:
        raise ValueError(
            f"`{name}` must be finite to be loaded, but it has NaN or infinity in the checkpoint. "
            f"Go on from an earlier one with `--ckpt_path`."
        )


def not_finite(tensors: Iterable[tuple[str, Any]]) -> str | None:
    """Name the first tensor that has a NaN or an infinity, if there is one."""
    for name, tensor in tensors:
        if isinstance(tensor, Tensor) and not torch.isfinite(local(tensor)).all():
            return name
    return None


class _Noted(NamedTuple):
    loss: Tensor  # () on its device
    is_finite: Tensor  # () on the CPU, perhaps still on its way there
    arrived: torch.Event | None
    batch_idx: int
    is_shared: bool  # whether all processes know


class LossCheck:
    """Take note of losses, and look at them later: to look waits for the device."""

    def __init__(self) -> None:
        self._noted: list[_Noted] = []

    def note(self, loss: Tensor, batch_idx: int, sign: Tensor | None = None) -> None:
        """Remember a loss; this waits for nothing.

        Args:
            loss: ().
            batch_idx: the batch that it is of.
            sign: (), not finite if the loss of any process is not, and the same on all of them; by
                default the loss itself.
        """
        loss = loss.detach()
        is_finite, arrived = torch.isfinite(loss if sign is None else sign), None
        if loss.device.type != "cpu":
            is_finite = is_finite.to("cpu", non_blocking=True)
            arrived = torch.Event(loss.device.type)
            arrived.record()
        self._noted.append(_Noted(loss, is_finite, arrived, batch_idx, sign is not None))

    def check(
        self, step: int, epoch: int, rank: int, gather_ranks: Callable[[Tensor], Tensor]
    ) -> None:
        """Look at the losses that were noted since the last call.

        Args:
            step: optimizer steps taken.
            epoch: the epoch.
            rank: of this process.
            gather_ranks: gathers a tensor from all processes.

        Raises:
            ValueError: if a loss is not finite; it names the batch and the process.
        """
        noted, self._noted = self._noted, []
        for entry in noted:
            if entry.arrived is not None:
                entry.arrived.synchronize()
            if entry.is_finite:
                continue
            loss = float(entry.loss)
            if entry.is_shared:
                losses = gather_ranks(entry.loss)
                rank = int(losses.isfinite().logical_not().nonzero()[0])
                loss = float(losses[rank])
            raise ValueError(
                f"`loss` must be finite, but it is {loss:g} at step {step:,}, batch "
                f"{entry.batch_idx:,} of epoch {epoch}, on process {rank}. Go on from the last "
                f"checkpoint with a lower `model.learning_rate`."
            )
