"""From the options of a command to methods, spaces and a length."""

from __future__ import annotations

import inspect
from collections.abc import Collection
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
from seqae.terminal import visible

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
    known, settings = summarizers(), settings or {}
    check_choice("method", method, tuple(known))
    names = inspect.signature(known[method]).parameters
    if unknown := sorted(settings.keys() - names.keys()):
        wanted = f"among {', '.join(names)}" if names else "left out"
        raise ValueError(
            f"`settings` of {method} must be {wanted}, but there is {', '.join(unknown)} instead. "
            f"Remove it."
        )
    return known[method].from_config({"class_path": known[method].__name__, "init_args": settings})


def check_settings(settings: dict[str, dict[str, Any]], compared: Collection[str]) -> None:
    """Refuse settings that no method takes.

    Args:
        settings: what the classes of methods take, by method.
        compared: the methods of the table.

    Raises:
        ValueError: if a method is not among them, or does not take its settings.
    """
    for method, own in settings.items():
        check_choice("settings", method, tuple(summarizers()))
        if not isinstance(own, dict):
            raise ValueError(
                f"`settings` must give each method what its class takes, but {method} has {own!r} "
                f"instead. Write {{{method!r}: {{...}}}}."
            )
        if method not in compared:
            raise ValueError(
                f"`settings` must be of methods that are compared, {', '.join(sorted(compared))}, "
                f"but there are some of {method} instead. Remove them, or add {method} to "
                f"`--methods`."
            )
        make_summarizer(method, own)


def check_space(method: str, space: SpaceName, train_file: str | None) -> None:
    """Refuse a space that a method cannot read, and sentences that none is made of.

    Raises:
        ValueError: if so.
    """
    possible = spaces_of(method)
    if not possible and space != "latent":
        raise ValueError(
            f"`space` must be left out for the method {method}, which reads the text itself, but "
            f"it is {space} instead. Leave it out, or choose another method."
        )
    if possible and space not in possible:
        raise ValueError(
            f"`space` must be latent for the method {method}, but it is {space} instead. Leave it "
            f"out."
        )
    check_train_file(train_file, [space])


def check_train_file(train_file: str | None, spaces: Collection[SpaceName | None]) -> None:
    """Refuse sentences to learn word vectors from if there are none to be learnt.

    Raises:
        ValueError: if so.
    """
    if train_file is not None and "word_vectors" not in spaces:
        raise ValueError(
            "`train_file` must be left out where no method reads word vectors, but it is "
            f"{visible(train_file)} instead. Leave it out, or choose the space word_vectors."
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


def name_row(method: str, space: SpaceName | None) -> str:
    """Name the row of a table that a method has with a space."""
    return method if space is None else f"{method}/{space}"


def choose_baseline(name: str, rows: Collection[str]) -> str:
    """Find the row that a name means; a method that can read one space alone needs no space.

    Args:
        name: of a row, or of such a method.
        rows: that are possible.

    Raises:
        ValueError: if there is no such row.
    """
    own = [row for row in rows if row.partition("/")[0] == name]
    if len(own) == 1:
        return own[0]
    check_choice("baseline", name, tuple(rows))
    return name
