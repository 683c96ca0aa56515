"""Load one rank's batches of a plan, in any epoch and after a resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler

from seqae.batch import Batch
from seqae.component import check_range
from seqae.data.batches.batching import (
    BatchPlan,
    Rounding,
    assign_to_ranks,
    count_batches,
    count_steps,
    plan_batches,
)
from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.processes import ignore_group_signals


class TokenBudgetBatchSampler(Sampler[list[int]]):
    """Gives a DataLoader the batches of one rank; see `plan_batches`.

    It plans an epoch when the first batch is requested, after the DataLoader has forked its
    workers, so no worker holds a plan.

    Args:
        lengths: (N,) tokens of each sentence, bos and eos counted.
        batch_tokens: budget of a batch, rows times the padded length.
        seed: of the order.
        shuffle: whether each epoch has another order. Otherwise, for an evaluation, every epoch has
            the order of epoch 0, which mixes long and short batches, so that a part of it is a fair
            sample. In an evaluation a rank without a batch of its own in the last step gets another
            rank's; see `num_own`.
        rank: number of this process.
        world_size: how many processes share the plan.
        rounding: of rows and padded lengths.

    Raises:
        ValueError: if the budget is out of range.
    """

    def __init__(
        self,
        lengths: NDArray[np.int32],
        batch_tokens: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        rounding: Rounding = Rounding(),  # noqa: B008 - it is frozen
    ) -> None:
        check_range("data.batch_tokens", batch_tokens, 1, 2**31)
        self.lengths, self.batch_tokens, self.rounding = lengths, batch_tokens, rounding
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._steps_before = self._consumed_before = 0  # in this epoch, before a resume
        self._batches: int | None = None
        self._assigned: BatchPlan | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to plan; Lightning calls this when the epoch starts."""
        if self.shuffle and epoch != self.epoch:
            self.resume(epoch, 0, 0)

    def resume(self, epoch: int, steps: int, consumed: int) -> None:
        """Continue within an epoch, on any number of ranks: skip what was consumed in it.

        Args:
            epoch: its number.
            steps: batches of each rank that were trained in it; `len` includes them, as Lightning
                counts them.
            consumed: sentences that all ranks together consumed in these steps.
        """
        self.epoch, self._steps_before, self._consumed_before = epoch, steps, consumed
        self._assigned = None

    def consumed(self, steps: int) -> int:
        """Count the sentences of the epoch that all ranks together consume in some steps."""
        batches = (steps - self._steps_before) * self.world_size
        return self._consumed_before + (int(self._plan().consumed[batches]) if batches else 0)

    @property
    def sampler(self) -> TokenBudgetBatchSampler:
        """This sampler, because Lightning sets the epoch of `batch_sampler.sampler` only."""
        return self

    def __iter__(self) -> Iterator[list[int]]:
        plan = self._plan()
        for index in range(self.rank, len(plan), self.world_size):
            yield plan[index].tolist()
        if not self.shuffle and self.num_own < len(self):
            yield plan[0].tolist()

    def __len__(self) -> int:
        if self._consumed_before:
            return self._steps_before + len(self._plan()) // self.world_size
        if self._batches is None:
            self._batches = count_batches(self.lengths, self.batch_tokens, self.rounding)
        if not self.shuffle:
            return -(-self._batches // self.world_size)
        return count_steps(self._batches, len(self.lengths), self.world_size)

    @property
    def num_own(self) -> int:
        """Number of batches that are this rank's own; a batch after them is another rank's."""
        return len(range(self.rank, len(self._plan()), self.world_size))

    def _plan(self) -> BatchPlan:
        """Plan the rest of the epoch, once, and assign it to the ranks."""
        if self._assigned is None:
            plan = plan_batches(
                self.lengths, self.batch_tokens, self.seed, self.epoch, rounding=self.rounding
            )
            if self._consumed_before:
                plan = plan.after(self._consumed_before)
            is_short = not self.shuffle and len(self.lengths) < len(self) * self.world_size
            self._assigned = plan if is_short else assign_to_ranks(plan, self.world_size)
        return self._assigned


@dataclass(frozen=True)
class RoundedPadding:
    """Pads gathered batches further, to the rounded length; the `collate_fn` of a DataLoader.

    Attributes:
        rounding: of padded lengths.
        pad_id: fills the rows.
    """

    rounding: Rounding
    pad_id: int

    def __call__(self, batch: Batch) -> Batch:
        """Pad a batch, and its targets if it has any."""
        length = batch.token_ids.shape[1]
        missing = int(self.rounding.padded(length)) - length
        if missing:
            token_ids = pad(batch.token_ids, (0, missing), value=self.pad_id)
            batch = replace(batch, token_ids=token_ids)
        return batch if batch.targets is None else replace(batch, targets=self(batch.targets))


def make_loader(
    corpus: TokenizedCorpus, sampler: TokenBudgetBatchSampler, num_workers: int, pin_memory: bool
) -> DataLoader[Batch]:
    """Make the DataLoader that gives the batches of a sampler.

    Args:
        corpus: that the sampler's indices refer to.
        sampler: plans the batches.
        num_workers: processes that gather batches; 0 gathers them in this process.
        pin_memory: whether to move them to page-locked memory.
    """
    return CorpusLoader(
        corpus,  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=RoundedPadding(sampler.rounding, corpus.pad_id),  # type: ignore[arg-type]
        # Its own, so that starting an epoch draws nothing from the generator of dropout.
        generator=torch.Generator(),
        num_workers=num_workers,
        worker_init_fn=ignore_group_signals,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
    )


class CorpusLoader(DataLoader[Batch]):
    """Looks at each epoch whether the files of its corpus are what they were.

    An error that a change of the files has caused, also in a worker, names the change.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        corpus = cast(TokenizedCorpus, self.dataset)
        corpus.check_unchanged()
        try:
            yield from super().__iter__()
        except Exception:
            corpus.check_unchanged()
            raise


def make_planned_loader(
    corpus: TokenizedCorpus, rows: Sequence[NDArray[np.int64]], rounding: Rounding
) -> DataLoader[Batch]:
    """Make a DataLoader without a batch sampler, which Lightning would rebuild for prediction.

    Args:
        corpus: tokenised sentences.
        rows: indices of the sentences of each batch.
        rounding: of padded lengths.
    """
    batches = PlannedBatches(corpus, rows, RoundedPadding(rounding, corpus.pad_id))
    return DataLoader(batches, batch_size=None)


class PlannedBatches(Dataset[Batch]):
    """Gives the batches of a corpus that was cut into batches before.

    Args:
        corpus: tokenised sentences.
        rows: indices of the sentences of each batch.
        padding: rounds the lengths.
    """

    def __init__(
        self, corpus: TokenizedCorpus, rows: Sequence[NDArray[np.int64]], padding: RoundedPadding
    ) -> None:
        self.corpus, self.rows, self.padding = corpus, rows, padding

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return self.padding(self.corpus.__getitems__(self.rows[index].tolist()))
