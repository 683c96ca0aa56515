"""TimeBudget: shorten a training, and its schedule with it, so that it ends in a given time.

Lightning's `max_time` stops a training wherever it is. A learning rate that was to fall to zero at
the last step is then still high, and the model worse than that of a shorter schedule. Here the
first steps are timed, and the last step is chosen once it is known what a step takes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.component import check_range
from seqae.training.callbacks.threads import ThreadTuner
from seqae.training.lightning_internals import set_max_steps
from seqae.training.module import AutoencoderModule
from seqae.units import with_unit

UNTIMED_STEPS = 3  # the first are slow: memory is allocated, kernels are chosen or compiled
TIMED_STEPS = 20  # at least, unless they take long
SHARE_TO_TIME = 0.02, 0.1  # of the budget: at least, and at most
TOLERANCE = 0.03  # of the budget: what the end may be early or late before it is corrected
AGREE_EVERY_STEPS = 10  # several ranks then ask the first one for the last step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """What a training takes.

    Attributes:
        step: seconds of an optimizer step.
        validation: seconds of a validation.
        interval: optimizer steps between two validations; infinite if there are none.
    """

    step: float
    validation: float
    interval: float

    def seconds(self, steps: float) -> float:
        """Return the time for some steps, the validations between them and one at their end."""
        return steps * (self.step + self.validation / self.interval) + self.validation

    def steps(self, seconds: float) -> int:
        """Return how many steps, with their validations, fit into a time; one at least."""
        each = self.step + self.validation / self.interval
        return max(1, math.floor((seconds - self.validation) / each))


class TimeBudget(Callback):
    """Choose the last step so that the training ends in time, its validations included.

    `trainer.max_epochs` and `trainer.max_steps` stay the most that is trained. Until the choice,
    the learning rate follows the schedule of the whole training; from there on what is left of the
    decay is spread over what is left of the steps, without a jump. A validation that finds the end
    far from the budget corrects the choice. A resumed run keeps it, unless its budget has changed.

    Args:
        minutes: how long to train, from the first step on; earlier parts of a resumed run count.

    Attributes:
        last_step: what was chosen; None until then.
        all_steps: what would be trained without a budget.
        curve: share of exact matches by step, of each validation.
    """

    def __init__(self, minutes: float) -> None:
        check_range("budget_minutes", minutes, 1e-3, 1e6)
        self.minutes = minutes
        self.last_step: int | None = None
        self.all_steps: float = math.inf
        self.curve: dict[int, float] = {}
        self._is_kept = False  # the choice, of a run that is resumed
        self._seconds_before = 0.0  # of a resumed run
        self._started = self._validation_started = 0.0
        self._is_training = False
        self._steps = 0  # taken when the training ended
        self._first: tuple[int, float] | None = None  # step and time from which steps are timed
        self._validations: list[float] = []  # their seconds, since then
        self._pace: Pace | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the first step of the run."""
        return self._seconds_before + monotonic() - self._started

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "minutes": self.minutes,
            "last_step": self.last_step,
            "curve": self.curve,
            "seconds": self.seconds,
            "pace": None if self._pace is None else asdict(self._pace),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curve, self._seconds_before = state_dict["curve"], state_dict["seconds"]
        if state_dict["minutes"] == self.minutes:
            self.last_step = state_dict["last_step"]
            self._pace = state_dict["pace"] and Pace(**state_dict["pace"])
            self._is_kept = self.last_step is not None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        pl_module.awaits_last_step = True

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and end where a resumed run was to end."""
        self._started, self._is_training = monotonic(), True
        self.all_steps = trainer.estimated_stepping_batches
        if self.last_step is not None:
            assert isinstance(pl_module, AutoencoderModule)
            set_max_steps(trainer, self.last_step)
            pl_module.keep_decay()
            self._say(trainer, f"the last step stays {self.last_step:,}, as it was chosen")

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Choose the last step once enough steps are timed."""
        if self.last_step is None:
            is_due = self._is_timed(trainer)
            if trainer.world_size > 1:  # whose clocks differ
                if (batch_idx + 1) % AGREE_EVERY_STEPS:
                    return
                is_due = trainer.strategy.broadcast(is_due)
            if is_due:
                self._choose(trainer, pl_module)

    def _is_timed(self, trainer: Trainer) -> bool:
        """Say whether enough steps are timed; those of a number of threads on trial do not count.

        A step at its best number of threads can be ten times faster than at the others.
        """
        tuners = [c for c in _callbacks(trainer) if isinstance(c, ThreadTuner)]
        step, now = trainer.global_step, monotonic()
        if self._first is None or any(tuner.is_timing for tuner in tuners):
            self._first = step + UNTIMED_STEPS, math.inf
            self._validations = []
        if step < self._first[0]:
            return False
        if step == self._first[0]:
            self._first = step, now
        timed, budget = now - self._first[1], self.minutes * 60
        low, high = (share * budget for share in SHARE_TO_TIME)
        return (timed >= low and step - self._first[0] >= TIMED_STEPS) or timed >= high

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation_started = monotonic()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what it took and found; correct the last step if the end is far from the budget."""
        if trainer.sanity_checking:
            return
        self._validations.append(monotonic() - self._validation_started)
        self.curve[trainer.global_step] = float(trainer.callback_metrics["val/exact_match"])
        if not self._is_training or self.last_step is None or self._is_kept:
            return
        budget = self.minutes * 60
        left = budget - self.seconds
        needed = self._measure(trainer).seconds(self.last_step - trainer.global_step)
        is_slack = needed < left and self.last_step == self.all_steps
        if trainer.strategy.broadcast(abs(needed - left) > TOLERANCE * budget and not is_slack):
            self._choose(trainer, pl_module)

    def _choose(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace = self._measure(trainer)
        step, left = trainer.global_step, self.minutes * 60 - self.seconds
        chosen = int(min(step + self._pace.steps(left), self.all_steps))
        chosen = trainer.strategy.broadcast(chosen)
        if chosen == self.last_step:
            return
        self.last_step = chosen
        set_max_steps(trainer, chosen)
        assert isinstance(pl_module, AutoencoderModule)
        pl_module.end_at(chosen)
        pace = f"a step takes {self._pace.step:.3g} s"
        if chosen == self.all_steps:
            total = (self.seconds + self._pace.seconds(chosen - step)) / 60
            line = f"all {chosen:,} steps take about {total:.1f} of {self.minutes:g} minutes"
        elif math.isinf(self.all_steps):
            line = f"{self.minutes:g} minutes are {chosen:,} steps"
        else:
            line = f"{self.minutes:g} minutes are {chosen:,} of {self.all_steps:,} steps"
        self._say(trainer, f"{line} ({pace}); the schedule ends there")

    def _measure(self, trainer: Trainer) -> Pace:
        """Return the pace of the steps that are timed."""
        assert self._first is not None
        step, started = self._first
        seconds = monotonic() - started - sum(self._validations)
        per_step = seconds / max(1, trainer.global_step - step)
        # Before the first validation: its batches are as large as those of the training, and their
        # reconstruction takes about as long as a step (2 to 4 s for 55 of 28 ms: docs/log.md).
        batches = sum(trainer.num_val_batches)
        guess = 0.0 if math.isinf(batches) else per_step * batches
        validation = self._validations[-1] if self._validations else guess
        window, epochs = trainer.accumulate_grad_batches, trainer.check_val_every_n_epoch or 1
        apart = trainer.val_check_batch or math.inf  # None if a time is between validations
        return Pace(per_step, validation, apart * epochs / window)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_training, self._steps = False, trainer.global_step

    def summary(self, run_dir: Path) -> str:
        """Say what the time brought and what more would bring, after the last validation.

        Args:
            run_dir: of the run, which a longer budget continues.
        """
        step = self._steps
        lines = [f"{step:,} steps in {self.seconds / 60:.1f} of {self.minutes:g} minutes"]
        if shown := describe_curve(self.curve):
            lines.append(shown)
        if self._pace is not None and step < self.all_steps < math.inf:
            left = self._pace.seconds(self.all_steps - step)
            minutes = math.ceil((self.seconds + left) / 60)
            lines.append(
                f"all {self.all_steps:,} steps would take about {minutes:,} minutes: "
                f"seqae fit --resume {run_dir} --budget_minutes {minutes}"
            )
        return "\n".join(f"time budget: {line}" for line in lines)

    def _say(self, trainer: Trainer, text: str) -> None:
        if trainer.is_global_zero:
            log.info(f"time budget: {text}")


def describe_curve(curve: Mapping[int, float]) -> str:
    """Say how exact match grew over a training, and whether more steps would bring much.

    Args:
        curve: share of exact matches of each validation, by step.
    """
    if not any(curve):  # no validation, or only one before the first step
        return ""
    last = max(curve)
    before = [step for step in curve if step < last]
    near = {
        min(before, key=lambda step: abs(step / last - share)) for share in (0.2, 0.5) if before
    }
    shown = {step: with_unit(curve[step], "%") for step in sorted({*near, last})}
    parts = [f"{shown[step]} after {round(100 * step / last)} % of the steps" for step in shown]
    parts[-1] = f"{shown[last]} at the end"
    said = f"exact match on validation: {', '.join(parts)}"
    middle = max(near, default=0)
    if not 0.3 < middle / last < 0.7:
        return said
    gain = curve[last] - curve[middle]
    if gain > curve[middle]:
        return f"{said}; it still rises ever faster, so more time brings much"
    points = f"{100 * gain:.1f} points"
    rest = round(100 * (1 - middle / last))
    return f"{said}; the last {rest} % brought {points}, and more time brings less"


def _callbacks(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks
