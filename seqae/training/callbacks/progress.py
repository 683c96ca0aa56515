"""Progress: one bar for the whole training, or a line now and then where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from seqae.batch import Batch

# A figure shown is an average over about the last 50 steps: one step's loss jumps too much to read.
SMOOTHING = 0.98


class TrainingProgress(ProgressBar):
    """Loss, teacher-forced token accuracy, tokens per second and time left.

    Args:
        every_seconds: how often a line is printed where the output is no terminal.
        refresh_seconds: how often the bar is drawn on a terminal.
    """

    def __init__(self, every_seconds: float = 20.0, refresh_seconds: float = 0.25) -> None:
        super().__init__()
        self.every_seconds, self.refresh_seconds = every_seconds, refresh_seconds
        self._enabled = True
        self._bar: Progress | None = None
        self._means: dict[str, Tensor] = {}
        self._tokens = self._steps = 0
        self._mark = self._shown = time.perf_counter()

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._bar is not None:
            self._bar.console.print(*args, markup=False, highlight=False)
        elif self._enabled:
            print(*args, flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the bar, at the step that a resumed run stands at."""
        self._mark = self._shown = time.perf_counter()
        total = trainer.estimated_stepping_batches
        self._total = None if total == float("inf") else int(total)
        if self._enabled and sys.stdout.isatty():
            self._bar = Progress(
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
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
                "training", total=self._total, completed=trainer.global_step, figures=""
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Take the step's figures in; show them when it is time."""
        self._tokens += batch.num_targets * trainer.world_size
        self._steps += 1
        for name in ("train/loss", "train/teacher_forced_accuracy"):
            value = trainer.callback_metrics.get(name)
            if value is not None and self._enabled:
                # Kept where it is: to ask a GPU for a number at every step would wait for it.
                mean = self._means.get(name, torch.zeros_like(value))
                self._means[name] = torch.lerp(value.float(), mean.float(), SMOOTHING)
        now = time.perf_counter()
        every = self.refresh_seconds if self._bar is not None else self.every_seconds
        if self._enabled and now - self._shown >= every:
            self._show(trainer, now)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave validation out of the speed."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what validation found."""
        self._mark += time.perf_counter() - getattr(self, "_paused", time.perf_counter())
        # A checkpoint that is only measured has taken no step here; Lightning shows its table.
        if trainer.sanity_checking or not self._enabled or not trainer.global_step:
            return
        names = ("val/loss", "val/token_accuracy", "val/exact_match", "val/bleu")
        figures = {name: trainer.callback_metrics[name] for name in names}
        self.print(
            f"step {trainer.global_step:,}: val loss {figures['val/loss']:.3f}, "
            f"token accuracy {figures['val/token_accuracy']:.1%}, "
            f"exact match {figures['val/exact_match']:.1%}, BLEU {figures['val/bleu']:.1f}"
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar standing."""
        if self._enabled:
            self._show(trainer, time.perf_counter())
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def _show(self, trainer: Trainer, now: float) -> None:
        speed = self._tokens / max(now - self._mark, 1e-9)
        # A mean that begins at zero is too small by what the zero still weighs.
        weight = 1.0 - SMOOTHING**self._steps or 1.0
        means = {name: float(mean) / weight for name, mean in self._means.items()}
        loss = means.get("train/loss", float("nan"))
        accuracy = means.get("train/teacher_forced_accuracy", float("nan"))
        figures = f"loss {loss:.3f}  token accuracy {accuracy:.1%} (teacher-forced)"
        if self._bar is not None:  # 80 columns hold the short form
            short = f"loss {loss:.2f} accuracy {accuracy:.0%} {speed:,.0f} tokens/s"
            self._bar.update(self._task, completed=trainer.global_step, figures=short)
        else:
            total = f"/{self._total:,}" if self._total else ""
            print(
                f"step {trainer.global_step:,}{total}  {figures}  {speed:,.0f} tokens/s", flush=True
            )
        self._tokens, self._mark, self._shown = 0, now, now

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
