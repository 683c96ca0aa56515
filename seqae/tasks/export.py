"""`seqae export`: a bundle in the form of another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from seqae.component import check_literal
from seqae.interchange import export_native, export_sentence_transformer

Format = Literal["sentence-transformers", "sentence-transformers-native"]


def export(
    model: str,
    format: Format = "sentence-transformers",  # noqa: A002 - the option's name
    output: str | None = None,
) -> None:
    """Write a bundle in the form of another library.

    Example:
        seqae export runs/seqae/RUN --output my_encoder

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        format: `sentence-transformers`: a folder that this library reads with our package, for
            every model; `sentence-transformers-native`: one that it reads without, for LSTM
            encoders whose pooling is `last` or `mean_max`.
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


EXPORTS: Mapping[str, Callable[[str, Path], None]] = MappingProxyType(
    {"sentence-transformers": _sentence_transformer, "sentence-transformers-native": _native}
)
