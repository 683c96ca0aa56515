"""Files of latents: one (Z,) for each text, or in long texts (K, Z), one for each stretch.

.npy has (n, Z); .npz (n, K, Z) as `latents` and (n, K) as `mask`; .parquet and JSON lines have the
text and `latent`, or `latents`, without padding.
"""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.long_texts import LongLatents, pad
from seqae.data.containers import check_real
from seqae.extras import extra
from seqae.files import output_file

ENDINGS = (".npy", ".npz", ".parquet", ".jsonl")

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
)


def latent_rows(texts: Sequence[str], latents: Latents | LongLatents) -> Iterator[dict[str, Any]]:
    """Make the rows of JSON lines: text and `latent`, Z numbers, or `latents`, K lists of them."""
    if isinstance(latents, LongLatents):
        for text, own, mask in zip(texts, *latents, strict=True):
            yield {"text": text, "latents": own[mask].tolist()}
    else:
        for text, latent in zip(texts, latents.tolist(), strict=True):
            yield {"text": text, "latent": latent}


def write_arrays(output: str, texts: Sequence[str], latents: Latents | LongLatents) -> None:
    """Write a .npy, .npz or .parquet file.

    Args:
        output: the file.
        texts: n of them, for .parquet.
        latents: (n, Z), or of long texts.

    Raises:
        ValueError: for .npy if a text has several stretches.
    """
    if output.endswith(".parquet"):
        _write_parquet(output, texts, latents)
    elif output.endswith(".npz"):
        long = latents if isinstance(latents, LongLatents) else pad(list(latents[:, None]))
        with output_file(output) as file:
            np.savez(file, latents=long.latents, mask=long.mask)
    else:
        if isinstance(latents, LongLatents):
            latents = _one_each(latents)
        with output_file(output) as file:
            # Not np.save, whose errors do not say what happened.
            header = np.lib.format.header_data_from_array_1_0(latents)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(latents).data)


def _one_each(latents: LongLatents) -> Latents:
    longer = np.flatnonzero(latents.mask.sum(axis=1) > 1)
    if len(longer):
        raise ValueError(
            f"`output` must be .npz, .parquet or .jsonl for texts of several stretches, such as "
            f"the one at index {longer[0]}, but it is .npy instead, which has one latent a text. "
            f"Name another, or set `too_long: truncate`."
        )
    return latents.latents[:, 0]


def _write_parquet(output: str, texts: Sequence[str], latents: Latents | LongLatents) -> None:
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    is_long = isinstance(latents, LongLatents)
    flat = latents.latents[latents.mask] if isinstance(latents, LongLatents) else latents
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    if isinstance(latents, LongLatents):
        ends = latents.mask.sum(axis=1).cumsum()
        column = pa.ListArray.from_arrays(pa.array([0, *ends.tolist()], pa.int32()), column)
    table = pa.table({"text": texts, "latents" if is_long else "latent": column})
    with output_file(output) as file:
        pq.write_table(table, file)


def read_latents(source: str) -> NDArray[np.float32] | LongLatents:
    """Read latents from a file that `encode` wrote, or from JSON lines.

    Args:
        source: the file; `-` is standard input.

    Returns:
        (n, Z), or those of long texts.

    Raises:
        ValueError: if the file is neither, or holds anything but real numbers.
    """
    path = Path(source)
    if source != "-" and not path.is_file():
        raise ValueError(
            f"`latents` must be a file that `seqae encode` wrote, but there is no {source}. "
            f"Check the path."
        )
    mask = None
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                latents = np.lib.format.read_array(file, allow_pickle=False)
        elif path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                latents, mask = arrays["latents"], arrays["mask"]
            if mask.dtype != bool or latents.ndim != 3 or mask.shape != latents.shape[:2]:
                raise ValueError(f"{latents.shape} and a {mask.dtype} mask {mask.shape}")
        else:
            key, rows = _read_parquet(path) if path.suffix == ".parquet" else _read_lines(source)
            if key == "latents":
                latents, mask = pad([check_real("latents", np.asarray(row)) for row in rows])
            else:
                latents = np.asarray(rows)
                if latents.dtype == object and path.suffix != ".parquet":
                    latents = np.asarray(rows, dtype=np.float32)  # beyond 64 bits, or no numbers
    except UNREADABLE as error:
        raise ValueError(
            f"`latents` must be .npy, .npz, .parquet or JSON lines with `latent`, but {source} is "
            f"not: {type(error).__name__}. Write it with `seqae encode MODEL --output "
            f"latents.npy`."
        ) from error
    if latents.size == 0 and latents.ndim == 1:
        raise ValueError(
            f"`latents` must hold at least one latent, but "
            f"{'standard input' if source == '-' else source} is empty. Write it with "
            f"`seqae encode MODEL --output latents.npy`."
        )
    values = check_real("latents", latents).astype(np.float32, copy=False)
    return values if mask is None else LongLatents(values, mask)


def _read_lines(source: str) -> tuple[str, list[Any]]:
    """Read the latents of JSON lines, and under which key they have them."""
    # Not `splitlines`: a text may contain U+2028, which does not end a line of JSON.
    lines = sys.stdin if source == "-" else Path(source).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    key = "latents" if rows and "latents" in rows[0] else "latent"
    return key, [row[key] for row in rows]


def _read_parquet(path: Path) -> tuple[str, list[Any]]:
    """Read the latents of a Parquet file, and the name of their column.

    Raises:
        ValueError: if it is damaged.
    """
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        key = "latents" if "latents" in pq.read_schema(path).names else "latent"
        rows: list[Any] = pq.read_table(path, columns=[key])[key].to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return key, rows
