"""The time that a report may take: what does not fit is left out, and the page says so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class TimeLimit:
    """Counts from when it is made.

    Args:
        seconds: all that there is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._start + self.seconds - time.monotonic())

    def blocks(self, items: Sequence[Item], size: int, share: float) -> Iterator[Sequence[Item]]:
        """Yield one block, and further ones while a share of what is left now is not spent.

        A block begins only if one like those before it would end in time.

        Args:
            items: what to cut into blocks.
            size: of a block.
            share: of the time left, from 0 to 1.
        """
        begun, limit = time.monotonic(), self.left() * share
        for done, start in enumerate(range(0, len(items), size)):
            spent = time.monotonic() - begun
            if done and spent * (done + 1) / done > limit:
                return
            yield items[start : start + size]
