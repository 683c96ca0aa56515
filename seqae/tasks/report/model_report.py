"""One model of a report: all that its page shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqae.bundle.card.bundle_evaluation import read_evaluation
from seqae.bundle.card.facts import CardFacts
from seqae.bundle.io import load
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.rewriting import given_of, read_facts
from seqae.bundle.sharing.address import LocalBundle, find_checked_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.model.latents import StochasticLatent
from seqae.tasks.compare import EVALUATION
from seqae.tasks.plot.figure_inputs import read_lengths, read_robustness
from seqae.tasks.report.model_views import (
    error_of,
    from_worst_to_best,
    length_groups,
    noise_curves,
    paths,
    samples,
    written_back,
)
from seqae.tasks.report.report_facts import glance
from seqae.tasks.report.report_sentences import (
    HELD_OUT,
    TRAINED_ON,
    ReportSentences,
    drawn,
    sentences_of_file,
    sentences_of_model,
    sentences_with_labels,
)
from seqae.tasks.report.time_limit import TimeLimit
from seqae.tasks.report.verdicts import measures
from seqae.web.latent_map import latent_map
from seqae.web.payload import LengthGroup, Model
from seqae.web.projection import Method

LEAST = 10  # sentences of a map
LABEL, SPLIT, ERROR = "label", "sentences", "error"


@dataclass(frozen=True)
class Choices:
    """What the user has chosen.

    Attributes:
        texts: a file of sentences to show, instead of those of the training.
        labels: a file of labelled sentences, instead.
        method: of the projection.
        points: of the map at most; 0 for no map.
        seed: of what is drawn.
        seconds: to spend on what is computed.
    """

    texts: str | None = None
    labels: str | None = None
    method: Method = "pca"
    points: int = 5000
    seed: int = 0
    seconds: float = 2.0


def model_report(where: str, name: str, choices: Choices, is_whole: bool = True) -> Model:
    """Show a model.

    Args:
        where: a bundle, the folder of a run, an address, or `demo`.
        name: for the page.
        choices: what the user has chosen.
        is_whole: whether it is shown at work, too; else facts and measures alone.

    Raises:
        ValueError: if it is no bundle or is damaged, or what the user names cannot be read.
        OSError: if it cannot be fetched.
    """
    found = find_checked_bundle(where, "runs")
    model = load(found.folder)
    shown, facts = at_a_glance(where, name, found, model)
    if not is_whole:
        shown["notes"].append(
            f"Of further runs only figures are shown. Its map: `seqae report {where}`."
        )
        return shown
    _at_work(shown, model, facts, where, choices)
    return shown


def at_a_glance(
    where: str, name: str, found: LocalBundle, model: TextAutoencoder
) -> tuple[Model, CardFacts]:
    """Show what a model is, and what was measured on it.

    Args:
        where: what the user has named.
        name: for the page.
        found: the bundle there.
        model: loaded from it.

    Returns:
        What the page shows, and the facts that it is made of.
    """
    facts = read_facts(found.folder, model)
    notes: list[str] = []
    if (other := _evaluation_of_run(where, found.folder, notes)) is not None:
        facts = facts.with_evaluation(other)
    if facts.evaluation is None:
        notes.append(
            f"No baselines were measured beside it. `seqae evaluate {where} --output "
            f"{EVALUATION}` does so; in the run's folder, or by `seqae card --evaluation "
            f"{EVALUATION} --write` in the bundle, the report finds it."
        )
    latent = model.autoencoder.latent
    shown: Model = {
        "name": name,
        "facts": glance(facts, given_of(found.folder, model), latent, found.origin),
        "measures": measures(facts),
        "notes": notes,
    }
    return shown, facts


def _at_work(
    shown: Model, model: TextAutoencoder, facts: CardFacts, where: str, choices: Choices
) -> None:
    limit, notes = TimeLimit(choices.seconds), shown["notes"]
    everything = _sentences(model, where, choices, limit)
    if everything.note:
        notes.append(everything.note)
    texts = drawn(everything, choices.points or 500, choices.seed)
    order = np.random.default_rng(choices.seed)
    texts.unseen, texts.labels = _mixed(order, texts.unseen, texts.labels)
    texts.trained_on, _ = _mixed(order, texts.trained_on)
    longer = f"`--seconds {max(30, 10 * choices.seconds):.0f}`"
    predictions = written_back(model, texts.unseen, limit, 0.25)
    if not predictions:
        return
    compared = texts.unseen[: len(predictions)]
    shown["reconstructions"] = from_worst_to_best(compared, predictions)
    shown["lengths"] = _lengths(model, where, compared, predictions, facts)
    held_out = _encoded(model, texts.unseen, limit, 0.25)
    trained_on = _encoded(model, texts.trained_on, limit, 0.3)
    texts.unseen, texts.trained_on = (
        texts.unseen[: len(held_out)],
        texts.trained_on[: len(trained_on)],
    )
    latents = np.concatenate([held_out, trained_on])
    if model.autoencoder.reads_memory:
        notes.append(
            "Its decoder looks back at the text, so that no latent can be decoded by itself: there "
            "are no samples, no paths between sentences and no curve under noise."
        )
    else:
        _from_latents(shown, model, where, everything, texts, latents, compared, choices, limit)
    if min(len(latents), choices.points) < LEAST:
        if choices.points:
            notes.append(
                f"A map needs {LEAST} sentences. Name some: `seqae report {where} --input FILE`."
            )
        return
    _draw_map(shown, model, texts, latents, predictions[: len(held_out)], choices, limit)
    if len(latents) < min(choices.points, len(everything.unseen) + len(everything.trained_on)):
        notes.append(
            f"The time was enough for {len(latents):,} points of the map; {longer} shows more."
        )
    if everything.is_cut:
        notes.append(f"Of the text only the first {everything.total:,} sentences were read.")


def _from_latents(
    shown: Model,
    model: TextAutoencoder,
    where: str,
    everything: ReportSentences,
    texts: ReportSentences,
    latents: Latents,
    compared: Sequence[str],
    choices: Choices,
    limit: TimeLimit,
) -> None:
    first, known = len(texts.unseen), texts.trained_on
    columns = model.columns(model.compared_part)
    shown["paths"] = paths(model, compared)
    can_draw = bool(model.priors) or isinstance(model.autoencoder.latent, StochasticLatent)
    if can_draw:
        shown["samples"] = samples(
            model, known, latents[first:, columns], everything.trained_on, choices.seed
        )
    if not can_draw:  # of a stream, for one
        about = f"The model has no prior to draw from: `seqae prior {where} --input FILE` fits one."
    elif known:
        about = (
            f"The nearest sentence to each sample is that of {len(known):,} training sentences; "
            f"copies are looked for among all {len(everything.trained_on):,} that were read."
        )
    else:
        about = "No training text was read, so samples stand without their nearest sentence."
    shown["notes"].append(about)
    try:
        shown["curves"] = [
            {**curve, "meaning": "What comes back when noise is added to latents."}
            for curve in read_robustness([where], [shown["name"]])
        ]
    except ValueError:  # not measured
        more = f"`seqae evaluate {where} --metrics robustness --output {EVALUATION}`"
        if limit.left() > 0:
            shown["curves"] = noise_curves(model, compared, choices.seed)
            shown["notes"].append(f"Robustness was measured on a few sentences. {more} takes 200.")
        else:
            shown["notes"].append(f"The time was not enough for robustness. {more} measures it.")


def _draw_map(
    shown: Model,
    model: TextAutoencoder,
    texts: ReportSentences,
    latents: Latents,
    predictions: list[str],
    choices: Choices,
    limit: TimeLimit,
) -> None:
    points = [*texts.unseen, *texts.trained_on]
    labels: dict[str, Sequence[str]] = {}
    if texts.labels is not None:
        labels[LABEL] = texts.labels[: len(points)]
    if texts.trained_on:
        labels[SPLIT] = [HELD_OUT] * len(texts.unseen) + [TRAINED_ON] * len(texts.trained_on)
    # Those that were written back are the first ones.
    remaining = points[len(predictions) :]
    more = written_back(model, remaining, limit, 0.6) if remaining and limit.left() > 0 else []
    everything = [*predictions, *more][: len(points)]
    colours = {}
    is_whole = len(everything) == len(points)
    if is_whole:
        errors = [error_of(*pair) for pair in zip(points, everything, strict=True)]
        colours[ERROR] = np.asarray(errors, np.float32)
    else:
        shown["notes"].append(
            f"The map has no errors and no reconstructions: the time was enough for "
            f"{len(everything):,} of its {len(points):,} sentences. `--seconds 60` allows more, "
            f"`--points {max(100, len(everything) // 100 * 100)}` needs less."
        )
    part = model.compared_part
    shown["map"], _ = latent_map(
        latents[:, model.columns(part)],
        points,
        labels,
        colours,
        everything if is_whole else None,
        choices.method,
        choices.seed,
        part,
        max(texts.total, len(points)),
    )


def _sentences(
    model: TextAutoencoder, where: str, choices: Choices, limit: TimeLimit
) -> ReportSentences:
    if choices.labels is not None:
        return sentences_with_labels(model, choices.labels)
    if choices.texts is not None:
        return sentences_of_file(model, Path(where), choices.texts, limit)
    return sentences_of_model(model, Path(where), limit)


def _encoded(
    model: TextAutoencoder, texts: Sequence[str], limit: TimeLimit, share: float
) -> Latents:
    """Encode as many texts as the time allows, in their order, one block at least."""
    empty = np.zeros((0, model.latent_dim), np.float32)
    blocks = limit.blocks(texts, 256, share)
    return np.concatenate([empty, *(model.encode(list(block), "truncate") for block in blocks)])


def _mixed(
    order: np.random.Generator, texts: list[str], labels: list[str] | None = None
) -> tuple[list[str], list[str] | None]:
    """Put texts and labels into an order that is not that of the file: a part may be taken."""
    rows = order.permutation(len(texts))
    return [texts[row] for row in rows], labels and [labels[row] for row in rows]


def _lengths(
    model: TextAutoencoder,
    where: str,
    texts: Sequence[str],
    predictions: Sequence[str],
    facts: CardFacts,
) -> list[LengthGroup]:
    try:
        if facts.evaluation is not None:
            return read_lengths(where)
    except ValueError:
        pass  # it was measured without reconstruction
    return length_groups(model, texts, predictions)


def _evaluation_of_run(where: str, bundle: Path, notes: list[str]) -> dict[str, Any] | None:
    """Read what `seqae evaluate` wrote into a run's own folder, if it is of these weights."""
    path = Path(where) / EVALUATION
    if Path(where) / "bundle" != bundle or not path.is_file():
        return None
    try:
        return read_evaluation(path, bundle, "runs")
    except (ValueError, OSError) as error:
        notes.append(str(error))
        return None
