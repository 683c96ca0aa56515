"""What `pip install seqae` leaves out: packages that only some commands need.

The core loads a bundle and encodes, decodes and samples with it, in Python and by command.
`pyproject.toml` says which packages each extra brings; `all` brings every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Literal

Extra = Literal[
    "data",
    "eval",
    "train",
    "hub",
    "wandb",
    "s3",
    "gs",
    "nltk",
    "onnx",
    "sentence-transformers",
    "web",
    "map",
    "plot",
    "language",
    "web-text",
]

# What cannot be done without an extra, as the subject of a sentence.
PURPOSES = MappingProxyType(
    {
        "data": "Parquet, Arrow, .zst, the Hugging Face hub or sentence splitting",
        "eval": "Measuring, summarizing, or fitting a prior,",
        "train": "Training",
        "hub": "The Hugging Face hub",
        "wandb": "Weights & Biases",
        "s3": "s3://",
        "gs": "gs://",
        "nltk": "Reading a corpus of NLTK",
        "onnx": "ONNX",
        "sentence-transformers": "An encoder for sentence-transformers",
        "web": "The page with a model behind it",
        "map": "A map by t-SNE",
        "plot": "Drawing figures",
        "language": "Telling languages",
        "web-text": "Cleaning text of the web",
    }
)


@contextmanager
def extra(name: Extra) -> Iterator[None]:
    """Say how to install an extra if what is imported within this block is missing.

        with extra("eval"):
            from sacrebleu.metrics.bleu import BLEU

    Args:
        name: the extra that brings what is imported.

    Raises:
        ModuleNotFoundError: in one line, instead of Python's own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ModuleNotFoundError(
            f"{PURPOSES[name]} needs {missing}, which is not installed. Install it: "
            f"pip install 'seqae[{name}]'",
            name=error.name,
        ) from None


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
