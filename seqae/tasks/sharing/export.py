"""`seqae export`: a bundle in the form of another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import seqae
from seqae.component import check_literal
from seqae.interchange import export_native, export_onnx, export_sentence_transformer

Format = Literal["onnx", "sentence-transformers", "sentence-transformers-native"]


def export(
    model: str,
    format: Format = "sentence-transformers",  # noqa: A002 - the option's name
    output: str | None = None,
) -> None:
    """Write a bundle in the form of another library.

    Example:
        seqae export runs/seqae/RUN --output my_encoder
        seqae export runs/seqae/RUN --format onnx --output my_onnx
        python my_onnx/run.py "the cat sat on the mat"

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        format: `sentence-transformers`: a folder that this library reads with our package, for
            every model; `sentence-transformers-native`: one that it reads without, for LSTM
            encoders whose pooling is `last` or `mean_max`; `onnx`: graphs of encoder and decoder,
            the tokenizer, and a script that runs them with onnxruntime, tokenizers and numpy.
        output: the folder to write: new, empty, or an earlier export of that format, which is
            replaced.
    """
    check_literal("format", format, Format)
    if output is None:
        raise ValueError(
            "`output` must be the folder to write, but it is not given. Name one: "
            "`--output my_encoder`."
        )
    EXPORTS[format](model, Path(output))


def _sentence_transformer(model: str, folder: Path) -> None:
    export_sentence_transformer(model, folder)
    print(f"{folder}: SentenceTransformer({str(folder)!r}, trust_remote_code=True) reads it.")


def _native(model: str, folder: Path) -> None:
    export_native(model, folder)
    print(f"{folder}: SentenceTransformer({str(folder)!r}) reads it, and gives the same numbers.")


def _onnx(model: str, folder: Path) -> None:
    about = export_onnx(seqae.load(model), folder)
    differences = [f"{name} {value:.1e}" for name, value in about["largest_difference"].items()]
    print(
        f"{folder}: agrees with torch; largest difference, as a share of the largest value: "
        f"{', '.join(differences)}"
    )


EXPORTS: Mapping[str, Callable[[str, Path], None]] = MappingProxyType(
    {
        "onnx": _onnx,
        "sentence-transformers": _sentence_transformer,
        "sentence-transformers-native": _native,
    }
)
