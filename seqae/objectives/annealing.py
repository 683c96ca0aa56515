"""Weights that change over optimizer steps. Each is a factor between 0 and 1."""

from __future__ import annotations


def linear(step: int, warmup_steps: int) -> float:
    """Rise from 0 in a line over `warmup_steps`, then stay at 1 (Bowman et al. 2016).

    Args:
        step: optimizer steps taken so far.
        warmup_steps: 0 is 1 from the start.
    """
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def cyclical(step: int, warmup_steps: int, cycles: int, rising_share: float) -> float:
    """Rise, stay at 1 for a while, and begin again from 0 (Fu et al. 2019, section 3).

    There the length of all cycles together is given; here it is that of one rise, so that it does
    not change with the length of the training. One cycle is `linear`.

    Args:
        step: optimizer steps taken so far.
        warmup_steps: steps of each rise.
        cycles: how often it rises; after the last time it stays at 1.
        rising_share: share of a cycle over which it rises, R there.
    """
    length = _cycle(warmup_steps, rising_share)
    last = (cycles - 1) * length
    return linear(step % length if step < last else step - last, warmup_steps)


def steps_of(warmup_steps: int, cycles: int, rising_share: float) -> int:
    """After how many steps `cyclical` is 1 for good."""
    return (cycles - 1) * _cycle(warmup_steps, rising_share) + warmup_steps


def _cycle(warmup_steps: int, rising_share: float) -> int:
    return max(1, round(warmup_steps / rising_share))
