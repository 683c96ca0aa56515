"""Columns of numbers as the page takes them: little-endian bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqae.web.payload import Column

STEPS = 2**16 - 1  # of a column from `low` to `high`: 65,536 values, finer than any screen

_UNSIGNED: tuple[Literal["uint8", "uint16", "uint32"], ...] = ("uint8", "uint16", "uint32")


def column(values: NDArray[Any] | Sequence[float], steps: bool = False) -> Column:
    """Pack numbers.

    Args:
        values: (n,) or (n, k), which is packed row by row. Whole numbers from 0 take the smallest
            type that holds them, all others are float32.
        steps: pack as 65,536 steps from the least to the greatest, in 2 bytes each; the error is
            at most 1/131,070 of the range.

    Raises:
        ValueError: if `steps` is asked for numbers that are not finite.
    """
    array = np.asarray(values).reshape(-1)
    if steps:
        return _steps(array.astype(np.float64))
    is_whole = array.dtype == bool or np.issubdtype(array.dtype, np.integer)
    if is_whole and array.size and array.min() >= 0 and array.max() < 2**32:
        size = next(name for name in _UNSIGNED if array.max() <= np.iinfo(name).max)
        return {"dtype": size, "data": _base64(array, size), "low": None, "high": None}
    return {"dtype": "float32", "data": _base64(array, "float32"), "low": None, "high": None}


def numbers(packed: Column) -> NDArray[np.float64]:
    """Unpack a column; the reverse of `column`, as the page does it.

    Args:
        packed: what `column` made.
    """
    raw = np.frombuffer(
        base64.b64decode(packed["data"]), np.dtype(packed["dtype"]).newbyteorder("<")
    )
    low, high = packed["low"], packed["high"]
    if low is None or high is None:
        return raw.astype(np.float64)
    return low + raw / np.iinfo(packed["dtype"]).max * (high - low)


def _steps(array: NDArray[np.float64]) -> Column:
    if not np.isfinite(array).all():
        raise ValueError(
            "`values` must be finite with `steps`, but there are infinite or undefined ones "
            "instead. Leave them out, or pack without `steps`."
        )
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    scaled = (array - low) / ((high - low) or 1.0)
    data = _base64(np.rint(scaled * STEPS), "uint16")
    return {"dtype": "uint16", "data": data, "low": low, "high": high}


def _base64(array: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode()
