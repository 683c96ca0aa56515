"""The part of a card that says what was measured: beside baselines, and in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seqae.bundle.card.escaping import plain
from seqae.bundle.card.facts import CardFacts, mapping, number, numbers, words
from seqae.metrics.definitions import COLUMNS, METRICS, unit_of
from seqae.metrics.metric import GROUPS
from seqae.units import format_value, with_unit

HEADINGS = {
    "reconstruction": "Reconstruction",
    "likelihood": "Likelihood",
    "latent": "Latent space, and whether the decoder uses it",
    "robustness": "Robustness to noise on the latent",
    "generation": "Samples and midpoints",
    "embedding": "Latents as embeddings",
}
STAGES = {"val": "In training, on{} the validation split", "test": "On{} the test split"}

# Of these the decoder's use of the latent is read: beside the loss, a gap near zero is a collapse.
GAP = "shuffle_gap"


def measurements(facts: CardFacts) -> Iterator[str]:
    """Yield the lines of the section."""
    yield from ("## What was measured", "")
    has_baselines = facts.evaluation is not None
    if facts.evaluation is not None:
        yield from _evaluation(mapping(facts.evaluation))
    own = numbers(facts.metrics)
    if own:
        yield from _in_training(facts, own)
    if not own and not has_baselines:
        yield from ("Nothing was measured on it.", "")
    if not has_baselines:
        yield from (
            "These numbers stand alone: no baseline was measured beside them. `seqae evaluate` "
            "does so, and `seqae card --evaluation` puts its table here.",
            "",
        )


def _in_training(facts: CardFacts, own: dict[str, float]) -> Iterator[str]:
    splits = mapping(facts.corpus.get("splits"))
    for stage, heading in STAGES.items():
        logged = {key: value for key, value in own.items() if key.startswith(f"{stage}/")}
        if not logged:
            continue
        count = number(mapping(splits.get(stage)).get("sentences"))
        on = "" if count is None else f" {count:,.0f} sentences of"
        yield from (f"### {heading.format(on)}", "")
        yield from _table(logged)
        yield ""
    others = {k: v for k, v in own.items() if k.partition("/")[0] not in STAGES}
    if others:
        yield from ("### Also in `metrics.json`", "", *_table(others), "")
    gap = own.get(f"val/{GAP}")
    if gap is not None:
        yield (
            f"With the latent of another sentence the decoder loses "
            f"{with_unit(gap, 'nats/token')}: near zero, it would not use the latent at all."
        )
        yield ""


def _table(logged: dict[str, float]) -> Iterator[str]:
    yield from ("| metric | unit | value |", "|---|---|---:|")
    order = {name: place for place, name in enumerate(METRICS)}
    for key in sorted(logged, key=lambda key: (order.get(key.rpartition("/")[2], 1000), key)):
        value = logged[key]
        name = key.rpartition("/")[2]
        label = METRICS[name].label if name in METRICS else plain(name.replace("_", " "))
        yield f"| {label} | {unit_of(key)} | {format_value(value, unit_of(key))} |"


def _evaluation(evaluation: Any) -> Iterator[str]:
    """Yield a table for each group of `seqae evaluate`, the model beside its baselines."""
    told = {name: numbers(column) for name, column in mapping(evaluation.get("scores")).items()}
    scores = {"model": told.pop("model", {}), **told}
    count, origin = number(evaluation.get("sentences")), str(evaluation.get("from", "unknown"))
    shown = "" if count is None else f"{count:,.0f} sentences "
    seed = number(evaluation.get("seed"))
    yield (
        f"`seqae evaluate` on {shown}({plain(origin)})"
        f"{'' if seed is None else f', seed {seed:.0f}'}, beside trivial baselines:"
    )
    yield ""
    explained: dict[str, None] = {}
    for group in GROUPS:
        keys = [k for k, m in METRICS.items() if m.group == group and k in scores["model"]]
        if not keys:
            continue
        columns = [name for name in scores if any(key in scores[name] for key in keys)]
        explained |= dict.fromkeys(columns[1:])
        yield from (f"### {HEADINGS[group]}", "")
        yield f"| metric | unit | {' | '.join(plain(name, 40) for name in columns)} |"
        yield f"|---|---|{'---:|' * len(columns)}"
        for key in keys:
            metric = METRICS[key]
            cells = [
                format_value(scores[c][key], metric.unit) if key in scores[c] else ""
                for c in columns
            ]
            yield f"| {metric.label} | {metric.unit} | {' | '.join(cells)} |"
        yield ""
    yield from (f"- *{plain(name)}*: {COLUMNS[name]}." for name in explained if name in COLUMNS)
    notes = mapping(evaluation.get("notes"))
    yield from (f"- {plain(str(name))}: {plain(note)}" for name, note in _texts(notes))
    yield ""


def _texts(notes: Any) -> list[tuple[str, str]]:
    return [(str(name), note) for name, note in notes.items() if words([note])]
