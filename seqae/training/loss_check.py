"""LossCheck: a loss that is not finite stops the training before the weights are changed.

To ask a GPU for a number is to wait until it has done all that was asked of it before. So the loss
is copied when the forward pass ends, and looked at when the optimizer is about to step: by then the
backward pass is on its way, and the GPU has work while this process waits for the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class _Noted(NamedTuple):
    loss: Tensor  # () on its device
    is_finite: Tensor  # () on the CPU, perhaps still on its way there
    arrived: torch.Event | None
    batch_idx: int
    is_shared: bool  # whether all processes know


class LossCheck:
    """Takes note of losses, and looks at them later."""

    def __init__(self) -> None:
        self._noted: list[_Noted] = []

    def note(self, loss: Tensor, batch_idx: int, sign: Tensor | None = None) -> None:
        """Remember a loss; waits for nothing.

        Args:
            loss: ().
            batch_idx: of which batch.
            sign: (), not finite if the loss of any process is not, the same on all of them; by
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
        self, step: int, epoch: int, rank: int, over_ranks: Callable[[Tensor], Tensor]
    ) -> None:
        """Look at what was noted since the last call.

        Args:
            step: optimizer steps taken.
            epoch: the epoch.
            rank: of this process.
            over_ranks: gathers a tensor of all processes.

        Raises:
            ValueError: naming the place, if a loss is not finite.
        """
        noted, self._noted = self._noted, []
        for one in noted:
            if one.arrived is not None:
                one.arrived.synchronize()
            if one.is_finite:
                continue
            loss = float(one.loss)
            if one.is_shared:
                losses = over_ranks(one.loss)
                rank = int(losses.isfinite().logical_not().nonzero()[0])
                loss = float(losses[rank])
            raise ValueError(
                f"`loss` must be finite, but it is {loss:g} at step {step:,}, batch "
                f"{one.batch_idx:,} of epoch {epoch}, on process {rank}. Go on from the last "
                f"checkpoint with a lower `model.learning_rate`."
            )
