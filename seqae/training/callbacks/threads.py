"""ThreadTuner: choose the number of CPU threads by timing the first steps.

On an idle machine two threads train a third faster than one. When something else keeps one core
busy they train up to ten times slower, because every parallel region waits for the thread that
shares its core (docs/log.md). No rule tells these cases apart in advance; a stopwatch does.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_range
from seqae.processes import available_cores

HOPELESS = 0.4  # of the best speed: a candidate below it loses by more than noise

log = logging.getLogger(__name__)


class ThreadTuner(Callback):
    """Choose the number of CPU threads.

    Args:
        threads: their number; `auto` times a few steps with each candidate at the start of every
            epoch and takes the fastest. The order of additions depends on the number of threads, so
            bit-for-bit repeatable training needs a number here, or in OMP_NUM_THREADS, which
            `auto` respects.
        rounds: steps timed for each candidate.
        cores: CPU cores to use; by default those that this process may use.
    """

    def __init__(
        self, threads: int | Literal["auto"] = "auto", rounds: int = 4, cores: int | None = None
    ) -> None:
        if threads == "auto" and os.environ.get("OMP_NUM_THREADS", "").isdigit():
            threads = int(os.environ["OMP_NUM_THREADS"])  # the user has chosen
        if threads != "auto":
            check_range("threads", threads, 1, 4096)
        self.threads, self.rounds, self.cores = threads, rounds, cores
        self.chosen: int | None = None
        self._schedule: list[int] = []
        self._speeds: dict[int, list[float]] = {}
        self._started = 0.0
        self._is_global_zero = True
        self._is_warming_up = False
        self._fallback = torch.get_num_threads()

    @property
    def is_timing(self) -> bool:
        """Whether a number of threads is on trial."""
        return bool(self._schedule)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_global_zero = trainer.is_global_zero
        if self.threads != "auto":
            torch.set_num_threads(self.threads)
            self.chosen = self.threads

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.threads != "auto":
            torch.set_num_threads(self.threads)

    on_test_start = on_predict_start = on_validation_start

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Schedule the candidates for the next steps."""
        if self.threads != "auto" or pl_module.device.type != "cpu":
            return
        processes = getattr(trainer.strategy, "num_processes", 1)
        candidates = thread_candidates(max(1, (self.cores or available_cores()) // processes))
        self._speeds = {count: [] for count in candidates}
        # Round-robin, so that a slow moment of the machine hits all candidates alike, after one
        # step of warm-up that is not counted.
        self._schedule = candidates[:1] + candidates * self.rounds if len(candidates) > 1 else []
        self._is_warming_up = True
        self._fallback = self.chosen or torch.get_num_threads()
        if len(candidates) == 1 and self.chosen is None:
            self._choose(candidates[0])

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._schedule:
            torch.set_num_threads(self._schedule[0])
            self._started = time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the speed in tokens per second, and choose after the last scheduled step."""
        if not self._schedule:
            return
        assert isinstance(batch, Batch)
        count = self._schedule.pop(0)
        if self._is_warming_up:
            self._is_warming_up = False
            return
        self._speeds[count].append(batch.num_targets / (time.perf_counter() - self._started))
        if count == max(self._speeds):
            self._end_round()
        if not self._schedule:
            medians = {n: statistics.median(speeds) for n, speeds in self._speeds.items()}
            self._choose(max(medians, key=medians.__getitem__), medians)

    def _end_round(self) -> None:
        """Drop hopeless candidates at once: a step with too many threads can take seconds."""
        best = max(max(speeds) for speeds in self._speeds.values())
        hopeless = {n for n, speeds in self._speeds.items() if max(speeds) < HOPELESS * best}
        self._schedule = [count for count in self._schedule if count not in hopeless]
        if len(set(self._schedule)) == 1:
            self._schedule = []  # only one candidate remains, and it has been timed

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the earlier number if the epoch was too short to time every candidate."""
        if self._schedule:
            self._schedule = []
            torch.set_num_threads(self._fallback)

    def _choose(self, count: int, medians: dict[int, float] | None = None) -> None:
        torch.set_num_threads(count)
        if count != self.chosen and self._is_global_zero:
            measured = ", ".join(
                f"{n} {'threads' if n > 1 else 'thread'} {speed:,.0f} tokens/s"
                for n, speed in (medians or {}).items()
            )
            log.info(f"CPU threads: {count}" + (f" (measured: {measured})" if medians else ""))
        self.chosen = count


def thread_candidates(cores: int) -> list[int]:
    """List the numbers to try: one, ..., a quarter of the cores, half of them, all."""
    return sorted({max(1, cores >> shift) for shift in range(cores.bit_length())})
