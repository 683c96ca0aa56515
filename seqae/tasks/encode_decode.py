"""`seqae reconstruct`, `encode` and `decode`; and how tasks read latents and write results."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.text_decoding import GREEDY
from seqae.bundle.text_operations import TooLong
from seqae.component import check_seed
from seqae.data.containers import check_real
from seqae.data.sources.records import ReadOptions
from seqae.extras import extra
from seqae.files import check_output, output_file
from seqae.generation import Decoding
from seqae.tasks.inputs import READING, check_reading, load_and_gather, typed
from seqae.terminal import visible

# What a damaged file of latents may raise, also by its impossible sizes or endless nesting.
UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, MemoryError, RecursionError)


def reconstruct(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: TooLong | None = None,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
    decoding: Decoding = GREEDY,
) -> None:
    """Encode sentences to latents, and decode these again.

    Example:
        seqae reconstruct runs/seqae/RUN "the cat sat on the mat"
        seqae reconstruct runs/seqae/RUN - --num_beams 5 --num_return_sequences 3 < sentences.txt

    Args:
        model: a bundle, the folder of a run, or `demo`.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, or anything else that `data.train` accepts.
        output: a .jsonl file for text and reconstruction; by default the reconstructions are
            printed, one per line. With `num_return_sequences` each has its log-probability.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    check_seed(seed)
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    latents = loaded.encode(sentences, policy, show_progress_bar=True)
    lengths = loaded.lengths(sentences)
    candidates = decode_rows(loaded, latents, decoding, seed, lengths)
    rows = (
        {"text": sentence, "reconstruction": row.pop("text"), **row}
        for sentence, own_rows in zip(sentences, candidates, strict=True)
        for row in own_rows
    )
    write_rows(rows, "reconstruction", output)


def encode(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: TooLong | None = None,
    device: str = "auto",
    reading: ReadOptions = READING,
) -> None:
    """Encode sentences to latents.

    Args:
        model: a bundle, the folder of a run, or `demo`.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, or anything else that `data.train` accepts.
        output: a file: .npy for a float32 array (sentences, Z), .parquet for the columns text and
            latent, .jsonl for JSON lines; by default JSON lines are printed.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
    """
    check_output(output, (".npy", ".parquet", ".jsonl"), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    latents = loaded.encode(sentences, policy, show_progress_bar=True)
    if output is not None and output.endswith(".npy"):
        with output_file(output) as file:
            # Not np.save, whose errors do not say what happened.
            header = np.lib.format.header_data_from_array_1_0(latents)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(latents).data)
    elif output is not None and output.endswith(".parquet"):
        with extra("data"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        column = pa.FixedSizeListArray.from_arrays(pa.array(latents.ravel()), latents.shape[1])
        with output_file(output) as file:
            pq.write_table(pa.table({"text": sentences, "latent": column}), file)
    else:
        rows = zip(sentences, latents.tolist(), strict=True)
        write_json_lines(output, ({"text": text, "latent": latent} for text, latent in rows))
    if output is not None:
        tell_written(len(latents), "latent", output)


def decode(
    model: str,
    latents: str,
    output: str | None = None,
    seed: int = 0,
    device: str = "auto",
    decoding: Decoding = GREEDY,
) -> None:
    """Decode latents to sentences.

    Example:
        seqae decode runs/seqae/RUN latents.npy
        seqae decode runs/seqae/RUN latents.npy --temperature 0.7 --num_return_sequences 3

    Args:
        model: a bundle, the folder of a run, or `demo`.
        latents: a file that `seqae encode` wrote (.npy, .parquet, .jsonl), or `-` for JSON lines
            on standard input.
        output: a .jsonl file for the texts; by default they are printed, one per line. With
            `num_return_sequences` each has its log-probability.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [latents])
    check_seed(seed)
    candidates = decode_rows(seqae.load(model, device), read_latents(latents), decoding, seed)
    write_rows(itertools.chain.from_iterable(candidates), "text", output)


def decode_rows(
    model: TextAutoencoder,
    latents: NDArray[np.float32],
    decoding: Decoding,
    seed: int,
    lengths: Sequence[int] | None = None,
) -> list[list[dict[str, Any]]]:
    """Decode each latent to one row `{"text": ...}`, or to several that also have a `score`."""
    if decoding.num_return_sequences == 1:
        rows = model.decode_ids(latents, decoding, seed, lengths, show_progress_bar=True)
        texts = model.tokenizer.decode(rows)
        return [[{"text": text}] for text in texts]
    candidates = model.candidates(latents, decoding, seed, lengths, show_progress_bar=True)
    return [[candidate._asdict() for candidate in own] for own in candidates]


def write_rows(rows: Iterable[dict[str, Any]], key: str, output: str | None) -> None:
    """Write rows as JSON lines to a file, or print their text after their score, if they have one.

    Args:
        rows: plain data.
        key: which field is the text.
        output: the file; None prints.
    """
    if output is not None:
        listed = list(rows)
        write_json_lines(output, listed)
        tell_written(len(listed), key, output)
        return
    for row in rows:
        _check_finite(row)
        score = row.get("score", row.get("similarity"))
        print("" if score is None else f"{score:8.2f}  ", visible(row[key]), sep="")


def tell_written(count: int, what: str, output: str) -> None:
    """Say on standard error what a file holds now."""
    print(f"seqae: {count:,} {what}{'s' * (count != 1)}: {visible(output)}", file=sys.stderr)


def read_latents(source: str) -> NDArray[np.float32]:
    """Read latents (n, Z) from a file that `encode` wrote, or from JSON lines.

    Raises:
        ValueError: if the file is neither, or holds anything but real numbers.
    """
    path = Path(source)
    if source != "-" and not path.is_file():
        raise ValueError(
            f"`latents` must be a file that `seqae encode` wrote, but there is no {source}. "
            f"Check the path."
        )
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                latents = np.lib.format.read_array(file, allow_pickle=False)
        elif path.suffix == ".parquet":
            latents = np.asarray(_read_parquet(path))
        else:
            # Not `splitlines`: a text may contain U+2028, which does not end a line of JSON.
            lines = sys.stdin if source == "-" else path.read_text(encoding="utf-8").split("\n")
            rows = [json.loads(line)["latent"] for line in lines if line.strip()]
            latents = np.asarray(rows)
            if latents.dtype == object:  # not numbers, or beyond those of 64 bits
                latents = np.asarray(rows, dtype=np.float32)
    except UNREADABLE as error:
        raise ValueError(
            f"`latents` must be .npy, .parquet or JSON lines with `latent`, but {source} is not: "
            f"{type(error).__name__}. Write it with `seqae encode MODEL --output latents.npy`."
        ) from error
    if latents.size == 0 and latents.ndim == 1:
        raise ValueError(
            f"`latents` must hold at least one latent, but "
            f"{'standard input' if source == '-' else source} is empty. Write it with "
            f"`seqae encode MODEL --output latents.npy`."
        )
    return check_real("latents", latents).astype(np.float32, copy=False)


def _read_parquet(path: Path) -> list[Any]:
    """Read the latents of a Parquet file; a ValueError says that it is damaged."""
    with extra("data"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        rows: list[Any] = pq.read_table(path, columns=["latent"])["latent"].to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return rows


def write_json_lines(output: str | None, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines to a file, or to standard output.

    Raises:
        ValueError: if a number is not finite, which JSON cannot express.
    """
    lines = (_to_json_line(row) for row in rows)
    if output is None:
        sys.stdout.writelines(lines)
        return
    with output_file(output) as file:
        file.writelines(line.encode() for line in lines)


def _to_json_line(row: dict[str, Any]) -> str:
    _check_finite(row)
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _check_finite(row: dict[str, Any]) -> None:
    for name, value in row.items():
        if not isinstance(value, str) and not np.isfinite(value).all():
            raise ValueError(
                f"`{name}` must be finite, but that of {str(row.get('text', ''))[:60]!r} is not. "
                f"The model's weights are too large, or its training diverged: use another model."
            )
