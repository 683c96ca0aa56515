"""Read latents from a file that `encode` wrote, or from JSON lines; it may be a stranger's."""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.long_texts import LongLatents, pad
from seqae.bundle.operations.quantised_latents import (
    SCALED,
    Precision,
    QuantisedLatents,
    calibrate,
    dequantise,
)
from seqae.data.containers import check_real
from seqae.tasks.latent_files.parquet_latents import read_parquet
from seqae.tasks.latent_files.projector_tsv import read_vectors
from seqae.tasks.latent_files.unpacked_size import TooLarge, check_unpacked

# What a damaged file of latents may raise, also by its impossible sizes or endless nesting.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)


class Stored(NamedTuple):
    """What a file holds.

    Args:
        latents: (n, Z), or of texts in stretches (n, K, Z); as they are stored.
        mask: (n, K) of texts in stretches.
        scale: (2, Z) of int8 and binary latents.
        precision: of these two.
    """

    latents: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    scale: NDArray[Any] | None = None
    precision: Precision = "float32"


def read_latents(source: str) -> NDArray[np.float32] | LongLatents:
    """Read latents; those of int8 and binary as what they are decoded to.

    Args:
        source: the file; `-` is standard input.

    Returns:
        (n, Z), or those of long texts.

    Raises:
        ValueError: if the file is neither, or holds anything but real numbers.
    """
    return _read(source, "latents")[1]


def read_scale(source: str, precision: Precision) -> NDArray[np.float32]:
    """Read the scale of other latents: that of their file, or else what they themselves give.

    Args:
        source: the file.
        precision: int8 or binary.

    Returns:
        (2, Z) float32.

    Raises:
        ValueError: if it holds no latents, or those of another precision.
    """
    stored, latents = _read(source, "calibration")
    if stored.scale is not None and stored.precision != precision:
        raise ValueError(
            f"`calibration` must be of latents in float32, float16 or {precision}, but {source} "
            f"is in {stored.precision} instead. Encode it again without `--precision`."
        )
    if stored.scale is not None:
        return stored.scale.astype(np.float32)
    flat = latents.latents[latents.mask] if isinstance(latents, LongLatents) else latents
    scale = calibrate(flat, precision)
    assert scale is not None
    return scale


def _read(source: str, key: str) -> tuple[Stored, Latents | LongLatents]:
    """Read a file, and decode what it holds.

    Args:
        source: the file; `-` is standard input.
        key: the option that named it.
    """
    path = Path(source)
    if source != "-" and not path.is_file():
        raise ValueError(
            f"`{key}` must be a file that `seqae encode` wrote, but there is no {source}. "
            f"Check the path."
        )
    try:
        stored = _read_stored(source)
        values, mask = stored.latents, stored.mask
        if mask is not None and (
            mask.dtype != bool or values.ndim != 3 or mask.shape != values.shape[:2]
        ):
            raise ValueError(f"{values.shape} and a {mask.dtype} mask {mask.shape}")
        if stored.scale is not None:
            values = dequantise(
                QuantisedLatents(values, stored.precision, check_real("scale", stored.scale))
            )
    except TooLarge as error:
        raise ValueError(
            f"`{key}` must take about as much memory as the file has bytes, but {source} would "
            f"take {error} instead. If it is your own, write it as .safetensors, which is read as "
            f"it is stored."
        ) from error
    except UNREADABLE as error:
        raise ValueError(
            f"`{key}` must be .npy, .npz, .safetensors, .parquet, .tsv or JSON lines with "
            f"`latent`, but {source} is not: {type(error).__name__}. Write it with `seqae encode "
            f"MODEL --output latents.npy`."
        ) from error
    if values.size == 0 and values.ndim == 1:
        raise ValueError(
            f"`{key}` must hold at least one latent, but "
            f"{'standard input' if source == '-' else source} is empty. Write it with "
            f"`seqae encode MODEL --output latents.npy`."
        )
    latents: Latents = check_real(key, values).astype(np.float32, copy=False)
    if mask is None:
        return stored, latents
    if stored.scale is not None:
        latents[~mask] = 0.0
    return stored, LongLatents(latents, mask)


def _read_stored(source: str) -> Stored:
    path = Path(source)
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return Stored(np.lib.format.read_array(file, allow_pickle=False))
    if path.suffix == ".npz":
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            members = arrays.zip.infolist()  # none gives more bytes than it says here
            check_unpacked(path.stat().st_size, sum(member.file_size for member in members))
            scale = arrays.get("scale")
            precision = "float32" if scale is None else str(arrays["precision"])
            return Stored(arrays["latents"], arrays["mask"], scale, _scaled(precision, scale))
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as arrays:
            names = set(arrays.keys())
            mask = arrays.get_tensor("mask") if "mask" in names else None
            scale = arrays.get_tensor("scale") if "scale" in names else None
            precision = str((arrays.metadata() or {}).get("precision"))
            return Stored(arrays.get_tensor("latents"), mask, scale, _scaled(precision, scale))
    if path.suffix == ".tsv":
        return Stored(read_vectors(path))
    if path.suffix == ".parquet":
        rows, in_stretches, scale, precision = read_parquet(path)
        stored = path.stat().st_size
    else:
        (rows, in_stretches, stored), scale, precision = _read_lines(source), None, "float32"
    if in_stretches:
        arrays = [check_real("latents", np.asarray(row)) for row in rows]
        _check_padded(arrays, stored)
        kept = np.float32 if scale is None else np.int8
        latents, mask = pad(arrays)
        return Stored(latents.astype(kept, copy=False), mask, scale, _scaled(precision, scale))
    latents = np.asarray(rows) if scale is None else np.asarray(rows, dtype=np.int8)
    if latents.dtype == object and path.suffix != ".parquet":
        latents = np.asarray(rows, dtype=np.float32)  # beyond 64 bits, or no numbers
    return Stored(latents, None, scale, _scaled(precision, scale))


def _check_padded(rows: list[NDArray[Any]], stored: int) -> None:
    """Refuse rows (K, Z) that one row of many stretches would make far larger.

    Args:
        rows: of each text.
        stored: bytes of their file.
    """
    longest = max((len(row) for row in rows if row.ndim), default=0)
    widest = max((row.shape[-1] for row in rows if row.ndim), default=0)
    check_unpacked(stored, len(rows) * longest * (4 * widest + 1))


def _scaled(precision: str, scale: NDArray[Any] | None) -> Precision:
    """Check that a scale is said to be of a precision that has one."""
    if scale is None:
        return "float32"
    for each in SCALED:
        if precision == each:
            return each
    raise ValueError(f"a scale of {precision}")


def _read_lines(source: str) -> tuple[list[Any], bool, int]:
    """Read JSON lines: the latents, whether they are of texts in stretches, and the bytes."""
    # Not `splitlines`: a text may contain U+2028, which does not end a line of JSON.
    lines = list(sys.stdin) if source == "-" else Path(source).read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    key = "latents" if rows and "latents" in rows[0] else "latent"
    return [row[key] for row in rows], key == "latents", sum(map(len, lines))
