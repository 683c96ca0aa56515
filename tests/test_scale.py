"""The recipe for scale: its hundredth trains by the same code, on one process and on two."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from small import CONFIGS, ROOT, run_seqae
from test_recipes import leaves

SCALE = CONFIGS / "scale"
SMALL = ["-c", "scale/transformer", "-c", "scale/hundredth"]


def resolved(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run_seqae("fit", *arguments, "--print_config") == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def test_hundredth_changes_only_sizes_data_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    large, small = (dict(leaves(resolved(c, capsys))) for c in (SMALL[:2], SMALL))
    differing = {key for key in large if large[key] != small[key]}
    rates = {"learning_rate", "warmup_steps", "weight_decay", "beta2"}
    sizes = {"embedding_dim", "hidden_dim", "num_heads", "feedforward_dim", "latent_dim"}
    sizes |= {"position_dim"}
    trainer = {"max_steps", "val_check_interval", "precision"}
    for key in differing:
        name = key.rpartition(".")[2]
        assert key.startswith("data.") or name in rates | sizes | trainer, key
    assert small["data.streaming"]
    assert small["model.compiled"]
