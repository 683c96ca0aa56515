"""A model at a glance: the lines of its card that one wants to see first."""

from __future__ import annotations

from collections.abc import Iterator

from seqae.bundle.card.facts import CardFacts, mapping, mappings, number
from seqae.bundle.card.given import Given
from seqae.bundle.card.origins import duration, value_at
from seqae.model.latents import Latent
from seqae.web.payload import Fact


def glance(facts: CardFacts, given: Given, latent: Latent, origin: str | None) -> list[Fact]:
    """List the facts.

    Args:
        facts: of the bundle.
        given: what a person has said of it.
        latent: of the built model.
        origin: the address that it was fetched from.
    """
    return [{"name": name, "value": value} for name, value in _lines(facts, given, latent, origin)]


def _lines(
    facts: CardFacts, given: Given, latent: Latent, origin: str | None
) -> Iterator[tuple[str, str]]:
    yield "model", facts.name
    if facts.latent_dim is not None:
        kind = type(latent).__name__
        yield "latent", f"{facts.latent_dim:,} numbers for each sentence ({kind})"
    if facts.parameters is not None:
        yield "weights", f"{facts.parameters:,}"
    vocabulary = number(mapping(facts.config.get("vocabulary")).get("size"))
    tokenizer = str(mapping(facts.config.get("tokenizer")).get("class_path", "tokenizer"))
    if vocabulary is not None:
        yield "vocabulary", f"{vocabulary:,.0f} tokens ({tokenizer})"
    longest = number(facts.config.get("max_length"))
    if longest is not None:
        yield "longest sentence", f"{longest:,.0f} tokens"
    yield from _data(facts)
    yield from _training(facts)
    if given.licence is not None:
        yield "licence", given.licence
    if given.language:
        yield "language", ", ".join(given.language)
    if origin is not None:
        yield "fetched from", origin


def _data(facts: CardFacts) -> Iterator[tuple[str, str]]:
    sources = mappings(facts.corpus.get("sources"))
    names = [str(source["name"]) for source in sources if "name" in source]
    name = ", ".join(dict.fromkeys(names)) or facts.training.get("data")
    if not isinstance(name, str):
        return
    splits = mapping(facts.corpus.get("splits"))
    counts = [
        f"{count:,.0f} for {what}"
        for split, what in (("train", "training"), ("val", "validation"), ("test", "test"))
        if (count := number(mapping(splits.get(split)).get("sentences")))
    ]
    yield "trained on", f"{name}; sentences: {', '.join(counts)}" if counts else name


def _training(facts: CardFacts) -> Iterator[tuple[str, str]]:
    told = facts.training
    objective = value_at(facts.settings, "model.objective.class_path")
    if isinstance(objective, str):
        yield "objective", objective
    steps, tokens = number(told.get("optimizer_steps")), number(told.get("tokens"))
    parts = [
        f"{steps:,.0f} steps" if steps is not None else None,
        f"{tokens:,.0f} tokens" if tokens is not None else None,
        duration(told.get("seconds")),
    ]
    known = [part for part in parts if part]
    if known:
        yield "training", ", ".join(known)
    hardware = mapping(told.get("hardware"))
    for device in (hardware.get("accelerator"), hardware.get("cpu"), told.get("device")):
        if isinstance(device, str) and device:
            yield "hardware", device
            return
