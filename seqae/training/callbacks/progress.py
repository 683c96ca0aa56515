"""TrainingProgress: one bar for the whole training, or a line now and then without a terminal.

Lightning's RichProgressBar (2.6) was tried as a base. It draws a bar for each epoch, so it cannot
say how long the training will take; it asks a GPU for numbers at every step; it shows no tokens per
second and no validation metrics; and without a terminal it prints one line an epoch, at its end.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.metrics.definitions import METRICS, unit_of
from seqae.units import format_value, with_unit

# Shown metrics average over about so many steps: the loss of one step varies too much to read.
MEAN_STEPS = 50
SMOOTHING = 1.0 - 1.0 / MEAN_STEPS


class TrainingProgress(ProgressBar):
    """Show loss, teacher-forced token accuracy, tokens per second and the time left.

    Args:
        every_seconds: how often to print a line if the output is not a terminal.
        refresh_seconds: how often to draw the bar on a terminal.
    """

    def __init__(self, every_seconds: float = 20.0, refresh_seconds: float = 0.25) -> None:
        super().__init__()
        self.every_seconds, self.refresh_seconds = every_seconds, refresh_seconds
        self._is_enabled = True
        self._bar: Progress | None = None
        self._means: dict[str, Tensor] = {}
        self._steps = 0
        self._tokens = 0  # of all ranks, since the last display
        self._started = self._shown = self._paused = time.perf_counter()

    @override
    def disable(self) -> None:
        """Show nothing; Lightning calls this on all ranks but the first."""
        self._is_enabled = False

    @override
    def enable(self) -> None:
        self._is_enabled = True

    @override
    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._bar is not None:
            self._bar.console.print(*args, markup=False, highlight=False)
        elif self._is_enabled:
            print(*args, flush=True)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the bar, which a resumed run starts at its current step."""
        self._started = self._shown = time.perf_counter()
        if self._is_enabled and sys.stdout.isatty():
            self._bar = Progress(
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[metrics]}"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=Console(file=sys.stdout),
                expand=True,
                refresh_per_second=1 / self.refresh_seconds,
                transient=False,
                speed_estimate_period=60.0,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                "training", total=_total(trainer), completed=trainer.global_step, metrics=""
            )

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self._tokens += batch.num_targets * trainer.world_size
        self._steps += 1
        for name in ("train/loss", "train/teacher_forced_accuracy"):
            value = trainer.callback_metrics.get(name)
            if value is not None and self._is_enabled:
                # The mean stays on its device: reading a number would wait for the GPU.
                mean = self._means.get(name, torch.zeros_like(value))
                self._means[name] = torch.lerp(value.float(), mean.float(), SMOOTHING)
        now = time.perf_counter()
        interval = self.refresh_seconds if self._bar is not None else self.every_seconds
        if self._is_enabled and now - self._shown >= interval:
            self._show(trainer, now)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last line of the training before what the validation after it prints."""
        now = time.perf_counter()
        is_last = self._tokens > 0 and trainer.global_step == _total(trainer)
        if self._is_enabled and self._bar is None and is_last:
            self._show(trainer, now)
        self._paused = now

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the validation metrics, and leave validation out of the speed."""
        self._started += time.perf_counter() - self._paused
        # `seqae validate` takes no step; its metrics are shown as a table.
        is_in_fit = trainer.global_step > 0 or trainer.state.fn == TrainerFn.FITTING
        if trainer.sanity_checking or not self._is_enabled or not is_in_fit:
            return
        names = {"loss": "val loss"} | {
            name: METRICS[name].label for name in ("token_accuracy", "exact_match", "bleu")
        }
        metrics = trainer.callback_metrics
        if "val/noisy_reconstruction" in metrics:
            names["noisy_reconstruction"] = "under noise"
        shown = [
            f"{label} {with_unit(float(metrics[f'val/{name}']), unit_of(name))}"
            for name, label in names.items()
        ]
        self.print(f"step {trainer.global_step:,}: {', '.join(shown)}")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the terminal."""
        if self._is_enabled and (self._bar is not None or self._tokens):
            self._show(trainer, time.perf_counter())
        self._stop()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def _show(self, trainer: Trainer, now: float) -> None:
        speed = self._tokens / max(now - self._started, 1e-9)
        # The means start at zero; dividing by the weight of all values so far corrects for that.
        weight = 1.0 - SMOOTHING**self._steps or 1.0
        means = {name: float(mean) / weight for name, mean in self._means.items()}
        loss = format_value(means.get("train/loss"), unit_of("loss"))
        accuracy = with_unit(means.get("train/teacher_forced_accuracy"), "%")
        tokens = with_unit(speed, "tokens/s")
        if self._bar is not None:  # short, to fit into 80 columns
            text = f"loss {loss} accuracy {accuracy} {tokens}"
            total, step = _total(trainer), trainer.global_step
            self._bar.update(self._task, total=total, completed=step, metrics=text)
        else:
            total = _total(trainer)
            of_all = f"/{total:,}" if total else ""
            print(
                f"step {trainer.global_step:,}{of_all}  train loss {loss}  "
                f"token accuracy {accuracy} "
                f"(teacher-forced; means of about {MEAN_STEPS} steps)  {tokens}",
                flush=True,
            )
        self._tokens, self._started, self._shown = 0, now, now

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _total(trainer: Trainer) -> int | None:
    """Return the last step, which a time budget changes on the way; None if there is none."""
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") else int(total)
