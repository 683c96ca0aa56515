"""What to do when a cluster takes the machine back: save, and end with a status that says so.

SLURM sends SIGUSR1 when asked to (`--signal`), and SIGTERM before it takes a node; rented machines
send SIGTERM. A handler that saved by itself would run between two lines of anything, on one rank
only; so it sets a flag. The ranks agree on it at the next batch, all save the same step, and end.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from seqae.component import check_range
from seqae.training.distributed.exit_status import (
    INTERRUPTED,
    REQUEUE,
    is_started_by_torchrun,
    status_of_process,
)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

log = logging.getLogger(__name__)


class Preempted(SystemExit):
    """The training was told to stop, and everything is saved.

    Args:
        reason: a signal's name, or that the time is up.
        step: optimizer steps taken.
        status: with which the process ends.
    """

    def __init__(self, reason: str, step: int, status: int) -> None:
        super().__init__(status)
        self.reason, self.step = reason, step


class Preemption(Callback):
    """Save and end at SIGTERM, SIGUSR1, Ctrl-C, or when the time is up.

    A signal is heeded between two steps of training, when the figures of the last have been logged:
    one during validation when that is over, one within an accumulation window behind it, and one
    during a save after that. A second one changes nothing, but a second Ctrl-C ends the process at
    once.

    Args:
        save: saves the state of training, and returns when it is on the disk; all ranks call it at
            the same step.
        seconds: how long to train for, from now on; None does not stop.
        every_n_batches: how often the ranks ask one another, on several; a question costs a
            millisecond or less.
    """

    def __init__(
        self,
        save: Callable[[Trainer], None],
        seconds: float | None = None,
        every_n_batches: int = 4,
    ) -> None:
        check_range("every_n_batches", every_n_batches, 1, 10**6)
        self._save, self._every_n_batches = save, every_n_batches
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._reason: str | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen. Lightning's own handlers, which save within the signal, are replaced."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._heed)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save and end before this batch if any rank was told to.

        The last one's row has been logged by now, and the validation is done that may follow it;
        of an accumulation window that has begun, the gradients would not be saved.
        """
        self._batches += 1
        if batch_idx % trainer.accumulate_grad_batches == 0 and self._is_told(trainer):
            self._save(trainer)
            self._end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same, behind the epoch's last batch and its validation."""
        if self._is_told(trainer, always=True):
            self._save(trainer)
            self._end(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer, when what has been heard is heeded: the last save may take long."""
        self._deadline = None
        if self._is_told(trainer, always=True):
            self._save(trainer)
            self._end(trainer)
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Listen no longer."""
        self._restore()

    def _restore(self) -> None:
        """Before Lightning puts back what was there before its own handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        self._reason = signal.Signals(number).name

    def _is_told(self, trainer: Trainer, always: bool = False) -> bool:
        """Whether any rank was; on several they are asked every few batches, or always."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._reason = self._reason or "the time is up"
        if trainer.world_size == 1:
            return self._reason is not None
        if self._batches < self._every_n_batches and not always:
            return False
        self._batches = 0  # since they were asked
        return trainer.strategy.reduce_boolean_decision(self._reason is not None, all=False)

    def _end(self, trainer: Trainer) -> None:
        status = INTERRUPTED if self._reason == signal.SIGINT.name else REQUEUE
        reason = self._reason or "another process was told to stop"
        status = status_of_process(trainer.global_rank, status)
        raise Preempted(reason, trainer.global_step, status)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """End at SIGTERM or SIGUSR1 while there is nothing to save: before the first step, and after.

    Preemption takes over while the steps are taken. torchrun has its own way: it sends SIGTERM to
    the others when a process has died, too, and then starts them again.
    """
    if is_started_by_torchrun():
        yield
        return
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        rank = rank_zero_only.rank  # type: ignore[attr-defined]
        if os.getpid() != process:  # one that prepares the data
            os._exit(REQUEUE)
        if rank == 0:
            print(f"stopped by {signal.Signals(number).name}, with nothing to save", flush=True)
        os._exit(status_of_process(rank, REQUEUE))

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGUSR1)}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # a job script may have held them back
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
