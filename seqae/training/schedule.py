"""The learning rate over a training: up in a line, then down to zero at the last step.

The last step is known beforehand only as long as a training goes on as it began: on another number
of processes an epoch has another number of steps. Then what is left of the decay is divided over
the steps that are left, without a jump.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Decay:
    """The decay of a learning rate.

    Attributes:
        end: the step at which it is complete.
        start: the step from which on the rest of it is divided evenly.
        progress: the share of it that lies behind at `start`.
        epoch_steps: optimizer steps of an epoch, as many processes as there are.
        max_epochs: as the trainer was told.
        max_steps: as the trainer was told.
    """

    end: float
    start: int
    progress: float
    epoch_steps: int
    max_epochs: int
    max_steps: int

    def progress_at(self, step: int) -> float:
        """The share of it that lies behind, 0 to 1."""
        share = (step - self.start) / max(1.0, self.end - self.start)
        return min(1.0, self.progress + (1.0 - self.progress) * share)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def resume_decay(before: Decay, now: Decay, step: int, steps_left: float) -> Decay:
    """The decay in a training that goes on.

    Args:
        before: as it was saved.
        now: as a new training of this configuration on these processes would have it.
        step: the optimizer steps that have been taken.
        steps_left: that there are to be, if no `max_steps` ends them before.

    Returns:
        The same if nothing has changed; the rest of it, in other steps, if only the steps of an
        epoch have; a new one if the training is to last for longer, or not as long.
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
    """The factor on the learning rate at each optimizer step.

    A function, not an object: LambdaLR would save an object's numbers and bring them back on a
    resume, where the decay may be another one.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if schedule == "constant":
            return 1.0
        progress = decay.progress_at(step)
        return 1.0 - progress if schedule == "linear" else 0.5 + 0.5 * math.cos(math.pi * progress)

    return factor
