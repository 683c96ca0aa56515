"""Train a tokenizer with the `tokenizers` library, and keep what it learnt as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import tokenizers as hf
from tokenizers import models, trainers


def train_model(
    layout: dict[str, Any], model: models.Model, trainer: trainers.Trainer, texts: Iterator[str]
) -> dict[str, Any]:
    """Train with the library; return the `model` of its file."""
    empty = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    document = {"version": "1.0", "added_tokens": [], **layout, "model": empty}
    tokenizer = hf.Tokenizer.from_str(json.dumps(document))
    tokenizer.model = model
    tokenizer.train_from_iterator(texts, trainer)
    learned: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return learned
