"""From the options of a command to methods, spaces and a length."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from seqae.bundle.operations.sentence_space import LatentSpace
from seqae.bundle.operations.summaries import SENTENCES
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_choice
from seqae.data.sources.records import ReadOptions
from seqae.summarizers import (
    Budget,
    DecodingSpace,
    SentenceSpace,
    Summarizer,
    TfidfSpace,
    WordVectorSpace,
    summarizers,
)
from seqae.tasks.evaluate.texts import read_split, read_texts
from seqae.tasks.inputs import Instead

SpaceName = Literal["latent", "tfidf", "word_vectors"]
SPACES: tuple[SpaceName, ...] = get_args(SpaceName)
MAX_TRAIN = 50_000  # sentences that word vectors are learnt from
WORDS_FROM = Instead("`train_file`", "--train_file FILE")


def make_budget(
    sentences: int | None, words: int | None, size: int | None, ratio: float | None
) -> Budget:
    """Make a length of what is given; by default three sentences."""
    if sentences is words is size is ratio is None:
        sentences = SENTENCES
    return Budget(sentences, words, size, ratio)


def make_summarizer(method: str, settings: dict[str, Any] | None = None) -> Summarizer:
    """Make a summarizer by its name.

    Raises:
        ValueError: if there is none of that name, or it has no such setting.
    """
    known = summarizers()
    check_choice("method", method, tuple(known))
    name = known[method].__name__
    try:
        return known[method].from_config({"class_path": name, "init_args": settings or {}})
    except ValueError as error:
        said = str(error).replace(f"`init_args` of {name}", f"`settings` of {method}")
        raise ValueError(
            said.replace(", or use the version of seqae that wrote this file", "")
        ) from None


def check_settings(settings: dict[str, dict[str, Any]]) -> None:
    """Refuse settings that are not by method.

    Raises:
        ValueError: if a method does not exist, or a value is no dictionary.
    """
    for method, own in settings.items():
        check_choice("settings", method, tuple(summarizers()))
        if not isinstance(own, dict):
            raise ValueError(
                f"`settings` must give each method what its class takes, but {method} has {own!r} "
                f"instead. Write {{{method!r}: {{...}}}}."
            )


def make_space(
    name: SpaceName, model: TextAutoencoder, where: str, train_file: str | None, seed: int
) -> SentenceSpace:
    """Make a space by its name.

    Args:
        name: of the space.
        model: loaded from `where`.
        where: the model's folder, or `demo`.
        train_file: sentences that word vectors are learnt from; by default those of the training.
        seed: of their randomised SVD.

    Raises:
        ValueError: if the sentences cannot be read.
    """
    if name == "latent":
        return LatentSpace(model)
    if name == "tfidf":
        return TfidfSpace()
    if train_file is None:
        texts = read_split(model, Path(where), "train", WORDS_FROM)
    else:
        texts = read_texts(train_file, "train_file", ReadOptions())
    if len(texts.inputs) > MAX_TRAIN:
        texts = texts.sample(MAX_TRAIN, seed)
    return WordVectorSpace(texts.inputs, seed=seed)


def spaces_of(method: str) -> tuple[SpaceName, ...]:
    """List the spaces that a method can read; of one that reads the text itself there is none."""
    needs = summarizers()[method].needs
    if needs is None:
        return ()
    return ("latent",) if issubclass(needs, DecodingSpace) else SPACES


def choose_methods(methods: list[str]) -> list[tuple[str, SpaceName | None]]:
    """List the methods of a table, each with its space.

    Args:
        methods: names, `name/space`, `all`, or `all/space`; a name without a space means all its
            spaces.

    Raises:
        ValueError: if there is no such method or space.
    """
    chosen: list[tuple[str, SpaceName | None]] = []
    for name in methods:
        method, _, wanted = name.partition("/")
        check_choice("methods", method, ("all", *summarizers()))
        possible = SPACES if method == "all" else spaces_of(method)
        check_choice("methods", name, (method, *(f"{method}/{space}" for space in possible)))
        for one in summarizers() if method == "all" else [method]:
            spaces = spaces_of(one) or (None,)
            chosen += [(one, space) for space in spaces if wanted in ("", space)]
    return list(dict.fromkeys(chosen))
