"""One format for each unit, in tables and in running text."""

from __future__ import annotations

import math

import pytest

from seqae.metrics.definitions import METRICS, TRAINING, unit_of
from seqae.units import Unit, format_value, with_unit


@pytest.mark.parametrize(
    ("value", "unit", "cell", "text"),
    [
        (0.98, "%", "98.0", "98.0 %"),
        (1, "%", "100.0", "100.0 %"),
        (53.12757873535156, "0 to 100", "53.1", "53.1"),
        (0.3943, "0 to 1", "0.394", "0.394"),
        (-0.0721, "-1 to 1", "-0.072", "-0.072"),
        (1.23456, "nats/token", "1.235", "1.235 nats/token"),
        (12345.678, "nats/sentence", "12,345.68", "12,345.68 nats/sentence"),
        (12.0, "dimensions", "12", "12 dimensions"),
        (1234567, "tokens", "1,234,567", "1,234,567 tokens"),
        (12.3456, "tokens", "12.35", "12.35 tokens"),
        (6.46, "words", "6.5", "6.5 words"),
        (645635.8, "words", "645,636", "645,636 words"),
        (349598871.2, "words", "3.5e+08", "3.5e+08 words"),
        (361.7, "seconds", "362", "362 seconds"),
        (0.0123456, "", "0.01235", "0.01235"),
        (math.nan, "%", "–", "–"),
        (None, "seconds", "–", "–"),
        (math.inf, "nats", "inf", "inf nats"),
    ],
)
def test_formats(value: float | None, unit: Unit, cell: str, text: str) -> None:
    assert format_value(value, unit) == cell
    assert with_unit(value, unit) == text


def test_units_by_key_and_by_log_key() -> None:
    assert unit_of("bleu") == unit_of("val/bleu") == unit_of("test/bleu") == "0 to 100"
    assert unit_of("train/loss") == "per token"
    assert unit_of("training/seconds") == "seconds"
    assert unit_of("val/of_my_own") == ""
    assert not set(METRICS) & set(TRAINING)
    assert all(metric.unit for metric in METRICS.values())
