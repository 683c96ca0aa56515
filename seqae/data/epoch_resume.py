"""Resuming: an epoch goes on at the sentence where it stopped, on any number of ranks."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.data.sampler import TokenBudgetBatchSampler
from seqae.lightning_internals import count_reloads_from


def order_state(trainer: Trainer, sampler: TokenBudgetBatchSampler | None) -> dict[str, int]:
    """Where the order of the data stands: the epoch, and how many of its sentences are consumed.

    Beside it, the steps that Lightning has counted for these, which it will go on to count.
    """
    if sampler is None:  # nothing was trained
        return {"epoch": 0, "steps": 0, "consumed": 0}
    loop: Any = trainer.fit_loop
    epoch = max(0, loop.epoch_progress.current.started - 1)
    steps = loop.epoch_loop.batch_progress.current.processed
    if steps >= trainer.num_training_batches:
        return {"epoch": epoch + 1, "steps": 0, "consumed": 0}
    return {"epoch": epoch, "steps": steps, "consumed": sampler.consumed(steps)}


class ResumedOrder(Callback):
    """Makes the first epoch of a resumed training what was left of it.

    Args:
        epoch: as in `order_state`.
        steps: as there.
        consumed: as there.
    """

    def __init__(self, epoch: int, steps: int, consumed: int) -> None:
        self.epoch, self.steps, self.consumed = epoch, steps, consumed
        self.epoch_batches = 0  # of a rank in a whole epoch; known when `apply` has been called
        self._has_begun = False
        self._reload_every_n_epochs: int | None = None  # what the user set

    def apply(self, sampler: TokenBudgetBatchSampler, trainer: Any) -> None:
        """Leave out what was consumed; call this whenever Lightning asks for a training loader.

        Raises:
            ValueError: if the epoch is limited to a share, and the number of ranks has changed.
        """
        if self._reload_every_n_epochs is None:
            self._reload_every_n_epochs = trainer.reload_dataloaders_every_n_epochs
        trainer.reload_dataloaders_every_n_epochs = self._reload_every_n_epochs
        if self._has_begun:
            return
        self.epoch_batches = len(sampler)
        sampler.resume(self.epoch, self.steps, self.consumed)
        if len(sampler) == self.epoch_batches:
            return
        limit = trainer.limit_train_batches
        if isinstance(limit, float) and limit != 1.0:
            raise ValueError(
                f"`trainer.limit_train_batches` must be a number of batches to go on within an "
                f"epoch on another number of processes, but it is {limit} of the epoch instead. "
                f"Give a number, or resume with as many processes as before."
            )
        # Lightning fixes the number of an epoch's steps when it gets a loader, and this one's
        # number is good for one epoch only: the next must get another.
        trainer.reload_dataloaders_every_n_epochs = 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set Lightning's loops to this place, once.

        Left alone, they take an epoch that was stopped within for a finished one, and with
        `max_steps` they count an epoch twice that had ended when it was saved (Lightning 2.6).
        """
        if self._has_begun:
            return
        self._has_begun = True
        is_within = self.steps > 0
        loop: Any = trainer.fit_loop
        for count in (loop.epoch_progress.total, loop.epoch_progress.current):
            count.ready = count.started = self.epoch + is_within
            count.processed = count.completed = self.epoch
        loop.restarting = is_within
        loop.epoch_loop.restarting = is_within  # with `max_steps`, `loop` takes no False
        loop.update_restart_stage()
        count_reloads_from(trainer, self.epoch)
