"""The front matter of a card: YAML that the Hub indexes, with the metrics as `model-index`.

It is written by PyYAML, so that no text can end a value, and has the form that huggingface_hub's
`ModelCardData` reads; the tests hold it to that. That library is in an extra, and a card is written
at each validation of a training, which must not need it: so it is not called here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from seqae.bundle.card.facts import CardFacts, mapping, mappings, number, numbers
from seqae.bundle.card.given import FENCE, Given
from seqae.metrics.definitions import METRICS, TRAINING, unit_of
from seqae.terminal import visible
from seqae.units import Unit

MAX_WIDTH = 200  # characters of a name
DIGITS = 6  # of a value
TASK = {"type": "feature-extraction", "name": "Text autoencoding"}
REWRITING = {"type": "summarization", "name": "Text rewriting"}
# Groups of `seqae evaluate` whose values say what the model is good for; others are in the text.
INDEXED = ("reconstruction", "likelihood", "robustness", "generation", "embedding")


def front_matter(facts: CardFacts, given: Given) -> str:
    """Return the front matter with its fences.

    Args:
        facts: of the bundle.
        given: licence and language.
    """
    tags = ["text-autoencoder", "text-rewriting" if facts.rewrites else "sentence-embedding"]
    names = [str(source.get("name")) for source in mappings(facts.corpus.get("sources"))]
    hub = dict.fromkeys(name[3:].partition("@")[0] for name in names if name.startswith("hf:"))
    data: dict[str, Any] = {
        "license": given.licence,
        "language": list(given.language) or None,
        "library_name": "seqae",
        "pipeline_tag": None if facts.rewrites else TASK["type"],
        "tags": tags,
        "datasets": [_name(name) for name in hub if name.count("/") == 1] or None,
    }
    if results := [*_results(facts)]:
        data["model-index"] = [{"name": _name(facts.name), "results": results}]
    told = {key: value for key, value in data.items() if value is not None}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=2**16)
    return f"{FENCE}\n{text}{FENCE}\n"


def _results(facts: CardFacts) -> Iterator[dict[str, Any]]:
    """Yield one result for the evaluation, and one for the validation in training."""
    task = REWRITING if facts.rewrites else TASK
    evaluation = mapping(facts.evaluation)
    scores = {name: numbers(column) for name, column in mapping(evaluation.get("scores")).items()}
    measured = scores.pop("model", {})
    entries = []
    for key, metric in METRICS.items():
        if key not in measured or metric.group not in INDEXED:
            continue
        entry = _entry(key, measured[key], metric.label, metric.unit)
        baselines = {
            _name(name): _rounded(column[key]) for name, column in scores.items() if key in column
        }
        entries.append(entry | ({"args": {"baselines": baselines}} if baselines else {}))
    if entries:
        yield {"task": dict(task), "dataset": _dataset(facts, evaluation), "metrics": entries}
    for split in ("test", "val"):
        own = numbers(facts.metrics)
        logged = {key: value for key, value in own.items() if key.startswith(f"{split}/")}
        entries = [
            _entry(name, value, _label(name), unit_of(name))
            for name, value in ((key.partition("/")[2], value) for key, value in logged.items())
            if name in METRICS or name in TRAINING
        ]
        if entries:
            dataset = _dataset(facts, {}) | {"split": {"val": "validation"}.get(split, split)}
            yield {"task": dict(task), "dataset": dataset, "metrics": entries}


def _entry(key: str, value: float, label: str, unit: Unit) -> dict[str, Any]:
    named = f"{label} ({unit})" if unit not in ("", "%") else label
    return {"type": _name(key), "value": _rounded(value), "name": named}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _label(key: str) -> str:
    return METRICS[key].label if key in METRICS else key.replace("_", " ")


def _dataset(facts: CardFacts, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what was measured on: the data of the training, or a file that was named."""
    sources = mappings(facts.corpus.get("sources"))
    trained = str(facts.training.get("data") or "unknown")
    origin = evaluation.get("from")
    is_file = isinstance(origin, str) and not origin.startswith("unseen, ")
    name = origin if is_file and isinstance(origin, str) else trained
    dataset: dict[str, Any] = {"name": _name(name), "type": _name(name.removeprefix("hf:"))}
    if isinstance(origin, str) and not is_file:
        dataset["split"] = origin.removeprefix("unseen, from the ").removesuffix(" split")
        dataset["split"] = _name(dataset["split"])
    revisions = {str(source["revision"]) for source in sources if source.get("revision")}
    if not is_file and len(revisions) == 1:
        dataset["revision"] = _name(revisions.pop())
    if (count := number(evaluation.get("sentences"))) is not None:
        dataset["args"] = {"sentences": int(count)}
    return dataset


def _name(text: str) -> str:
    return visible(" ".join(text.split()), MAX_WIDTH)
