"""Units, and the one format in which people see a value of each; files hold raw numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

# A score that has no other unit has its range.
Unit = Literal[
    "",
    "%",
    "0 to 1",
    "0 to 100",
    "-1 to 1",
    "nats",
    "nats/sentence",
    "nats/token",
    "per token",
    "bits/byte",
    "tokens",
    "words",
    "codes",
    "dimensions",
    "× shortest",
    "steps",
    "threads",
    "seconds",
    "tokens/s",
]

# Digits after the point of a value that is no whole number; without a rule, four digits in all.
_DIGITS: dict[Unit, int] = {
    "%": 1,
    "0 to 1": 3,
    "0 to 100": 1,
    "-1 to 1": 3,
    "nats": 2,
    "nats/sentence": 2,
    "nats/token": 3,
    "per token": 3,
    "bits/byte": 3,
    "tokens": 2,
    "words": 1,
    "codes": 1,
    "dimensions": 0,
    "× shortest": 2,
    "seconds": 0,
    "tokens/s": 0,
}

# From here on, a perplexity has no decimals, and then only its size is shown: that of gibberish.
WHOLE, LARGE = 1e4, 1e6
_PERPLEXITIES: tuple[Unit, ...] = ("tokens", "words")

# Units that do not follow their value in running text.
_UNSPOKEN: tuple[Unit, ...] = ("", "0 to 1", "0 to 100", "-1 to 1", "per token")


def format_value(value: float | None, unit: Unit = "") -> str:
    """Format a value for a column, beside one with its unit.

    Args:
        value: raw: a share, from 0 to 1, if its unit is `%`; an undefined one becomes a dash.
        unit: decides the number of digits.
    """
    if value is None or math.isnan(value):
        return "–"
    if unit == "%":
        value = 100.0 * value
    if isinstance(value, int):
        return f"{value:,}"
    digits = _DIGITS.get(unit)
    if unit in _PERPLEXITIES and value >= WHOLE:
        return f"{value:,.0f}" if value < LARGE else f"{value:.1e}"
    return f"{value:,.4g}" if digits is None else f"{value:,.{digits}f}"


def with_unit(value: float | None, unit: Unit) -> str:
    """Format a value for running text, `98.0 %`; a range is left out."""
    shown = format_value(value, unit)
    return shown if unit in _UNSPOKEN or shown == "–" else f"{shown} {unit}"


def without_nan(value: Any) -> Any:
    """Replace numbers that are not finite, which JSON cannot express, with None."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
