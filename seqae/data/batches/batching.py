"""Batching: sentences of like length, filled to a token budget; one plan for any number of ranks.

Random batches padded to their longest sentence spend two thirds of their work on padding
(benchmarks/planning.py). Here a batch holds sentences of (nearly) one length, as many as fit the
budget, so a step costs about the same whatever its length, and a rare length never makes a tiny
batch. The plan is a pure function of (lengths, budget, rounding, seed, epoch). Ranks take its
batches in turn, so its state is one number: how many of its sentences were consumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqae.component import check_range

CHUNK = 2**18  # sentences sorted at a time: about 10 MB of intermediate arrays


@dataclass(frozen=True)
class Rounding:
    """Rounds batches to few sizes, for kernels that are compiled or tuned for each size.

    Args:
        length: pad a batch to a multiple of it.
        rows: make the number of rows a multiple of it, if sentences and budget suffice.
        max_length: pad no batch beyond it.
        min_rows: let a batch pass its budget for so many sentences, because the steps of a
            recurrence are products of so many rows.

    Raises:
        ValueError: if `length`, `rows` or `min_rows` is out of range.
    """

    length: int = 1
    rows: int = 1
    max_length: int = 2**31 - 1
    min_rows: int = 1

    def __post_init__(self) -> None:
        check_range("data.round_length", self.length, 1, 2**13)
        check_range("data.round_rows", self.rows, 1, 2**13)
        check_range("data.min_rows", self.min_rows, 1, 2**13)

    def padded(self, lengths: Any) -> Any:
        """Return the width of batches from their longest sentences' lengths, an int or an array."""
        multiple = -(-lengths // self.length) * self.length
        return np.maximum(lengths, np.minimum(multiple, self.max_length))

    def fitting(self, batch_tokens: int, width: int) -> int:
        """Return how many rows of a padded width a batch may have."""
        return max(self.min_rows, batch_tokens // width)

    def round_down(self, rows: int) -> int:
        """Return the largest multiple of at most these rows; if it is 0, these rows."""
        return rows - rows % self.rows if rows >= self.rows else rows


@dataclass(frozen=True)
class BatchPlan:
    """Batches in the order in which they are consumed.

    Attributes:
        order: (N,) sentence indices, those of a batch side by side.
        begins: (batches,) where each batch begins in `order`.
        ends: (batches,) where it ends.
    """

    order: NDArray[np.signedinteger]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        return self.order[self.begins[index] : self.ends[index]].astype(np.int64)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self[index] for index in range(len(self)))

    @property
    def consumed(self) -> NDArray[np.int64]:
        """(batches + 1,): how many sentences were consumed before each batch, and at the end."""
        return np.concatenate([[0], np.cumsum(self.ends - self.begins)])

    def after(self, consumed: int) -> BatchPlan:
        """Return the rest of the plan after some sentences, which may begin within a batch."""
        until = self.consumed
        first = int(np.searchsorted(until, consumed, side="right")) - 1
        begins = self.begins[first:].copy()
        if len(begins):
            begins[0] += consumed - until[first]
        return BatchPlan(self.order, begins, self.ends[first:])


def plan_batches(
    lengths: NDArray[np.int32],
    batch_tokens: int,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    rounding: Rounding = Rounding(),  # noqa: B008 - it is frozen
) -> BatchPlan:
    """Cut a corpus into batches of like length.

    This takes less than ten bytes for each sentence, four of them for the result.

    Args:
        lengths: (N,) tokens of each sentence, bos and eos counted.
        batch_tokens: budget of a batch, rows times the padded length; a longer sentence is a batch
            of its own, unless `rounding.min_rows` asks for more.
        seed: of the order.
        epoch: each one has another order.
        shuffle: False sorts batches by length, and keeps sentences of one length in corpus order.
        rounding: of rows and padded lengths.
    """
    rng = np.random.default_rng([seed, epoch])
    order = np.arange(len(lengths), dtype=np.int32 if len(lengths) < 2**31 else np.int64)
    if shuffle:
        # Shuffle, then sort stably: sentences of one length are in random order.
        rng.shuffle(order)
    counts = _count(lengths)
    order = _sort_by_length(order, np.asarray(lengths), counts)
    starts = _cut(counts, batch_tokens, rounding)
    begins, ends = starts[:-1], starts[1:]
    if shuffle:
        shuffled = rng.permutation(len(begins))
        begins, ends = begins[shuffled], ends[shuffled]
    return BatchPlan(order, begins, ends)


def count_batches(lengths: NDArray[np.int32], batch_tokens: int, rounding: Rounding) -> int:
    """Count the batches of an epoch's plan; all epochs have equally many."""
    return len(_cut(_count(lengths), batch_tokens, rounding)) - 1


def _count(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the sentences of each length: (longest + 1,) int64."""
    counts = np.zeros(int(lengths.max(initial=0)) + 1, dtype=np.int64)
    for start in range(0, len(lengths), CHUNK):
        counts += np.bincount(lengths[start : start + CHUNK], minlength=len(counts))
    return counts


def _sort_by_length(
    order: NDArray[np.signedinteger], lengths: NDArray[np.int32], counts: NDArray[np.int64]
) -> NDArray[np.signedinteger]:
    """Sort sentences by length, stably; part by part, as an argsort takes 16 bytes for each."""
    result = np.empty_like(order)
    free = np.cumsum(counts) - counts  # where the next sentence of each length goes
    small = np.min_scalar_type(len(counts))  # numpy sorts 16 bits by radix
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        own = lengths[part]
        own_counts = np.bincount(own, minlength=len(counts))
        shift = free - (np.cumsum(own_counts) - own_counts)
        sorted_part = part[np.argsort(own.astype(small), kind="stable")]
        result[np.arange(len(part)) + np.repeat(shift, own_counts)] = sorted_part
        free += own_counts
    return result


def _cut(counts: NDArray[np.int64], batch_tokens: int, rounding: Rounding) -> NDArray[np.int64]:
    """Walk over ascending lengths and close a batch before rows x longest would pass the budget.

    Args:
        counts: (longest + 1,), how many sentences there are of each length.
        batch_tokens: the budget.
        rounding: of rows and padded lengths.

    Returns:
        (batches + 1,), where each batch begins among the sentences sorted by length.
    """
    lengths = np.flatnonzero(counts)
    padded = rounding.padded(lengths)
    # Lengths that are padded to the same width count as one.
    last = np.append(padded[1:] != padded[:-1], True)[: len(padded)]
    widths: list[int] = padded[last].tolist()
    ends: list[int] = np.cumsum(counts[lengths])[last].tolist()
    starts, start = [np.zeros(1, dtype=np.int64)], 0
    for index, end in enumerate(ends):
        full = rounding.round_down(rounding.fitting(batch_tokens, widths[index]))
        uniform = max(0, end - start) // full  # batches of this width only
        starts.append(start + full * np.arange(1, uniform + 1))
        start += uniform * full
        while start < end:
            # The remaining sentences join wider ones, as far as the budget allows.
            rows = end - start
            for wider in range(index + 1, len(widths)):
                fitting = rounding.fitting(batch_tokens, widths[wider])
                if fitting <= rows:
                    break
                rows = min(ends[wider] - start, fitting)
            start += rounding.round_down(rows)
            starts.append(np.asarray([start]))
    return np.concatenate(starts)


def count_steps(batches: int, sentences: int, world_size: int) -> int:
    """Count the steps in which ranks take some batches, one each per step.

    Args:
        batches: of all ranks.
        sentences: in these batches.
        world_size: how many ranks there are.

    Raises:
        ValueError: if the sentences do not suffice for a batch per rank and step.
    """
    steps = -(-batches // world_size)
    if sentences < steps * world_size:
        raise ValueError(
            f"`trainer.devices` must be at most the number of sentences in each step, but "
            f"{sentences} sentences in {batches} batches do not give {world_size} "
            f"processes the same number of steps. Use fewer processes."
        )
    return steps


def assign_to_ranks(plan: BatchPlan, world_size: int) -> BatchPlan:
    """Give every rank a batch in each step, without losing, doubling or adding a sentence.

    Step by step the ranks take the next batches of the plan. If their number is not a multiple of
    the ranks, the surplus batches make a step of their own, in which they are cut until there is
    one for each rank; that is the last step, or an earlier one if the last has too few sentences.
    Each step depends on the rest of the plan only, so a resumed run assigns the same batches.

    Returns:
        Batches in the order of the plan; their number is a multiple of `world_size`.

    Raises:
        ValueError: if there are too few sentences.
    """
    begins: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    while True:
        consumed = plan.consumed
        total = int(consumed[-1])
        steps = count_steps(len(plan), total, world_size)
        whole, following = 0, np.arange(steps)[::-1]  # steps after each
        if steps:
            # A step of whole batches must leave a sentence for each rank in each later step.
            until = consumed[np.minimum(np.arange(1, steps + 1) * world_size, len(plan))]
            fits = total - until >= following * world_size
            fits[-1] = len(plan) == steps * world_size
            whole = steps if fits.all() else int(np.argmin(fits))
        begins.append(plan.begins[: whole * world_size])
        ends.append(plan.ends[: whole * world_size])
        if whole == steps:
            return BatchPlan(plan.order, np.concatenate(begins), np.concatenate(ends))
        plan = plan.after(int(consumed[whole * world_size]))
        pieces = _cut_surplus(plan, int(following[whole]), world_size)
        begins.append(np.asarray([begin for begin, _ in pieces], dtype=np.int64))
        ends.append(np.asarray([end for _, end in pieces], dtype=np.int64))
        plan = plan.after(sum(end - begin for begin, end in pieces))


def _cut_surplus(plan: BatchPlan, following: int, world_size: int) -> list[tuple[int, int]]:
    """Cut the batches that do not fit into the following steps into one for each rank.

    Args:
        plan: the rest of it.
        following: steps after this one.
        world_size: how many ranks there are.

    Returns:
        (begin, end) of each rank's batch in the order of the plan.
    """
    surplus = len(plan) - following * world_size
    spare = int(plan.consumed[-1]) - following * world_size
    pieces: list[tuple[int, int]] = []
    taken = 0
    # Batches that follow are added if these have too few sentences.
    while len(pieces) < surplus or taken < world_size:
        begin, end = int(plan.begins[len(pieces)]), int(plan.ends[len(pieces)])
        end = min(end, begin + spare - taken)
        pieces.append((begin, end))
        taken += end - begin
    while len(pieces) < world_size:
        largest = max(range(len(pieces)), key=lambda index: pieces[index][1] - pieces[index][0])
        begin, end = pieces[largest]
        middle = begin + (end - begin + 1) // 2
        pieces[largest : largest + 1] = [(begin, middle), (middle, end)]
    return pieces


def batches_of_rank(plan: BatchPlan, rank: int, world_size: int) -> BatchPlan:
    """Return one rank's batches of a plan: as many as any other's; see `assign_to_ranks`."""
    plan = assign_to_ranks(plan, world_size)
    return BatchPlan(plan.order, plan.begins[rank::world_size], plan.ends[rank::world_size])
