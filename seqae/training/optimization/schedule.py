"""The learning rate over a training: a linear warm-up, then a decay to zero at the last step.

The last step is known in advance only while the number of processes stays the same: on another
number an epoch has another number of steps. A run that resumes there spreads the rest of the decay
over the remaining steps, without a jump.
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
        start: the step from which its rest is spread evenly.
        progress: the share that is done at `start`.
        epoch_steps: optimizer steps of an epoch on this number of processes.
        max_epochs: of the trainer.
        max_steps: of the trainer.
    """

    end: float
    start: int
    progress: float
    epoch_steps: int
    max_epochs: int
    max_steps: int

    def progress_at(self, step: int) -> float:
        """Return the share that is done at a step, 0 to 1."""
        share = (step - self.start) / max(1.0, self.end - self.start)
        return min(1.0, self.progress + (1.0 - self.progress) * share)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data for a checkpoint."""
        return asdict(self)


def plan_decay(
    trainer: Trainer,
    datamodule: TextDataModule,
    schedule: Schedule,
    warmup_steps: int,
    saved: tuple[Decay, int] | None,
    awaits_last_step: bool = False,
) -> Decay:
    """Plan the decay of this training; after a resume on other processes, the rest of it.

    Args:
        trainer: knows the length of the training.
        datamodule: knows the batches of an epoch, as soon as the trainer has asked it for them.
        schedule: the shape of the decay.
        warmup_steps: steps before it.
        saved: the decay of the checkpoint that is resumed, and the step at which it was saved.
        awaits_last_step: whether the last step is chosen only after the first ones (`end_at`).

    Raises:
        ValueError: if there is a decay, but no last step.
    """
    last_step = trainer.estimated_stepping_batches
    if schedule != "constant" and not math.isfinite(last_step) and not awaits_last_step:
        raise ValueError(
            f"`model.schedule` must be constant when training has no last step, but it is "
            f"{schedule} instead. Set `trainer.max_steps`, `trainer.max_epochs` or "
            f"`budget_minutes`."
        )
    epoch_batches, batches_left, epoch = datamodule.epoch_progress
    window = trainer.accumulate_grad_batches
    epoch_steps = math.ceil(epoch_batches / window)
    max_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    decay = Decay(last_step, warmup_steps, 0.0, epoch_steps, max_epochs, trainer.max_steps)
    if saved is not None:
        steps_left: float = math.inf
        if max_epochs != -1:
            steps_left = math.ceil(batches_left / window) + (max_epochs - epoch - 1) * epoch_steps
        return resume_decay(saved[0], decay, saved[1], max(0, steps_left))
    if trainer.is_global_zero:
        warn_of_warmup(warmup_steps, last_step)
    return decay


def warn_of_warmup(warmup_steps: int, last_step: float) -> None:
    """Log a warning if most of a training is warm-up."""
    if warmup_steps > last_step / 2:
        log.warning(
            f"most of this training is warm-up: `model.warmup_steps` is {warmup_steps:,}, all "
            f"steps are {last_step:,}"
        )


def resume_decay(before: Decay, now: Decay, step: int, steps_left: float) -> Decay:
    """Return the decay of a training that resumes.

    Args:
        before: the decay that was saved.
        now: the decay of a new training with this configuration on these processes.
        step: optimizer steps that have been taken.
        steps_left: optimizer steps that remain, unless `max_steps` ends them earlier.

    Returns:
        The saved decay if nothing has changed; its rest, in other steps, if only the number of
        steps in an epoch has changed; a new decay if the length of the training has changed.
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


def end_at(decay: Decay, step: int, last_step: int) -> Decay:
    """Return the decay of a training whose last step changes on the way.

    Args:
        decay: until now.
        step: optimizer steps that have been taken.
        last_step: the new one.

    Returns:
        A decay whose rest is spread over the steps that are left, without a jump. Before the decay
        begins, it is that of a training which was started with this last step.
    """
    start = max(step, decay.start)
    progress = decay.progress_at(start)
    return replace(decay, end=last_step, start=start, progress=progress, max_steps=last_step)


def learning_rate_factor(
    schedule: Schedule, warmup_steps: int, decay: Decay
) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the optimizer step.

    A function rather than an object, because LambdaLR saves an object's attributes and restores
    them on a resume, where the decay may differ.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if schedule == "constant":
            return 1.0
        progress = decay.progress_at(step)
        return 1.0 - progress if schedule == "linear" else 0.5 + 0.5 * math.cos(math.pi * progress)

    return factor
