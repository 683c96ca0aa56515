"""Other names for commands and options."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small import run_seqae, write_recipe, write_text

from seqae.cli import TASKS, TRAINING, help_page
from seqae.synonyms import ADVICE, COMMANDS, OPTIONS, expand


def test_a_synonym_is_no_command_of_its_own() -> None:
    assert set(COMMANDS.values()) <= {*TRAINING, *TASKS}
    assert not COMMANDS.keys() & {*TRAINING, *TASKS}
    assert not ADVICE.keys() & OPTIONS.keys()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["-c", "gru", "--lr", "1e-3"], ["-c", "gru", "--model.learning_rate", "1e-3"]),
        (["--train=lr.txt"], ["--data.train=lr.txt"]),
        (["--data.train", "epochs"], ["--data.train", "epochs"]),
        (["--max_steps", "9"], ["--trainer.max_epochs=-1", "--trainer.max_steps", "9"]),
        (
            ["--max_steps=9", "--epochs", "2"],
            ["--trainer.max_steps=9", "--trainer.max_epochs", "2"],
        ),
        (["--trainer.max_steps", "9"], ["--trainer.max_steps", "9"]),
        (["--density_sentences", "0"], ["--prior_sentences", "0"]),
    ],
)
def test_short_options(given: list[str], meant: list[str]) -> None:
    assert expand(given) == meant


def test_train_with_short_options(tmp_path: Path) -> None:
    """Steps count, although the recipe has three epochs, of which one is 12 steps."""
    text = write_text(tmp_path / "text.txt")
    options = ["--train", text, "--lr", "2e-3", "--max_steps", 38, "--run_dir", tmp_path / "run"]
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + "\ndensity_sentences: 20\n")  # as it was called before
    assert run_seqae("train", "-c", recipe, *options) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["prior_sentences"] == 20
    assert "density_sentences" not in config
    assert config["model"]["learning_rate"] == 2e-3
    assert config["trainer"]["max_steps"] == 38
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert '"step": 38' in rows[-1]


def test_a_synonym_has_the_page_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("generate", "-h") == 0
    assert capsys.readouterr().out == help_page("sample")


def test_what_has_no_key_gets_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("fit", "-c", "gru", "--batch_size", 32) == 2
    said = capsys.readouterr().err
    assert said.startswith("seqae: error: `batch_size` is not known. A batch is measured in tokens")
