"""What is imported when: the light things stay light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from small import COMMAND

import seqae

HEAVY = ("torch", "lightning", "wandb", "datasets", "jsonargparse", "sklearn", "numpy")


def modules_after(code: str) -> set[str]:
    """The top-level modules of a fresh process that has run this."""
    tell = "import json, sys; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    command = [sys.executable, "-c", f"{code}\n{tell}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_seqae_imports_nothing_heavy() -> None:
    assert not modules_after("import seqae").intersection(HEAVY)


def test_help_imports_nothing_heavy() -> None:
    code = "from seqae.cli import main\nassert main(['--help']) == 0"
    assert not modules_after(code).intersection(HEAVY)


def test_recipes_are_listed_without_anything_heavy() -> None:
    code = "from seqae.cli import main\nassert main(['recipes']) == 0"
    assert not modules_after(code).intersection(HEAVY)


def test_a_model_is_used_without_lightning() -> None:
    after = modules_after("import seqae\nseqae.load\nimport seqae.tasks.encode_decode")
    assert "torch" in after
    assert not after & {"lightning", "wandb", "datasets"}


@pytest.mark.slow  # by default a whole training shows it, in test_wandb.py
def test_training_does_not_import_wandb() -> None:
    code = "import runpy, seqae.training.lightning_cli as c\nc.TrainingCLI"
    assert not modules_after(code) & {"wandb", "datasets"}


def test_public_names_resolve() -> None:
    assert seqae.__version__
    for name in seqae.__all__:
        assert name in dir(seqae)
        assert name == "__version__" or getattr(seqae, name).__name__ == name


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seqae.nothing  # noqa: B018


def test_the_command_is_installed() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, timeout=100)
    assert done.stdout == f"seqae {seqae.__version__}\n"
