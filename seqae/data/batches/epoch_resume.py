"""Resume within an epoch: at the sentence where a run stopped, on any number of ranks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seqae.data.batches.sampler import TokenBudgetBatchSampler

log = logging.getLogger(__name__)


@dataclass
class EpochResume:
    """Makes the first epoch of a resumed training the rest of the one that was interrupted.

    Attributes:
        epoch: its number.
        steps: batches of each rank that were trained in it, as Lightning counts them.
        consumed: sentences that all ranks together consumed in these steps.
        epoch_batches: batches of a rank in a whole epoch; known after `apply`.
        has_begun: whether training has started, so that later epochs are whole.
    """

    epoch: int
    steps: int
    consumed: int
    epoch_batches: int = field(default=0, init=False)
    has_begun: bool = field(default=False, init=False)
    _reload_every_n_epochs: int | None = field(default=None, init=False)  # what the user set

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], order: Mapping[str, Any], may_differ: bool
    ) -> EpochResume:
        """Continue from a saved state; in another order, from the beginning of its epoch.

        Args:
            state: an `epoch_state`, and under `order` what decided the order of the sentences then.
            order: what decides it now, by configuration key.
            may_differ: whether the order may be another one.

        Raises:
            ValueError: if it is another one, and must not be.
        """
        # A checkpoint may be older than the option, without which it was 1.
        before = {"data.min_rows": 1, **state["order"]}
        changed = [key for key, now in order.items() if before[key] != now]
        for key in changed:
            if not may_differ:
                raise ValueError(
                    f"`{key}` must be {before[key]}, as in the resumed run, but it is "
                    f"{order[key]} instead: the order of the sentences would change. Put it back, "
                    f"start a new training, or write `--resume_changed true`."
                )
            log.warning(f"data: `{key}` has changed, so the epoch starts again in another order")
        if changed:
            return cls(state["epoch"], steps=0, consumed=0)
        return cls(state["epoch"], state["steps"], state["consumed"])

    def count_batches(self, counted: int, limit: int | float) -> tuple[int, int]:
        """Return the batches of a rank in a whole epoch, and those left in the resumed one.

        Args:
            counted: those that Lightning counts in the resumed epoch, the earlier ones included.
            limit: `limit_train_batches` of the trainer.
        """
        whole = self.epoch_batches
        whole = min(whole, limit) if isinstance(limit, int) else int(whole * limit)
        return whole, counted - self.steps

    def apply(self, sampler: TokenBudgetBatchSampler, trainer: Any) -> None:
        """Skip what was consumed; call this whenever Lightning asks for a training loader.

        Args:
            sampler: of the loader.
            trainer: of Lightning.

        Raises:
            ValueError: if the number of ranks has changed and the epoch is limited to a share.
        """
        if self._reload_every_n_epochs is None:
            self._reload_every_n_epochs = trainer.reload_dataloaders_every_n_epochs
        trainer.reload_dataloaders_every_n_epochs = self._reload_every_n_epochs
        if self.has_begun:
            return
        self.epoch_batches = len(sampler)
        sampler.resume(self.epoch, self.steps, self.consumed)
        if len(sampler) == self.epoch_batches:
            return
        limit = trainer.limit_train_batches
        if isinstance(limit, float) and limit != 1.0:
            raise ValueError(
                f"`trainer.limit_train_batches` must be a number of batches to resume within an "
                f"epoch on another number of processes, but it is {limit} of the epoch instead. "
                f"Give a number, or resume with as many processes as before."
            )
        # Lightning fixes the number of an epoch's steps when it gets a loader. The number of this
        # loader holds for one epoch only, so the next epoch must ask for another one.
        trainer.reload_dataloaders_every_n_epochs = 1


def epoch_state(trainer: Any, sampler: TokenBudgetBatchSampler | None) -> dict[str, int]:
    """Return the epoch, its steps so far and the sentences that they consumed, as plain data.

    Args:
        trainer: of Lightning; its loops count epochs and steps.
        sampler: of the training loader; None before any training.
    """
    if sampler is None:
        return {"epoch": 0, "steps": 0, "consumed": 0}
    epoch = max(0, trainer.fit_loop.epoch_progress.current.started - 1)
    steps = trainer.fit_loop.epoch_loop.batch_progress.current.processed
    if steps >= trainer.num_training_batches:
        return {"epoch": epoch + 1, "steps": 0, "consumed": 0}
    return {"epoch": epoch, "steps": steps, "consumed": sampler.consumed(steps)}
