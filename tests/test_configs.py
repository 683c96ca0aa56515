"""Every YAML file that ships is parsed, built and run for one batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import CONFIGS, figures, numbered, run_seqae, write_recipe, write_text

RECIPES = sorted(CONFIGS.glob("*.yaml")) + sorted((CONFIGS / "experiments").glob("*.yaml"))
OVERLAYS = sorted((CONFIGS / "overlays").glob("*.yaml"))
# Parsed here; run by test_training.py, test_fsdp.py, test_wandb.py and test_part_errors.py.
ELSEWHERE = {"gpu", "ddp", "fsdp", "wandb", "tensorboard"}
ONE_BATCH = ["--trainer.max_epochs", -1, "--trainer.max_steps", 1, "--threads", 1]


def name(path: Path) -> str:
    return path.stem


# Each recipe under one overlay, in turn; all pairs are slow.
OVERLAYS_ON_RECIPES = [
    pytest.param(
        overlay,
        recipe,
        id=f"{name(overlay)}-{name(recipe)}",
        marks=() if (one - other) % len(OVERLAYS) == 0 else pytest.mark.slow,
    )
    for one, overlay in enumerate(OVERLAYS)
    for other, recipe in enumerate(RECIPES)
]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One text for all, so that recipes with the same tokenizer prepare it once."""
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", numbered(60))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with what to write instead of each."""
    rows = [{"document": text, "summary": text[:8]} for text in numbered(60)]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    return write_text(path, map(json.dumps, rows))


def resolved(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the parser makes of the arguments, with every default."""
    capsys.readouterr()
    assert run_seqae("fit", *arguments, "--print_config") == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


@pytest.mark.parametrize("overlay", [o for o in OVERLAYS if o.stem not in ELSEWHERE], ids=name)
def test_overlay_runs(overlay: Path, text: Path, tmp_path: Path) -> None:
    options = ["-c", overlay, "--data.train", text, "--run_dir", tmp_path / "run", *ONE_BATCH]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), *options) == 0


@pytest.mark.parametrize(("overlay", "recipe"), OVERLAYS_ON_RECIPES)
def test_overlay_says_what_it_says(
    overlay: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of its keys arrives in the resolved configuration, on top of a recipe."""

    def has(config: Any, part: Any) -> bool:
        if isinstance(part, dict):
            return all(has(config[key], value) for key, value in part.items())
        if isinstance(part, str) and "." in part:  # a class path
            return str(config).endswith(part.rpartition(".")[2])
        return bool(config == part)

    config = resolved(["-c", recipe, "-c", overlay], capsys)
    assert has(config, yaml.safe_load(overlay.read_text()))


def test_gpu_overlay(capsys: pytest.CaptureFixture[str]) -> None:
    overlay = CONFIGS / "overlays" / "gpu.yaml"
    trainer = resolved(["-c", CONFIGS / "gru.yaml", "-c", overlay], capsys)["trainer"]
    assert trainer["accelerator"] == "gpu"
    assert trainer["devices"] == "auto"
    assert trainer["precision"] == "bf16-mixed"


def test_overlays_are_small() -> None:
    assert all(len(o.read_text().splitlines()) <= 15 for o in OVERLAYS)


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_recipe_runs_and_its_resolved_config_reproduces_the_run(
    recipe: Path, text: Path, pairs: Path, tmp_path: Path
) -> None:
    is_paired = "target_column" in recipe.read_text()
    options = [
        "--data.train",
        pairs if is_paired else text,
        "--trainer.max_epochs",
        -1,
        "--trainer.max_steps",
        2,
    ]
    options += ["--threads", 1, "--trainer.log_every_n_steps", 1]
    assert run_seqae("fit", "-c", recipe, *options, "--run_dir", tmp_path / "first") == 0
    assert run_seqae("check", tmp_path / "first") == 0
    again = ["-c", tmp_path / "first" / "config.yaml", "--run_dir", tmp_path / "second"]
    assert run_seqae("fit", *again) == 0
    assert len(figures(tmp_path / "first")) >= 2
    assert figures(tmp_path / "second") == figures(tmp_path / "first")
    configs = [(tmp_path / run / "config.yaml").read_text() for run in ("first", "second")]
    assert configs[0] == configs[1]
