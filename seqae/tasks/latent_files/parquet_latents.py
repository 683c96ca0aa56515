"""Read the latents of a Parquet file, which may be a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqae.extras import extra
from seqae.tasks.latent_files.unpacked_size import check_unpacked
from seqae.untrusted import load_json


class ParquetLatents(NamedTuple):
    """What a file holds.

    Args:
        rows: (n, Z), or of texts in stretches one (K, Z) for each.
        in_stretches: which of the two.
        scale: (2, Z) of int8 and binary latents.
        precision: as the file says it, beside a scale.
    """

    rows: NDArray[Any] | list[NDArray[Any]]
    in_stretches: bool
    scale: NDArray[np.float32] | None = None
    precision: str = "float32"


def read_parquet(path: Path) -> ParquetLatents:
    """Read the column `latents` or else `latent`, and nothing of the others.

    Raises:
        TooLarge: if the column takes far more memory than the file has bytes.
        ValueError: if the file is damaged, or its lists differ in length.
        KeyError: if it has neither column, or a scale without what belongs to it.
    """
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            key = "latents" if "latents" in schema.names else "latent"
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            chunks = [group.column(n) for group in groups for n in range(group.num_columns)]
            own = [one for one in chunks if one.path_in_schema.split(".")[0] == key]
            # Runs in a dictionary make a byte of thousands of numbers.
            sizes = [4 if one.physical_type in ("FLOAT", "INT32") else 8 for one in own]
            most = [
                max(size * one.num_values, one.total_uncompressed_size)
                for size, one in zip(sizes, own, strict=True)
            ]
            check_unpacked(path.stat().st_size, sum(most))
            column = file.read([key])[key].combine_chunks()
        counts, flat = (None, column) if key == "latent" else _lists(column)
        values = _vectors(flat)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    said = (schema.metadata or {}).get(b"seqae")
    scale, precision = None, "float32"
    if said is not None:
        described = load_json(said)
        scale = np.asarray(described["scale"], dtype=np.float32)
        precision = str(described["precision"])
    if counts is None:
        return ParquetLatents(values, False, scale, precision)
    rows = np.split(values, counts.cumsum()[:-1]) if len(counts) else []
    return ParquetLatents(rows, True, scale, precision)


def _lists(column: Any) -> tuple[NDArray[np.int64], Any]:
    """Say how many values each list of a column has, and give them all."""
    with extra("data"):
        import pyarrow.compute as pc

    if column.null_count:
        raise ValueError("a list is missing")
    return pc.list_value_length(column).to_numpy(False).astype(np.int64), column.flatten()


def _vectors(column: Any) -> NDArray[Any]:
    """Make (n, Z) of a column of n lists, or (n,) of one of numbers."""
    with extra("data"):
        from pyarrow import types

    lists = types.is_list, types.is_large_list, types.is_fixed_size_list
    if len(column) == 0 or not any(is_kind(column.type) for is_kind in lists):
        return np.asarray(column.to_pylist())
    counts, flat = _lists(column)
    if flat.null_count:
        raise ValueError("a number is missing")
    if counts.min() != counts.max():
        raise ValueError("the latents differ in length")
    is_number = types.is_integer(flat.type) or types.is_floating(flat.type)
    values = flat.to_numpy(False) if is_number else np.asarray(flat.to_pylist())
    # A copy: torch warns of memory that it may not write, as is that of Arrow.
    return np.array(values).reshape(len(counts), counts[0])
