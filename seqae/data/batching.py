"""Batching: sentences of like length, filled to a token budget; one plan for any number of ranks.

Random batches padded to their longest sentence spend two thirds of their work on padding
(benchmarks/planning.py). Here a batch holds sentences of (nearly) one
length, as many as fit the budget, so that a step costs about the same whatever its length and a
rare length never makes a tiny batch. The plan is a pure function of (lengths, budget, seed, epoch);
ranks take its batches in turn, and the only state is how many steps were taken.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from seqae.component import check_range


@dataclass(frozen=True)
class BatchPlan:
    """One epoch's batches.

    Attributes:
        order: (N,) sentence indices, batch after batch.
        starts: (batches + 1,) where each batch begins in `order`.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        return self.order[self.starts[index] : self.starts[index + 1]]


def plan_batches(
    lengths: NDArray[np.int32], batch_tokens: int, seed: int, epoch: int, shuffle: bool = True
) -> BatchPlan:
    """Cut a corpus into batches of like length.

    Args:
        lengths: (N,) tokens of each sentence, bos and eos counted.
        batch_tokens: budget of a batch, rows times the longest row; a longer sentence stands alone.
        seed: of the order.
        epoch: gives each epoch an order of its own.
        shuffle: False keeps sentences of one length in corpus order and batches by length.
    """
    rng = np.random.default_rng([seed, epoch])
    if shuffle:
        # Shuffle, then sort stably: sentences of one length stand in random order.
        order = rng.permutation(len(lengths))
        order = order[np.argsort(lengths[order], kind="stable")]
    else:
        order = np.argsort(lengths, kind="stable")
    starts = _cut(lengths[order], batch_tokens)
    if not shuffle:
        return BatchPlan(order, starts)
    shuffled = rng.permutation(len(starts) - 1)
    sizes = np.diff(starts)[shuffled]
    new_starts = np.concatenate([[0], np.cumsum(sizes)])
    # Position i of the new order is position i - its batch's new start + its batch's old start.
    moved = np.arange(len(order)) + np.repeat(starts[:-1][shuffled] - new_starts[:-1], sizes)
    return BatchPlan(order[moved], new_starts)


def _cut(sorted_lengths: NDArray[np.int32], batch_tokens: int) -> NDArray[np.int64]:
    """Walk over ascending lengths and close a batch before rows x longest would pass the budget."""
    starts, start, total = [0], 0, len(sorted_lengths)
    while start < total:
        most = min(total - start, max(1, batch_tokens // int(sorted_lengths[start])))
        # The last row is the longest, so rows x longest only grows with the rows.
        rows = bisect_right(
            range(1, most + 1),
            batch_tokens,
            key=lambda rows: rows * int(sorted_lengths[start + rows - 1]),  # noqa: B023
        )
        start += max(1, rows)
        starts.append(start)
    return np.asarray(starts, dtype=np.int64)


def share_of_rank(plan: BatchPlan, rank: int, world_size: int) -> list[NDArray[np.int64]]:
    """Take a rank's batches from a plan: as many as any other rank, no sentence lost or doubled.

    Ranks take batches in turn. Where their number does not divide, batches of the last, incomplete
    round are cut in two until there is one for each rank; where that has too few sentences, the
    round before is cut too. So no batch is larger than the plan made it.

    Raises:
        ValueError: if there are fewer sentences than that takes.
    """
    steps = -(-len(plan) // world_size)
    whole = len(plan) // world_size  # rounds that stay as they are
    while len(plan.order) - plan.starts[whole * world_size] < (steps - whole) * world_size:
        whole -= 1
        if whole < 0:
            raise ValueError(
                f"`trainer.devices` must be at most the number of sentences in each step, but "
                f"{len(plan.order)} sentences in {len(plan)} batches do not give {world_size} "
                f"processes the same number of steps. Use fewer processes."
            )
    last = [plan[index] for index in range(whole * world_size, len(plan))]
    while len(last) < (steps - whole) * world_size:
        largest = max(range(len(last)), key=lambda index: len(last[index]))
        last[largest : largest + 1] = np.array_split(last[largest], 2)
    return [plan[step * world_size + rank] for step in range(whole)] + last[rank::world_size]


class TokenBudgetBatchSampler(Sampler[list[int]]):
    """Give a DataLoader the batches of one rank; see `plan_batches`.

    Args:
        lengths: (N,) tokens of each sentence, bos and eos counted.
        batch_tokens: budget of a batch, rows times the longest row.
        seed: of the order.
        shuffle: whether each epoch has an order of its own; otherwise all have that of epoch 0,
            in which long and short batches are mixed, so that a part of it is a fair sample.
        rank: this process's number.
        world_size: how many processes share the plan.
    """

    def __init__(
        self,
        lengths: NDArray[np.int32],
        batch_tokens: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_range("data.batch_tokens", batch_tokens, 1, 2**31)
        self.lengths, self.batch_tokens = lengths, batch_tokens
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._skip = 0  # steps that were taken before a resume
        self._planned: tuple[int, list[NDArray[np.int64]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to plan; Lightning calls this at its start."""
        if epoch != self.epoch:
            self.epoch, self._skip = epoch, 0

    def resume(self, epoch: int, steps: int) -> None:
        """Go on within an epoch: leave out the steps that were taken in it, once."""
        self.epoch, self._skip = epoch, steps

    @property
    def sampler(self) -> TokenBudgetBatchSampler:
        """This sampler: Lightning sets the epoch of `batch_sampler.sampler` only."""
        return self

    def __iter__(self) -> Iterator[list[int]]:
        batches, first = self._batches(), self._skip
        self._skip = 0
        for batch in batches[first:]:
            yield batch.tolist()

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[NDArray[np.int64]]:
        epoch = self.epoch if self.shuffle else 0
        if self._planned is None or self._planned[0] != epoch:
            plan = plan_batches(self.lengths, self.batch_tokens, self.seed, epoch)
            self._planned = (epoch, share_of_rank(plan, self.rank, self.world_size))
        return self._planned[1]
