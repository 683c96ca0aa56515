"""Latents in fewer bits, after the convention of sentence-transformers' `quantize_embeddings`.

- `int8` divides the range of each dimension, from `scale[0]` to `scale[1]`, into 255 steps and
  keeps the number of the step, less 128. What lies outside of the range moves to its end.
- `binary` keeps which numbers are above 0, eight to a byte with the first in the highest bit, less
  128. `scale` has what they are decoded to: the mean of those that were not, and of those that
  were.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents
from seqae.component import check_choice

Precision = Literal["float32", "float16", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SCALED: tuple[Precision, ...] = ("int8", "binary")
STEPS = 255

# How each precision is decoded, as its file says it.
RULES: dict[Precision, str] = {
    "float32": "latents",
    "float16": "latents",
    "int8": "scale[0] + (latents + numpy.float32(128.5)) * (scale[1] - scale[0]) / 255",
    "binary": "numpy.where(numpy.unpackbits((latents.astype('int16') + 128).astype('uint8'), "
    "axis=-1, count=scale.shape[1]), scale[1], scale[0])",
}


class QuantisedLatents(NamedTuple):
    """Latents as they are stored.

    Args:
        values: (..., Z) float32, float16 or int8; for `binary` (..., ⌈Z / 8⌉) int8.
        precision: which.
        scale: (2, Z) float32 for int8 and binary; None for the others.
    """

    values: NDArray[Any]
    precision: Precision
    scale: NDArray[np.float32] | None


def calibrate(latents: Latents, precision: Precision) -> NDArray[np.float32] | None:
    """Find the scale of each dimension.

    Args:
        latents: (n, Z), the more the better.
        precision: int8 or binary; the others have no scale.

    Returns:
        (2, Z) for int8 the smallest and the largest numbers, for binary the means of those that are
        not above 0 and of those that are; None for the others.

    Raises:
        ValueError: if there is no latent, or one is not finite.
    """
    check_choice("precision", precision, PRECISIONS)
    _check_finite(latents)
    if precision not in SCALED:
        return None
    if not len(latents):
        raise ValueError(
            f"`calibration` must hold a latent or more for {precision}, but it is empty. Encode "
            f"some sentences for it."
        )
    if precision == "int8":
        return np.stack([latents.min(axis=0), latents.max(axis=0)]).astype(np.float32)
    above = latents > 0
    means = [
        np.where(side, latents, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(side.sum(axis=0), 1)
        for side in (~above, above)
    ]
    return np.stack(means).astype(np.float32)


def quantise(
    latents: Latents, precision: Precision, scale: NDArray[np.float32] | None = None
) -> QuantisedLatents:
    """Store latents in fewer bits.

    Args:
        latents: (..., Z) float32.
        precision: of what is stored.
        scale: (2, Z) from `calibrate`; by default these latents themselves give it.

    Raises:
        ValueError: if the scale is of another size, or a number does not fit into float16.
    """
    flat = latents.reshape(-1, latents.shape[-1])
    if scale is None:
        scale = calibrate(flat, precision)
    else:
        check_choice("precision", precision, SCALED)
        _check_finite(flat)
    if scale is None:
        return QuantisedLatents(_to_float(latents, precision), precision, None)
    if scale.shape != (2, latents.shape[-1]):
        raise ValueError(
            f"`calibration` must be of latents of {latents.shape[-1]} numbers, but they have "
            f"{scale.shape[-1]} instead. Encode them with the same model."
        )
    if precision == "binary":
        bits = np.packbits(latents > 0, axis=-1)
        return QuantisedLatents((bits - 128).astype(np.int8), precision, scale)
    steps = (scale[1] - scale[0]) / STEPS
    numbers = np.floor((latents - scale[0]) / np.where(steps == 0, 1, steps))
    stored = (np.clip(numbers, 0, STEPS) - 128).astype(np.int8)
    return QuantisedLatents(stored, precision, scale)


def dequantise(stored: QuantisedLatents) -> Latents:
    """Return the latents, (..., Z) float32, that are nearest to what was stored.

    Raises:
        ValueError: if the parts do not fit together.
    """
    values, precision, scale = stored
    if scale is None:
        return values.astype(np.float32)
    width = scale.shape[-1] if precision == "int8" else -(-scale.shape[-1] // 8)
    if values.dtype != np.int8 or scale.ndim != 2 or len(scale) != 2 or values.shape[-1] != width:
        raise ValueError(f"{values.dtype} {values.shape} with a scale of {scale.shape}")
    scale = scale.astype(np.float32)
    if not np.isfinite(scale).all():
        raise ValueError("a scale that is not finite")
    if precision == "binary":
        bytes_ = (values.astype(np.int16) + 128).astype(np.uint8)
        bits = np.unpackbits(bytes_, axis=-1, count=scale.shape[1])
        chosen: Latents = np.where(bits, scale[1], scale[0])
        return chosen
    # In the order of RULES, so that who follows them gets the same to the last bit.
    middle: Latents = scale[0] + (values + np.float32(128.5)) * (scale[1] - scale[0]) / STEPS
    return middle


def _to_float(latents: Latents, precision: Precision) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = latents.astype(precision)
    if not np.isfinite(stored).all():
        raise ValueError(
            f"`precision` must hold the latents, but numbers of up to {np.abs(latents).max():.3g} "
            f"do not fit into {precision}. Choose float32 or int8."
        )
    return stored


def _check_finite(latents: Latents) -> None:
    if not np.isfinite(latents).all():
        raise ValueError(
            "`latents` must be finite, but it holds NaN or infinity instead. The model's weights "
            "are too large, or its training diverged: use another model."
        )
