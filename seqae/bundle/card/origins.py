"""The parts of a card that say where a model comes from: its data, training and versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seqae.bundle.card.escaping import plain
from seqae.bundle.card.facts import CardFacts, Plain, mapping, mappings, number

# Settings of the training that a reader looks for, by key of its configuration, and their words.
HYPERPARAMETERS = {
    "model.objective.class_path": "objective",
    "model.learning_rate": "learning rate",
    "model.schedule": "schedule",
    "model.warmup_steps": "warm-up steps",
    "model.weight_decay": "weight decay",
    "trainer.gradient_clip_val": "gradient clipping",
    "trainer.accumulate_grad_batches": "accumulated batches",
    "data.batch_tokens": "tokens of a batch",
    "trainer.max_epochs": "most epochs",
    "trainer.max_steps": "most steps",
    "seed_everything": "seed",
}
UNSET = (None, -1, "")
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def data(facts: CardFacts) -> Iterator[str]:
    """Yield the lines about the data."""
    yield from ("## Data", "")
    sources = mappings(facts.corpus.get("sources"))
    if not sources:
        yield f"Source: {plain(str(facts.training.get('data') or 'not recorded'))}."
        yield ""
    else:
        yield from ("| source | used for | records | kept | revision |", "|---|---|---:|---:|---|")
        for source in sources:
            cells = [plain(str(source.get(key) or "")) for key in ("name", "split")]
            counts = [_count(source.get(key)) for key in ("read", "kept")]
            revision = plain(str(source.get("revision") or ""))
            yield f"| {' | '.join([*cells, *counts, revision])} |"
        yield ""
    splits = mapping(facts.corpus.get("splits"))
    if splits:
        yield from ("| split | sentences | tokens | fingerprint |", "|---|---:|---:|---|")
        for key, name in SPLITS.items():
            split = mapping(splits.get(key))
            if split:
                counts = [_count(split.get(what)) for what in ("sentences", "tokens")]
                digest = plain(str(split.get("sha256") or ""))[:16]
                yield f"| {name} | {' | '.join(counts)} | {digest} |"
        yield ""
        yield (
            "The fingerprint is the beginning of a SHA-256 over the sentences and their numbers of "
            "tokens; `training.json` has all of it. Two models with the same one were trained on "
            "the same text."
        )
        yield ""
    vocabulary = facts.config["vocabulary"]["size"]
    kind = plain(str(facts.config["tokenizer"]["class_path"]))
    digest = str(facts.config.get("tokenizer_sha256", ""))[:16]
    yield (
        f"Vocabulary of {vocabulary:,} ({kind}{f', hash {plain(digest)}' if digest else ''}), "
        f"sentences of at most {facts.config['max_length']} tokens."
    )
    yield ""


def training(facts: CardFacts) -> Iterator[str]:
    """Yield the lines about the training: settings, cost, hardware, versions."""
    yield from ("## Training", "")
    told, settings = facts.training, facts.settings
    rows = [(name, value_at(settings, key)) for key, name in HYPERPARAMETERS.items()]
    rows += [(name, told.get(name)) for name in ("precision", "processes", "threads")]
    rows.append(("steps of this model", _count(told.get("optimizer_steps"))))
    rows.append(("tokens it has seen", _count(told.get("tokens"))))
    since = " since the last resume" if told.get("resumed") is True else ""
    rows.append((f"time until then{since}", duration(told.get("seconds"))))
    whole = mapping(told.get("whole_run"))
    rows.append(("steps of the whole run", _count(whole.get("optimizer_steps"))))
    rows.append((f"time of the whole run{since}", duration(whole.get("seconds"))))
    rows.append(("hardware", _hardware(told)))
    shown = [(name, plain(str(value))) for name, value in rows if value not in UNSET]
    # What an earlier version wrote, and what a person has added.
    known = {"optimizer_steps", "tokens", "seconds", "precision", "processes", "threads"}
    known |= {"data", "epochs", "device", "resumed"}
    extra = {k: v for k, v in told.items() if k not in known and isinstance(v, (str, int, float))}
    shown += [(plain(str(name)), plain(str(value))) for name, value in extra.items()]
    if shown:
        yield from ("| setting | value |", "|---|---|")
        yield from (f"| {name} | {value} |" for name, value in shown)
        yield ""
        yield "`training.json` has the whole configuration."
        yield ""
    if facts.environment:
        versions = ", ".join(
            plain(f"{name} {version}", 60) for name, version in facts.environment.items()
        )
        yield from (f"Written by {versions}.", "")


def value_at(settings: Plain, key: str) -> Any:
    """Return the value of a configuration at a key such as `model.learning_rate`."""
    value: Any = settings
    for part in key.split("."):
        value = mapping(value).get(part)
    return value if isinstance(value, (str, int, float)) else None


def duration(seconds: Any) -> str | None:
    """Write a time as people say it."""
    told = number(seconds)
    if told is None:
        return None
    if told < 120:
        return "1 second" if round(told) == 1 else f"{told:.0f} seconds"
    return f"{told / 60:.0f} minutes" if told < 7200 else f"{told / 3600:,.1f} hours"


def _count(value: Any) -> str:
    told = number(value)
    return "" if told is None else f"{told:,.0f}"


def _hardware(told: Plain) -> str | None:
    hardware = mapping(told.get("hardware"))
    names = [str(hardware[key]) for key in ("accelerator", "cpu") if hardware.get(key)]
    if (cores := number(hardware.get("cores"))) is not None:
        names.append(f"{cores:.0f} cores")
    return ", ".join(names) or (str(told["device"]) if told.get("device") else None)
