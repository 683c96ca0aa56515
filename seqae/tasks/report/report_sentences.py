"""The sentences of a report: held out and trained on, or from a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.config import DataConfig
from seqae.data.sentences.preprocessing import clean_and_split
from seqae.data.sentences.split import Split
from seqae.data.sources.base import Source
from seqae.data.sources.open import open_source
from seqae.tasks.inputs import Instead, data_config, policies_of
from seqae.tasks.report.time_limit import TimeLimit
from seqae.web.projection import sample_rows

HELD_OUT, TRAINED_ON = "held out", "trained on"

MOST_READ = 200_000  # sentences, of which those of the map are drawn
INSTEAD = Instead("`input`", "seqae report MODEL --input FILE")


@dataclass
class ReportSentences:
    """What a report shows.

    Attributes:
        unseen: sentences that the model has not been trained on, or may not have.
        trained_on: training sentences.
        labels: of the unseen sentences, if they have any.
        total: of how many these are a sample, as far as they were read.
        is_cut: whether there are more, which were not read.
        note: what the page should say of them.
    """

    unseen: list[str] = field(default_factory=list)
    trained_on: list[str] = field(default_factory=list)
    labels: list[str] | None = None
    total: int = 0
    is_cut: bool = False
    note: str | None = None


def sentences_of_model(model: TextAutoencoder, where: Path, limit: TimeLimit) -> ReportSentences:
    """Read the data that a model was trained on, if it may be read, or else its own examples.

    Of a bundle only built-in corpora are read, as by `seqae evaluate`.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        limit: a fifth of its time may be spent on reading.
    """
    try:
        config = data_config(model, where, INSTEAD)
        _check_here(config)
        opened = config.open_sources()
    except (ValueError, OSError, ImportError) as error:
        shown = [str(row["text"]) for row in model.details.get("selftest", []) if "text" in row]
        note = f"No map of its data, and few reconstructions: {error}"
        return ReportSentences(unseen=shown, total=len(shown), note=note)
    until = limit.left() * 0.8
    found = ReportSentences()
    splits: list[Split] = ["val", "train"] if config.source_names["val"] else ["train"]
    for own in splits:
        found.is_cut |= _read(config, opened[own], own, found, limit, until)
    found.unseen = [model.normalization(text) for text in found.unseen]
    found.trained_on = [model.normalization(text) for text in found.trained_on]
    found.total = len(found.unseen) + len(found.trained_on)
    if not found.unseen:
        found.unseen, found.trained_on = found.trained_on, []
        found.note = "No sentences were held out: those shown are training sentences."
    elif config.is_paired:
        found.note = "It is trained to write another text than it reads; errors are against that."
    return found


def sentences_of_file(
    model: TextAutoencoder, where: Path, source: str, limit: TimeLimit
) -> ReportSentences:
    """Read sentences that the user names.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        source: a file, or anything else that `data.train` accepts.
        limit: a fifth of its time may be spent on reading.

    Raises:
        ValueError: if it cannot be read, or has no sentence.
    """
    until = limit.left() * 0.8
    found = ReportSentences()
    reading = policies_of(model, where).reading_of(source)
    for block in open_source(source, "input", reading).blocks():
        found.unseen += block.texts
        if len(found.unseen) >= MOST_READ or limit.left() < until:
            found.is_cut = True
            break
    if not found.unseen:
        raise ValueError(f"`input` must have sentences, but {source} has none. Name another one.")
    found.unseen = [model.normalization(text) for text in found.unseen]
    found.total = len(found.unseen)
    return found


def sentences_with_labels(model: TextAutoencoder, path: str) -> ReportSentences:
    """Read labelled sentences.

    Args:
        model: normalizes them.
        path: a .tsv or .jsonl file of text and label.

    Raises:
        ValueError: if the file holds anything else, or nothing.
    """
    from seqae.tasks.evaluate.annotations import read_labels  # brings scikit-learn, 2 seconds

    rows = read_labels(path)
    if not rows:
        raise ValueError(f"`labels` must have sentences, but {path} has none. Name another file.")
    texts = [model.normalization(text) for text, _ in rows]
    return ReportSentences(texts, labels=[label for _, label in rows], total=len(rows))


def drawn(found: ReportSentences, points: int, seed: int) -> ReportSentences:
    """Draw the sentences of the map: of those held out at most half, if there are others.

    Args:
        found: all that were read.
        points: how many to draw.
        seed: of the draw.
    """
    held_out = points
    if found.trained_on:
        held_out = max(points // 2, points - len(found.trained_on))
    unseen = sample_rows(len(found.unseen), held_out, seed).tolist()
    trained_on = sample_rows(len(found.trained_on), points - len(unseen), seed).tolist()
    return ReportSentences(
        _of(found.unseen, unseen),
        _of(found.trained_on, trained_on),
        None if found.labels is None else _of(found.labels, unseen),
        found.total,
        found.is_cut,
        found.note,
    )


def _check_here(config: DataConfig) -> None:
    """Refuse data of the network: a report of files asks no server."""
    for name in config.source_names["train"]:
        if name.startswith(("hf:", "nltk:")):
            raise ValueError(
                f"`input` must be given, because the model was trained on {name}, and a report "
                f"asks no server unasked. Write `--input {name}`, or name a file."
            )


def _of(texts: Sequence[str], rows: Iterable[int]) -> list[str]:
    return [texts[row] for row in rows]


def _read(
    config: DataConfig,
    sources: Iterable[Source],
    own: Split,
    found: ReportSentences,
    limit: TimeLimit,
    until: float,
) -> bool:
    """Add what sources hold; say whether it was cut short."""
    count = 0
    for block in chain.from_iterable(source.blocks() for source in sources):
        cleaned = clean_and_split(block, own, config)
        found.unseen += cleaned.select("val").texts
        if own == "train":
            found.trained_on += cleaned.select("train").texts
        count += len(block.texts)
        if count >= MOST_READ or limit.left() < until:
            return True
    return False
