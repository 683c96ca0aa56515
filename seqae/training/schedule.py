"""The learning rate over a training: up along a line, then down to zero at the last step.

The last step is known in advance only while a training continues as it began: on another number of
processes an epoch has another number of steps. The rest of the decay is then spread over the steps
that remain, without a jump.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lightning.pytorch import Trainer

from seqae.data.datamodule import TextDataModule

Schedule = Literal["cosine", "linear", "constant"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decay:
    """The decay of a learning rate.

    Attributes:
        end: the step at which it is complete.
        start: the step from which its remainder is spread evenly.
        progress: the share of it that is done at `start`.
        epoch_steps: optimizer steps of an epoch, on the current number of processes.
        max_epochs: the trainer's.
        max_steps: the trainer's.
    """

    end: float
    start: int
    progress: float
    epoch_steps: int
    max_epochs: int
    max_steps: int

    def progress_at(self, step: int) -> float:
        """Compute the share that is done after a number of steps, 0 to 1."""
        share = (step - self.start) / max(1.0, self.end - self.start)
        return min(1.0, self.progress + (1.0 - self.progress) * share)

    def state_dict(self) -> dict[str, Any]:
        """Give all numbers, for a checkpoint."""
        return asdict(self)


def plan_decay(
    schedule: Schedule,
    warmup_steps: int,
    trainer: Trainer,
    datamodule: TextDataModule,
    saved: tuple[Decay, int] | None,
) -> Decay:
    """Plan the decay of a training; after a resume on other processes, of its remainder.

    Args:
        schedule: its shape.
        warmup_steps: optimizer steps before it.
        trainer: knows the length of the training.
        datamodule: knows how many batches an epoch has, and where this one continues.
        saved: the decay in the checkpoint that is resumed, if there is one, and its step.

    Raises:
        ValueError: if the rate shall decay over a training without an end.
    """
    window = trainer.accumulate_grad_batches
    end = trainer.estimated_stepping_batches  # asks for a loader, on which `epoch_progress` relies
    if schedule != "constant" and not math.isfinite(end):
        raise ValueError(
            f"`model.schedule` must be constant when training has no last step, but it is "
            f"{schedule} instead. Set `trainer.max_steps` or `trainer.max_epochs`."
        )
    epoch_batches, batches_left, epoch = datamodule.epoch_progress
    max_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    epoch_steps = math.ceil(epoch_batches / window)
    now = Decay(end, warmup_steps, 0.0, epoch_steps, max_epochs, trainer.max_steps)
    if saved is not None:
        steps_left: float = math.inf
        if max_epochs != -1:
            steps_left = math.ceil(batches_left / window) + (max_epochs - epoch - 1) * epoch_steps
        before, step = saved
        return resume_decay(before, now, step, max(0, steps_left))
    if warmup_steps > end / 2 and trainer.is_global_zero:
        log.warning(
            f"`model.warmup_steps` is {warmup_steps:,} of {end:,} steps in all, so that the "
            f"learning rate hardly gets up. Lower it, or train longer."
        )
    return now


def resume_decay(before: Decay, now: Decay, step: int, steps_left: float) -> Decay:
    """Plan the decay of a training that is resumed.

    Args:
        before: the decay that was saved.
        now: the decay of a new training with this configuration, on these processes.
        step: optimizer steps taken.
        steps_left: optimizer steps to take, unless `max_steps` ends them earlier.

    Returns:
        The same decay if nothing has changed; its remainder over other steps if only the steps of
        an epoch have changed; a new one if the training shall last longer or shorter.
    """
    if before.progress == 0.0:
        before = replace(before, start=now.start)  # another warm-up
    if (now.epoch_steps, now.max_epochs, now.max_steps) == (
        before.epoch_steps,
        before.max_epochs,
        before.max_steps,
    ):
        return before
    end = step + steps_left if now.max_steps == -1 else min(step + steps_left, now.max_steps)
    if (now.max_epochs, now.max_steps) != (before.max_epochs, before.max_steps):
        return replace(now, end=end)
    start = max(step, before.start)
    return replace(now, end=end, start=start, progress=before.progress_at(start))


def learning_rate_factor(
    schedule: Schedule, warmup_steps: int, decay: Decay
) -> Callable[[int], float]:
    """Make the function from an optimizer step to the factor on the learning rate.

    It is no object: LambdaLR would save an object's numbers and restore them on a resume, where the
    decay may be another one.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if schedule == "constant":
            return 1.0
        progress = decay.progress_at(step)
        return 1.0 - progress if schedule == "linear" else 0.5 + 0.5 * math.cos(math.pi * progress)

    return factor
