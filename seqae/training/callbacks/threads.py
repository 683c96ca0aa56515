"""ThreadTuner: how many CPU threads, found by timing the first steps.

On an idle machine two threads train a third faster than one; with one core kept busy by something
else they train up to ten times slower, because every parallel region waits for the thread that
has to share its core (docs/log.md). No rule tells these apart in advance, a stopwatch does.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.batch import Batch
from seqae.component import check_range
from seqae.processes import available_cores

HOPELESS = 0.4  # of the best speed: more than noise, less than any gain from more threads

log = logging.getLogger(__name__)


class ThreadTuner(Callback):
    """Choose the number of CPU threads.

    Args:
        threads: how many; `auto` times a few steps with each candidate at the start of every
            epoch and takes the fastest. Sums are added up in another order with another number
            of threads, so bit-for-bit repeatable training needs a number here, or in
            OMP_NUM_THREADS, which `auto` heeds.
        rounds: steps timed for each candidate.
        cores: how many CPU cores there are to use; by default those that this process may use.
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
        self._to_time: list[int] = []
        self._speeds: dict[int, list[float]] = {}
        self._started = 0.0
        self._tells = True
        self._warming_up = False
        self._before = torch.get_num_threads()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set a number that was given."""
        self._tells = trainer.is_global_zero
        if self.threads != "auto":
            torch.set_num_threads(self.threads)
            self.chosen = self.threads

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set a number that was given, where nothing is trained."""
        if self.threads != "auto":
            torch.set_num_threads(self.threads)

    on_test_start = on_predict_start = on_validation_start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plan which candidate serves which of the next steps."""
        if self.threads != "auto" or pl_module.device.type != "cpu":
            return
        processes = getattr(trainer.strategy, "num_processes", 1)
        candidates = thread_candidates(max(1, (self.cores or available_cores()) // processes))
        self._speeds = {count: [] for count in candidates}
        # One after the other, over and over: a slow moment of the machine hits all alike. Before
        # that, a step that warms up and is not counted.
        self._to_time = candidates[:1] + candidates * self.rounds if len(candidates) > 1 else []
        self._warming_up = True
        self._before = self.chosen or torch.get_num_threads()
        if len(candidates) == 1 and self.chosen is None:
            self._choose(candidates[0])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the candidate's number and the stopwatch."""
        if self._to_time:
            torch.set_num_threads(self._to_time[0])
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the speed in tokens per second, and choose when all are timed."""
        if not self._to_time:
            return
        assert isinstance(batch, Batch)
        count = self._to_time.pop(0)
        if self._warming_up:
            self._warming_up = False
            return
        self._speeds[count].append(batch.num_targets / (time.perf_counter() - self._started))
        if count == max(self._speeds):
            self._end_round()
        if not self._to_time:
            medians = {n: statistics.median(speeds) for n, speeds in self._speeds.items()}
            self._choose(max(medians, key=medians.__getitem__), medians)

    def _end_round(self) -> None:
        """Drop what is hopeless at once: a step with too many threads can take seconds."""
        best = max(max(speeds) for speeds in self._speeds.values())
        hopeless = {n for n, speeds in self._speeds.items() if max(speeds) < HOPELESS * best}
        self._to_time = [count for count in self._to_time if count not in hopeless]
        if len(set(self._to_time)) == 1:
            self._to_time = []  # one is left, and it has been timed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave an epoch that was too short to time everything with what was best before."""
        if self._to_time:
            self._to_time = []
            torch.set_num_threads(self._before)

    def _choose(self, count: int, medians: dict[int, float] | None = None) -> None:
        torch.set_num_threads(count)
        if count != self.chosen and self._tells:
            measured = ", ".join(f"{n}: {speed:,.0f}" for n, speed in (medians or {}).items())
            log.info(
                f"CPU threads: {count}" + (f" (tokens/s by threads: {measured})" if medians else "")
            )
        self.chosen = count


def thread_candidates(cores: int) -> list[int]:
    """One, ... a quarter of the cores, half of them, all."""
    return sorted({max(1, cores >> shift) for shift in range(cores.bit_length())})
