"""Annealing: weights that change over optimizer steps. Each is a factor between 0 and 1."""

from __future__ import annotations


def linear_annealing(step: int, warmup_steps: int) -> float:
    """Rise linearly from 0 over `warmup_steps`, then stay at 1 (Bowman et al. 2016).

    Args:
        step: optimizer steps taken so far.
        warmup_steps: steps of the rise; with 0 the factor is 1 from the start.
    """
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def cyclical_annealing(step: int, warmup_steps: int, cycles: int, rising_share: float) -> float:
    """Rise from 0, stay at 1 for a while, and start again (Fu et al. 2019, section 3).

    The paper fixes the length of all cycles together. Here the length of one rise is fixed, so that
    it does not depend on the length of the training. One cycle is `linear_annealing`.

    Args:
        step: optimizer steps taken so far.
        warmup_steps: steps of each rise.
        cycles: number of rises; after the last one the factor stays at 1.
        rising_share: share of a cycle over which the factor rises, R in the paper.
    """
    length = _cycle_length(warmup_steps, rising_share)
    last_start = (cycles - 1) * length
    return linear_annealing(step % length if step < last_start else step - last_start, warmup_steps)


def annealing_steps(warmup_steps: int, cycles: int, rising_share: float) -> int:
    """Count the optimizer steps after which `cyclical_annealing` stays at 1."""
    return (cycles - 1) * _cycle_length(warmup_steps, rising_share) + warmup_steps


def _cycle_length(warmup_steps: int, rising_share: float) -> int:
    return max(1, round(warmup_steps / rising_share))
