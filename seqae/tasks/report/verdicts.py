"""Measures beside their baselines, each with a verdict and the reason for it.

The limits are ours. They say where a model is of use for what the package is for, and not what the
best one reaches; a measure without a limit that holds for any text has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from seqae.bundle.card.facts import CardFacts, mapping, numbers
from seqae.bundle.card.measurements import HEADINGS
from seqae.metrics.definitions import METRICS
from seqae.units import with_unit
from seqae.web.payload import Measure, Verdict


class Limits(NamedTuple):
    """From where on a measure is good or fair.

    Attributes:
        good: as good as this or better is good.
        fair: as good as this or better is fair; what is worse is poor.
        why: what the two mean.
        plain: the measure for somebody who does not know it.
        times_baseline: both limits are multiples of the baseline.
        higher_is_better: the direction.
    """

    good: float
    fair: float
    why: str
    plain: str
    times_baseline: bool = False
    higher_is_better: bool = True


LIMITS = MappingProxyType(
    {
        "exact_match": Limits(
            0.8,
            0.3,
            "with four of five sentences unchanged the latent holds the sentence; below three of "
            "ten it holds its gist at most",
            "How many sentences come back without any difference.",
        ),
        "token_accuracy": Limits(
            0.95,
            0.7,
            "one wrong token in twenty leaves most short sentences whole; three in ten leave few",
            "How many tokens come back at their place.",
        ),
        "bleu": Limits(
            80.0,
            40.0,
            "above 80 most runs of four words come back, below 40 only some",
            "How many runs of one to four words come back, from 0 to 100.",
        ),
        "edit_distance": Limits(
            0.05,
            0.3,
            "one edit in twenty words is a slip, three in ten are another sentence",
            "What share of the words would have to be changed to get the sentence back.",
            higher_is_better=False,
        ),
        "bits_per_byte": Limits(
            1.3,
            2.2,
            "general compressors need about 2.2 bits for a byte of short English sentences, small "
            "language models about 1.3",
            "How well it predicts unseen text: the bits that each byte costs, latent counted.",
            higher_is_better=False,
        ),
        "shuffle_gap": Limits(
            1.0,
            0.1,
            "a decoder that loses under 0.1 nats with another sentence's latent hardly reads it",
            "How much worse the decoder gets with the latent of another sentence; zero means that "
            "it ignores the latent.",
        ),
        "isotropy": Limits(
            0.5,
            0.1,
            "below 0.1 a few dimensions hold nearly all variance, and cosines say little",
            "How evenly the latents use their dimensions, from 0 to 1.",
        ),
        "detour": Limits(
            1.5,
            2.5,
            "a path of over two and a half times the distance wanders through unrelated text",
            "How long the way from one sentence to another is in edits, in multiples of the "
            "shortest.",
            higher_is_better=False,
        ),
        "noise_exact_match": Limits(
            0.5,
            0.1,
            "where half of the sentences survive noise of 0.3, neighbourhoods mean one sentence",
            "How many sentences come back after a little noise on the latent.",
        ),
        "noise_bleu_area": Limits(
            30.0,
            15.0,
            "a mean of 30 over all noise means that text degrades and does not break",
            "How well text comes back on average over all noise from none to as much as the latent "
            "itself, from 0 to 100.",
        ),
        "judge_perplexity": Limits(
            1.5,
            4.0,
            "of real text's perplexity: half as much again reads like it, four times does not",
            "How surprising drawn sentences are to a model of the training text.",
            times_baseline=True,
            higher_is_better=False,
        ),
        "reverse_judge_perplexity": Limits(
            1.5,
            4.0,
            "of real text's perplexity: more means that the drawn sentences leave much text out",
            "How surprising real text is to a model of drawn sentences: do they cover it?",
            times_baseline=True,
            higher_is_better=False,
        ),
        "unknown_words": Limits(
            0.01,
            0.05,
            "one made-up word in twenty stands in every other sentence",
            "How many words of drawn sentences are none of the training text.",
            higher_is_better=False,
        ),
        "copies": Limits(
            0.05,
            0.3,
            "where three of ten are copies, it recites",
            "How many drawn sentences are copies of training sentences.",
            higher_is_better=False,
        ),
        "spearman": Limits(
            0.7,
            0.5,
            "sentence encoders trained for it reach 0.7 to 0.9, averaged word vectors about 0.5",
            "Whether near latents mean near meanings, by people's judgement.",
        ),
        "recall_at_1": Limits(
            0.8,
            0.4,
            "below 0.4 another sentence is nearer more often than not",
            "How often the nearest latent is that of the paraphrase.",
        ),
        "linear_probe": Limits(
            0.9,
            0.7,
            "of nine in ten a simple rule on the latent is right",
            "Whether a simple rule can read the label off the latent.",
        ),
    }
)

# Of drawn sentences the other columns are no models to beat but other texts; this one is the mark.
REAL = "real text"

# Shown where nothing was measured beside baselines: the best stage first.
STAGES = ("test/", "val/")


def measures(facts: CardFacts) -> list[Measure]:
    """List what was measured, in the order of `LIMITS`.

    Args:
        facts: of the bundle; what `seqae evaluate` has found wins over the training's own metrics.
    """
    scores: dict[str, dict[str, float]] = {}
    if facts.evaluation is not None:
        columns = mapping(facts.evaluation.get("scores"))
        scores = {str(name): numbers(column) for name, column in columns.items()}
    own = scores.pop("model", {})
    logged = numbers(facts.metrics)
    for stage in reversed(STAGES):
        found = {key.removeprefix(stage): v for key, v in logged.items() if key.startswith(stage)}
        own = {**found, **own}
    return [
        _measure(key, own[key], *_baseline(key, scores, limits), limits)
        for key, limits in LIMITS.items()
        if key in own
    ]


def verdict_of(
    value: float, limits: Limits, baseline: float | None, baseline_name: str | None
) -> tuple[Verdict, str]:
    """Judge a value.

    Args:
        value: raw, as files hold it.
        limits: of the measure.
        baseline: the best trivial one, or that of real text.
        baseline_name: which.

    Returns:
        The verdict and the reason for it.
    """
    if limits.times_baseline and baseline is None:
        return "unknown", "no real text was measured beside it"
    factor = baseline if limits.times_baseline and baseline is not None else 1.0
    sign = 1 if limits.higher_is_better else -1
    is_beaten = baseline is not None and not limits.times_baseline and baseline_name != REAL
    if is_beaten and baseline is not None and sign * value <= sign * baseline:
        return "poor", f"{baseline_name}, which learns nothing, is as good"
    for verdict, limit in (("good", limits.good), ("fair", limits.fair)):
        if sign * value >= sign * limit * factor:
            return verdict, limits.why  # type: ignore[return-value]
    return "poor", limits.why


def _baseline(
    key: str, scores: Mapping[str, Mapping[str, float]], limits: Limits
) -> tuple[float | None, str | None]:
    """Find the best trivial baseline; of drawn sentences, real text."""
    found = {name: column[key] for name, column in scores.items() if key in column}
    found.pop("told the noise", None)  # the model itself
    if REAL in found:
        return found[REAL], REAL
    if METRICS[key].group == "generation" or not found:
        return None, None
    best = max if limits.higher_is_better else min
    name = best(found, key=lambda name: found[name])
    return found[name], name


def _measure(
    key: str, value: float, baseline: float | None, baseline_name: str | None, limits: Limits
) -> Measure:
    metric = METRICS[key]
    verdict, why = verdict_of(value, limits, baseline, baseline_name)
    factor = 100.0 if metric.unit == "%" else 1.0
    mark = ""
    if not limits.times_baseline:
        mark = f" (good from {with_unit(limits.good, metric.unit)})"
    return {
        "group": HEADINGS[metric.group],
        "name": metric.label,
        "value": value * factor,
        "unit": "" if metric.unit == "0 to 100" else metric.unit,  # the meaning says it
        "baseline": None if baseline is None else baseline * factor,
        "baseline_name": baseline_name,
        "higher_is_better": limits.higher_is_better,
        "verdict": verdict,
        "meaning": limits.plain,
        "reason": f"{why[:1].upper()}{why[1:]}{mark}.",
    }
