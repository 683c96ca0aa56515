"""`seqae reconstruct`, `encode` and `decode`; and how tasks write results."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqae
from seqae.bundle.operations.document_vectors import are_documents
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.long_texts import LongLatents
from seqae.bundle.operations.quantised_latents import Precision
from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.operations.text_operations import LongPolicy, Part, TooLong
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_seed
from seqae.data.sources.records import ReadOptions
from seqae.files import check_output, output_file
from seqae.generation import Decoding
from seqae.model.int8 import ComputeType
from seqae.tasks.inputs import READING, check_reading, load_and_gather_long, typed
from seqae.tasks.latent_files import (
    ENDINGS,
    check_precision,
    check_projection,
    columns_for_atlas,
    latent_rows,
    metadata_path,
    read_latents,
    read_scale,
    write_arrays,
)
from seqae.terminal import visible
from seqae.web.projection import Method


def reconstruct(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: LongPolicy | None = None,
    seed: int = 0,
    device: str = "auto",
    compute_type: ComputeType = "float32",
    reading: ReadOptions = READING,
    decoding: Decoding = GREEDY,
) -> None:
    """Encode sentences to latents, and decode these again.

    Example:
        seqae reconstruct runs/seqae/RUN "the cat sat on the mat"
        seqae reconstruct runs/seqae/RUN - --num_beams 5 --num_return_sequences 3 < sentences.txt

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, or anything else that `data.train` accepts.
        output: a .jsonl file for text and reconstruction; by default the reconstructions are
            printed, one per line. With `num_return_sequences` each has its log-probability.
        too_long: what to do with a text of more tokens than the model reads at once: `split` gives
            it a latent for each stretch of so many; by default as in its training, where `drop`
            becomes `truncate`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        compute_type: of the large weights: float32, or int8, which a CPU multiplies faster if the
            vocabulary is large.
        reading: how the files are read; by default as those of the training.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    check_seed(seed)
    loaded, sentences, policy = load_and_gather_long(
        model, device, texts, input, too_long, reading, compute_type
    )
    lengths = loaded.lengths(sentences)
    is_long = policy == "split" and max(lengths, default=0) > loaded.autoencoder.max_length
    note = None
    if decoding.num_return_sequences == 1 or is_long or loaded.autoencoder.reads_memory:
        found = loaded.reconstruct_counting(
            sentences, policy, decoding, seed, show_progress_bar=True
        )
        note = found.note(decoding.max_length_ratio)
        written = loaded.tokenizer.decode(loaded.join_stretches(found.stretches))
        candidates = [[{"text": text}] for text in written]
    else:
        one: TooLong = "error" if policy == "split" else policy  # all fit
        latents = loaded.encode(sentences, one, show_progress_bar=True)
        limits = loaded.length_limits(lengths, decoding)
        candidates = decode_rows(loaded, latents, decoding, seed, lengths, limits)
    rows = (
        {"text": sentence, "reconstruction": row.pop("text"), **row}
        for sentence, own_rows in zip(sentences, candidates, strict=True)
        for row in own_rows
    )
    write_rows(rows, "reconstruction", output)
    if note is not None:
        print(f"seqae: {note}; `--max_length_ratio 0` lets them run on", file=sys.stderr)


def encode(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    part: Part | None = None,
    too_long: LongPolicy | None = None,
    document_dim: int | None = None,
    precision: Precision = "float32",
    calibration: str | None = None,
    projection: Method | None = None,
    device: str = "auto",
    compute_type: ComputeType = "float32",
    reading: ReadOptions = READING,
) -> None:
    """Encode sentences to latents.

    Example:
        seqae encode runs/seqae/RUN --input sentences.txt --output latents.npy
        seqae encode demo --input sentences.txt --output latents.safetensors --precision int8
        seqae encode demo --input sentences.txt --output vectors.tsv
        seqae encode demo --input sentences.txt --output atlas.parquet --projection pca

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, or anything else that `data.train` accepts.
        output: a file: .npy for a float32 array (sentences, Z), .safetensors for the same as
            `latents`, .npz for `latents` (texts, K, Z) and their `mask`, .parquet for the columns
            text and latent, .jsonl for JSON lines, vectors.tsv for TensorFlow's embedding
            projector, with the texts in metadata.tsv beside it; by default JSON lines are printed.
            Texts in stretches have K latents, as `latents`.
        part: which part of the latents to write, for a model whose latents have parts: `content`,
            what is said, for similarity; `order`, all else. By default they are whole, as `decode`
            reads them.
        too_long: what to do with a text of more tokens than the model reads at once: `split` gives
            it a latent for each stretch of so many; by default as in its training, where `drop`
            becomes `truncate`.
        document_dim: encode each text, of any length, to one vector of so many numbers, which holds
            as much of its beginning as they can, and which `decode --document` reads; for models
            trained with `nested_dropout`, as the recipe `long` does.
        precision: of each number in the file: float16 has half of the bytes, int8 a quarter, binary
            1/32; the last two are for .npz, .safetensors and .parquet, which also hold the scale of
            each dimension and say how to decode them.
        calibration: a file of `seqae encode` that gives the scale of int8 or binary, so that
            several files share it: its own scale, or that of its latents; by default the latents
            that are written give it.
        projection: for .parquet, also the columns that Embedding Atlas draws: projection_x and
            projection_y, by `pca`, `tsne` (the extra `map`) or `umap` (if umap-learn is installed),
            and neighbors, of up to 50,000 texts, by cosine; of the content if latents have parts.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        compute_type: of the large weights: float32, or int8, which a CPU multiplies faster if the
            vocabulary is large.
        reading: how the files are read; by default as those of the training.
    """
    check_output(output, ENDINGS, [input, typed(texts), calibration])
    if output is not None and output.endswith(".tsv"):
        check_output(str(metadata_path(output)), (".tsv",), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    check_precision(precision, output, calibration)
    check_projection(projection, output)
    scale = None if calibration is None else read_scale(calibration, precision)
    if document_dim is not None:
        _check_alone(part, too_long)
        too_long = "split"
    loaded, sentences, policy = load_and_gather_long(
        model, device, texts, input, too_long, reading, compute_type
    )
    latents: Latents | LongLatents
    columns = loaded.columns(part)
    if document_dim is not None:
        latents = loaded.encode_documents(sentences, document_dim, show_progress_bar=True)
        count = len(latents)
    elif policy == "split":
        whole = loaded.encode_long(sentences, show_progress_bar=True)
        latents = whole._replace(latents=whole.latents[:, :, columns])
        count = int(whole.mask.sum())
    else:
        latents = loaded.encode(sentences, policy, show_progress_bar=True, part=part)
        count = len(latents)
    if output is None or output.endswith(".jsonl"):
        write_json_lines(output, latent_rows(sentences, latents))
    else:
        more = None
        if projection is not None:
            compared = part is None and document_dim is None
            columns = loaded.columns(loaded.compared_part) if compared else slice(None)
            more = _projected(latents, columns, projection)
        write_arrays(output, sentences, latents, precision, scale, more)
    if output is not None:
        tell_written(count, "latent" if document_dim is None else "vector", output)


def _projected(latents: Latents | LongLatents, columns: slice, method: Method) -> dict[str, Any]:
    """Make the columns for Embedding Atlas, which needs one latent for each text.

    Raises:
        ValueError: if texts have one for each stretch.
    """
    if isinstance(latents, LongLatents):
        raise ValueError(
            "`projection` must be left out for texts in stretches, each of which has a latent. "
            "Leave it out, set `too_long: truncate`, or name a `document_dim`."
        )
    return columns_for_atlas(latents[:, columns], method)


def _check_alone(part: Part | None, too_long: LongPolicy | None) -> None:
    """Refuse options that have no meaning for the vector of a document."""
    for key, value in (("part", part), ("too_long", too_long)):
        if value is not None:
            raise ValueError(
                f"`{key}` must be left out with `document_dim`, because a document's vector holds "
                f"stretches of it, but it is {value} instead. Leave out one of them."
            )


def decode(
    model: str,
    latents: str,
    output: str | None = None,
    document: bool = False,
    seed: int = 0,
    device: str = "auto",
    compute_type: ComputeType = "float32",
    decoding: Decoding = GREEDY,
) -> None:
    """Decode latents to sentences.

    Example:
        seqae decode runs/seqae/RUN latents.npy
        seqae decode runs/seqae/RUN latents.npy --temperature 0.7 --num_return_sequences 3

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        latents: a file that `seqae encode` wrote, in any precision (.npy, .npz, .safetensors,
            .parquet, .jsonl, .tsv), or `-` for JSON lines on standard input.
        output: a .jsonl file for the texts; by default they are printed, one per line. With
            `num_return_sequences` each has its log-probability.
        document: whether each latent is the vector of a document, of `encode --document_dim`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        compute_type: of the large weights: float32, or int8, which a CPU multiplies faster if the
            vocabulary is large.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [latents])
    check_seed(seed)
    loaded, values = seqae.load(model, device, compute_type=compute_type), read_latents(latents)
    if document:
        if isinstance(values, LongLatents) and values.mask.shape[1] == 1 and values.mask.all():
            values = values.latents[:, 0]  # of `encode --output vectors.npz`
        if isinstance(values, LongLatents):
            raise ValueError(
                f"`latents` must be one vector for each document, but {latents} has one latent for "
                f"each stretch instead. Leave out `--document`, or encode with `--document_dim`."
            )
        texts = loaded.decode_documents(values, decoding, seed, show_progress_bar=True)
        candidates = [[{"text": text}] for text in texts]
    elif isinstance(values, LongLatents):
        texts = loaded.decode_long(values, None, decoding, seed, show_progress_bar=True)
        candidates = [[{"text": text}] for text in texts]
    else:
        if loaded.autoencoder.nested_dropout and are_documents(values, loaded.latent_dim):
            raise ValueError(
                f"`document` must be given for the vectors of documents, as those of {latents} "
                f"are, but it is not. Write `--document`."
            )
        candidates = decode_rows(loaded, values, decoding, seed)
    write_rows(itertools.chain.from_iterable(candidates), "text", output)


def decode_rows(
    model: TextAutoencoder,
    latents: NDArray[np.float32],
    decoding: Decoding,
    seed: int,
    lengths: Sequence[int] | None = None,
    limits: Sequence[int] | None = None,
    noise: NDArray[np.float32] | None = None,
) -> list[list[dict[str, Any]]]:
    """Decode each latent to one row `{"text": ...}`, or to several that also have a `score`."""
    shown: Any = {"show_progress_bar": True}
    how: Any = {"lengths": lengths, "limits": limits, "default_noise": noise, **shown}
    if decoding.num_return_sequences == 1:
        rows = model.decode_ids(latents, decoding, seed, **how)
        texts = model.tokenizer.decode(rows)
        return [[{"text": text}] for text in texts]
    candidates = model.candidates(latents, decoding, seed, **how)
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
