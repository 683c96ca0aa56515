"""The facts of a card: the files of a bundle, read as what they may be, and never trusted to be it.

A card is also made of a stranger's files, in which any value may be anything. What has not the
expected type is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seqae.component import concrete_subclasses
from seqae.model.decoders import AttentionDecoder, Decoder

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        config: the bundle's `config.json`.
        metrics: its `metrics.json`: what was measured in training, by log key.
        training: its `training.json`.
        environment: its `environment.json`.
        selftest: its sentences and their reconstructions.
        evaluation: its `evaluation.json`, if it has been evaluated.
        latent_dim: Z; None if it is not known.
        parameters: number of weights; None if it is not known.
    """

    config: Plain
    metrics: Plain
    training: Plain
    environment: Plain = field(default_factory=dict)
    selftest: Sequence[Mapping[str, str]] = ()
    evaluation: Plain | None = None
    latent_dim: int | None = None
    parameters: int | None = None

    def with_evaluation(self, evaluation: Plain) -> CardFacts:
        """Return the facts with what was measured beside baselines."""
        return replace(self, evaluation=evaluation)

    def without_examples(self) -> CardFacts:
        """Return the facts without sentences of the data."""
        said = {**mapping(self.training.get("card")), "examples": False}
        return replace(self, selftest=(), training={**self.training, "card": said})

    @property
    def parts(self) -> Plain:
        """The arguments of the autoencoder."""
        arguments: Plain = self.config["autoencoder"]["init_args"]
        return arguments

    @property
    def name(self) -> str:
        """The kinds of the parts."""
        return " · ".join(
            str(self.parts[part]["class_path"]) for part in ("encoder", "latent", "decoder")
        )

    @property
    def rewrites(self) -> bool:
        """Whether the decoder also reads the text, as `SequenceAutoencoder.reads_memory`."""
        by_name = {cls.__name__: cls for cls in concrete_subclasses(Decoder)}  # type: ignore[type-abstract]
        decoder = by_name.get(self.parts["decoder"]["class_path"], Decoder)
        return issubclass(decoder, AttentionDecoder) or self.parts.get("copying") is not None

    @property
    def settings(self) -> Plain:
        """The configuration of the training."""
        return mapping(self.training.get("config"))

    @property
    def corpus(self) -> Plain:
        """What it was trained on: `sources` and `splits`."""
        return mapping(self.training.get("corpus"))

    @property
    def has_own_examples(self) -> bool:
        """Whether the sentences of the self-test are of the data, as far as is known."""
        return mapping(self.training.get("card")).get("examples", True) is not False


def mapping(value: Any) -> Plain:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Plain]:
    """Return the mappings of a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """Return a finite number as it is, and anything else as None."""
    is_number = type(value) is float or (type(value) is int and abs(value) < 2**63)
    return value if is_number and math.isfinite(value) else None


def numbers(values: Any) -> dict[str, float]:
    """Return what is a finite number of a mapping."""
    found = {str(key): number(value) for key, value in mapping(values).items()}
    return {key: value for key, value in found.items() if value is not None}


def words(values: Iterable[Any]) -> list[str]:
    """Return what is text or a number, as text."""
    return [str(value) for value in values if isinstance(value, (str, int, float))]
