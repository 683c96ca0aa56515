"""Preemption: when a cluster takes the machine back, save and end with a status that says so.

SLURM sends SIGUSR1 on request (`--signal`), and SIGTERM before it takes a node away; rented
machines send SIGTERM. A handler that saved would run between any two lines of the program, and on
one rank only. So the handler only sets a flag; the ranks agree on it at a batch boundary, all save
the same step, and end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from seqae.component import check_range
from seqae.training.checkpoints.callback import CheckpointWriter
from seqae.training.distributed.exit_status import (
    INTERRUPTED,
    REQUEUE,
    is_started_by_torchrun,
    status_of_rank,
)

TIME_IS_UP = "the time is up"  # the reason, if it is no signal
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Preempted(SystemExit):
    """Training was asked to stop, and everything is saved.

    Args:
        reason: a signal's name, or that the time is up.
        step: optimizer steps taken.
        status: exit status of this process.
    """

    def __init__(self, reason: str, step: int, status: int) -> None:
        super().__init__(status)
        self.reason, self.step = reason, step


class Preemption(Callback):
    """Save and end at SIGTERM, SIGUSR1 or Ctrl-C, or when the time is up.

    Training stops between two steps, after the metrics of the last one are logged. A signal during
    validation takes effect after it, one within an accumulation window at the window's end, and one
    during a save after that. A second signal changes nothing, but a second Ctrl-C ends the process
    at once.

    Args:
        writer: saves the state of training.
        seconds: how long to train from now on; None sets no limit.
        every_n_batches: with several ranks, batches between two votes on whether to stop; a vote
            costs a millisecond at most.
    """

    def __init__(
        self, writer: CheckpointWriter, seconds: float | None = None, every_n_batches: int = 4
    ) -> None:
        check_range("every_n_batches", every_n_batches, 1, 10**6)
        self._writer, self._every_n_batches = writer, every_n_batches
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._reason: str | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._batches_since_vote = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the signal handlers, also Lightning's, which save inside the handler."""
        if threading.current_thread() is not threading.main_thread():
            return  # in a thread of an application, which keeps its handlers
        for number in SIGNALS:
            self._previous_handlers[number] = signal.signal(number, self._handle)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop before this batch if it starts an accumulation window.

        By now the last batch's metrics are logged and the validation that may follow it is over. In
        the middle of a window, the accumulated gradients would be lost.
        """
        self._batches_since_vote += 1
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_asked(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer, always_vote=True)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal came during the last save: what follows training may take long."""
        self._deadline = None
        self._stop_if_asked(trainer, always_vote=True)
        self._restore_handlers()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        """Put back Lightning's handlers, before Lightning puts back those from before its own."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        self._reason = signal.Signals(number).name

    def _stop_if_asked(self, trainer: Trainer, always_vote: bool = False) -> None:
        if not self._is_asked(trainer, always_vote):
            return
        self._writer.save_and_wait(trainer)
        status = INTERRUPTED if self._reason == signal.SIGINT.name else REQUEUE
        reason = self._reason or "another process was told to stop"
        raise Preempted(reason, trainer.global_step, status_of_rank(trainer.global_rank, status))

    def _is_asked(self, trainer: Trainer, always_vote: bool) -> bool:
        """Say whether any rank was asked to stop; several ranks vote every few batches."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._reason = self._reason or TIME_IS_UP
        if trainer.world_size == 1:
            return self._reason is not None
        if self._batches_since_vote < self._every_n_batches and not always_vote:
            return False
        self._batches_since_vote = 0
        return trainer.strategy.reduce_boolean_decision(self._reason is not None, all=False)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """End at SIGTERM or SIGUSR1 while there is nothing to save: before the first step, and after.

    Between the steps, Preemption takes over. Under torchrun this does nothing: torchrun also sends
    SIGTERM to the other processes when one has died, and then starts them again.
    """
    if is_started_by_torchrun():
        yield
        return
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        rank = rank_zero_only.rank  # type: ignore[attr-defined]
        if os.getpid() != process:  # a fork that prepares the data
            os._exit(REQUEUE)
        if rank == 0:
            print(f"stopped by {signal.Signals(number).name}, with nothing to save", flush=True)
        os._exit(status_of_rank(rank, REQUEUE))

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGUSR1)}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, previous)  # a job script may have blocked them
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
