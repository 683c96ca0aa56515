"""Texts to latents, latents to texts, and both."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import seqae
from seqae.data.sources.records import Counts
from seqae.data.sources.source import open_source
from seqae.terminal import visible
from seqae.usage import check_output


def reconstruct(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: Literal["error", "truncate"] = "error",
    device: str = "cpu",
) -> None:
    """Squeeze sentences into latents and write them back.

    Args:
        model: a bundle, or the folder of a run.
        texts: sentences; `-` reads them from standard input, one a line.
        input: a file of sentences instead, or anything else that `data.train` may name.
        output: a file for JSON lines with text and reconstruction; by default the reconstructions
            are printed, one a line.
        too_long: what to do with a sentence of more tokens than the model takes.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    sentences = gather(texts, input)
    check_output(output, (".jsonl",))
    written = seqae.load(model, device).reconstruct(sentences, too_long)
    if output is None:
        for text in written:
            print(visible(text))
        return
    rows = zip(sentences, written, strict=True)
    _write_lines(output, ({"text": text, "reconstruction": w} for text, w in rows))


def encode(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: Literal["error", "truncate"] = "error",
    device: str = "cpu",
) -> None:
    """Squeeze sentences into latents.

    Args:
        model: a bundle, or the folder of a run.
        texts: sentences; `-` reads them from standard input, one a line.
        input: a file of sentences instead, or anything else that `data.train` may name.
        output: a file: .npy for an array (sentences, Z) of float32, .parquet for columns text and
            latent, .jsonl for JSON lines; by default JSON lines are printed.
        too_long: what to do with a sentence of more tokens than the model takes.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    sentences = gather(texts, input)
    check_output(output, (".npy", ".parquet", ".jsonl"))
    latents = seqae.load(model, device).encode(sentences, too_long)
    if output is not None and output.endswith(".npy"):
        with Path(output).open("wb") as file:
            np.save(file, latents)
    elif output is not None and output.endswith(".parquet"):
        column = pa.FixedSizeListArray.from_arrays(pa.array(latents.ravel()), latents.shape[1])
        pq.write_table(pa.table({"text": sentences, "latent": column}), output)
    else:
        rows = zip(sentences, latents.tolist(), strict=True)
        _write_lines(output, ({"text": text, "latent": latent} for text, latent in rows))


def decode(model: str, latents: str, output: str | None = None, device: str = "cpu") -> None:
    """Write the sentences that latents stand for.

    Args:
        model: a bundle, or the folder of a run.
        latents: a file that `seqae encode` wrote (.npy, .parquet, .jsonl), or `-` for JSON lines
            on standard input.
        output: a file for JSON lines with the text; by default the texts are printed, one a line.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    check_output(output, (".jsonl",))
    texts = seqae.load(model, device).decode(read_latents(latents))
    if output is None:
        for text in texts:
            print(visible(text))
    else:
        _write_lines(output, ({"text": text} for text in texts))


def gather(texts: Sequence[str], source: str | None) -> list[str]:
    """Take sentences from the command line, standard input or a file.

    Raises:
        ValueError: if there is none, or they come from two places.
    """
    if bool(texts) == (source is not None):
        raise ValueError(
            '`texts` or `input` must be given, and not both. Write `"a sentence"`, `-` for '
            "standard input, or `--input FILE`."
        )
    if source is None and list(texts) != ["-"]:
        return list(texts)
    sentences, counts = [], Counts()
    for block in open_source(source or "-", "input").blocks():
        sentences += block.texts
        counts.add(block.counts)
    if counts.kept < counts.read:
        print(
            f"seqae: of the input, {counts}; rows of the output are not line numbers",
            file=sys.stderr,
        )
    return sentences


def read_latents(source: str) -> NDArray[np.float32]:
    """Read (n, Z) latents from a file that `encode` wrote, or from JSON lines.

    Raises:
        ValueError: if the file is not one of these.
    """
    path = Path(source)
    if source != "-" and not path.is_file():
        raise ValueError(
            f"`latents` must be a file that `seqae encode` wrote, but there is no {source}. "
            f"Check the path."
        )
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        if path.suffix == ".parquet":
            column = pq.read_table(path, columns=["latent"])["latent"].to_pylist()
            return np.asarray(column, dtype=np.float32)
        lines = sys.stdin if source == "-" else path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line)["latent"] for line in lines if line.strip()]
        return np.asarray(rows, dtype=np.float32)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ValueError(
            f"`latents` must be .npy, .parquet or JSON lines with `latent`, but {source} is not: "
            f"{type(error).__name__}. Write it with `seqae encode MODEL --output latents.npy`."
        ) from error


def _write_lines(output: str | None, rows: Iterator[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if output is None:
        sys.stdout.writelines(lines)
        return
    with Path(output).open("w", encoding="utf-8") as file:
        file.writelines(lines)
