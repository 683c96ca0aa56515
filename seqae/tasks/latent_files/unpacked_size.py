"""How much memory a file of latents may take: a small one of a stranger must not fill it.

What is compressed, or padded to the longest text, can be far larger than its file.
"""

from __future__ import annotations

ALWAYS = 2**28  # bytes that any file may take
TIMES = 100  # and bytes for each of its own: repeated latents in .parquet take some 30


class TooLarge(ValueError):
    """A file would take far more memory than it has bytes."""


def check_unpacked(stored: int, needed: int) -> None:
    """Refuse a file before what it holds is given memory.

    Args:
        stored: bytes of the file.
        needed: bytes that it will take.

    Raises:
        TooLarge: if they are too many.
    """
    limit = max(ALWAYS, TIMES * stored)
    if needed > limit:
        raise TooLarge(f"{needed / 1e6:,.0f} MB, and may take {limit / 1e6:,.0f} MB")
