"""Numbers too small for the processor's fast arithmetic, and training without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DENORMAL = 1e-39  # between 0 and float32's smallest normal number, 1.2e-38


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Have the processor take numbers below 1.2e-38 as 0, where it can.

    The gradient through a long recurrence decays to such numbers, with which a processor multiplies
    in microcode: a step on rows of 200 tokens took up to four times as long (docs/log.md). The mode
    belongs to a thread and goes on to those that it starts. So this comes before the first parallel
    operation; in a process that has computed before, its other threads stay as they are.
    """
    were_flushed = _are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_flushed)


def _are_flushed() -> bool:
    """Try whether this thread flushes."""
    return float(torch.tensor(DENORMAL) * 1.5) == 0
