"""What a metric is: a row of the table, in a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from seqae.units import Unit

Group = Literal["reconstruction", "likelihood", "latent", "robustness", "generation", "embedding"]
GROUPS: tuple[Group, ...] = get_args(Group)

# For each column (the model or a baseline) its metrics by key.
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        group: the part of the table that the row belongs to.
        label: the name of the row.
        unit: of its values.
        meaning: the definition, for `--explain`.
    """

    group: Group
    label: str
    unit: Unit
    meaning: str
