"""Write latents to a file, in as many bits as asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.long_texts import LongLatents
from seqae.bundle.operations.quantised_latents import (
    RULES,
    SCALED,
    Precision,
    QuantisedLatents,
    quantise,
)
from seqae.extras import extra
from seqae.files import output_file
from seqae.tasks.latent_files.projector_tsv import write_projector_files

ENDINGS = (".npy", ".npz", ".safetensors", ".parquet", ".jsonl", ".tsv")
WITH_SCALE = (".npz", ".safetensors", ".parquet")
WITH_HALF = (".npy", *WITH_SCALE)


def check_precision(precision: Precision, output: str | None, calibration: str | None) -> None:
    """Refuse a precision that a file cannot hold, and a calibration that means nothing.

    Args:
        precision: of the latents.
        output: the file; None prints JSON lines.
        calibration: the file whose latents give the scale.

    Raises:
        ValueError: if they do not go together.
    """
    endings = WITH_SCALE if precision in SCALED else WITH_HALF
    if precision != "float32" and not (output or "").endswith(endings):
        raise ValueError(
            f"`output` must end in {' or '.join(endings)} for latents in {precision}, but it is "
            f"{output or 'left out, which prints JSON lines,'} instead. Name such a file, or leave "
            f"out `precision`."
        )
    if calibration is not None and precision not in SCALED:
        raise ValueError(
            f"`calibration` must be left out for {precision}, which has no scale, but it is "
            f"{calibration} instead. Leave it out, or set `precision: int8`."
        )


def latent_rows(texts: Sequence[str], latents: Latents | LongLatents) -> Iterator[dict[str, Any]]:
    """Make the rows of JSON lines: text and `latent`, Z numbers, or `latents`, K lists of them."""
    if isinstance(latents, LongLatents):
        for text, own, mask in zip(texts, *latents, strict=True):
            yield {"text": text, "latents": own[mask].tolist()}
    else:
        for text, latent in zip(texts, latents.tolist(), strict=True):
            yield {"text": text, "latent": latent}


def write_arrays(
    output: str,
    texts: Sequence[str],
    latents: Latents | LongLatents,
    precision: Precision = "float32",
    scale: NDArray[np.float32] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> None:
    """Write a file of any ending but .jsonl.

    Args:
        output: the file.
        texts: n of them, for .parquet and .tsv.
        latents: (n, Z), or of long texts.
        precision: of the latents.
        scale: (2, Z) of int8 and binary; by default that of these latents.
        columns: more of them for .parquet, n values each.

    Raises:
        ValueError: for .npy and .tsv if a text has several stretches.
    """
    if output.endswith((".npy", ".tsv")) and isinstance(latents, LongLatents):
        latents = _one_each(output, latents)
    mask = latents.mask if isinstance(latents, LongLatents) else None
    flat = latents.latents[latents.mask] if isinstance(latents, LongLatents) else latents
    if output.endswith(".tsv"):
        write_projector_files(output, texts, flat)
        return
    stored = quantise(flat, precision, scale)
    if output.endswith(".npy"):
        _write_npy(output, stored.values)
    elif output.endswith(".parquet"):
        _write_parquet(output, texts, stored, mask, columns or {})
    elif output.endswith(".npz"):
        # One stretch each, if they have none: what reads .npz expects the mask.
        always = np.ones((len(flat), 1), dtype=bool) if mask is None else mask
        named: dict[str, Any] = _arrays(stored, always) | _said(stored)
        with output_file(output) as file:
            np.savez(file, **named)
    else:
        data = safetensors.numpy.save(
            {name: np.ascontiguousarray(array) for name, array in _arrays(stored, mask).items()},
            {"precision": precision, "decode": RULES[precision]},
        )
        with output_file(output) as file:
            file.write(data)


def _one_each(output: str, latents: LongLatents) -> Latents:
    longer = np.flatnonzero(latents.mask.sum(axis=1) > 1)
    if len(longer):
        raise ValueError(
            f"`output` must be .npz, .safetensors, .parquet or .jsonl for texts of several "
            f"stretches, such as the one at index {longer[0]}, but it is "
            f"{output[output.rindex('.') :]} instead, which has one latent a text. Name another, "
            f"or set `too_long: truncate`."
        )
    return latents.latents[:, 0]


def _arrays(stored: QuantisedLatents, mask: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """Pad what is stored of texts in stretches; name the arrays of a file."""
    arrays = {"latents": stored.values}
    if mask is not None:
        padded = np.zeros((*mask.shape, stored.values.shape[-1]), stored.values.dtype)
        padded[mask] = stored.values
        arrays = {"latents": padded, "mask": mask}
    return arrays if stored.scale is None else arrays | {"scale": stored.scale}


def _said(stored: QuantisedLatents) -> dict[str, NDArray[Any]]:
    """Say as arrays how the latents of a .npz file are decoded, if that needs to be said."""
    if stored.scale is None:
        return {}
    return {
        "precision": np.array(stored.precision),
        "decode": np.array(RULES[stored.precision]),
    }


def _write_npy(output: str, values: NDArray[Any]) -> None:
    with output_file(output) as file:
        # Not np.save, whose errors do not say what happened.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        file.write(np.ascontiguousarray(values).data)


def _write_parquet(
    output: str,
    texts: Sequence[str],
    stored: QuantisedLatents,
    mask: NDArray[np.bool_] | None,
    columns: Mapping[str, Any],
) -> None:
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    values = stored.values
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    if mask is not None:
        ends = mask.sum(axis=1).cumsum()
        column = pa.ListArray.from_arrays(pa.array([0, *ends.tolist()], pa.int32()), column)
    name = "latent" if mask is None else "latents"
    table = pa.table({"text": texts, name: column, **columns})
    if stored.scale is not None:
        said = {
            "precision": stored.precision,
            "decode": RULES[stored.precision],
            "scale": [[float(value) for value in row] for row in stored.scale],
        }
        table = table.replace_schema_metadata({"seqae": json.dumps(said)})
    with output_file(output) as file:
        pq.write_table(table, file)
