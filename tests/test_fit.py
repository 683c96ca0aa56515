"""`seqae.fit` is the command `seqae fit`, called from Python, and leaves the process as it was."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import yaml
from small import SENTENCES, figures, run_seqae, write_recipe

import seqae
from seqae.data.tokenizers import BPETokenizer
from seqae.model.encoders import GRUEncoder
from seqae.training.callbacks.preemption import TIME_IS_UP, Preemption

TEXTS = [*SENTENCES, *(f"{text} again" for text in SENTENCES)]
QUIET: dict[str, Any] = {"trainer": {"enable_progress_bar": False}, "samples": 0}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["script.py", "--flag"])
    logger = logging.getLogger("seqae")
    handlers, level = [*logger.handlers], logger.level
    yield
    logger.handlers, logger.level = handlers, level
    assert sys.argv == ["script.py", "--flag"]
    assert "SEQAE_RUN_TIME" not in os.environ


def fit(*texts: Any, **options: Any) -> seqae.TextAutoencoder:
    return seqae.fit(*texts, **{**QUIET, **options})


def test_the_same_run_as_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    model = fit(iter(TEXTS), recipe, max_steps=2, run_dir="a", checkpoint={"every_n_steps": 1})
    said = capsys.readouterr().out
    assert "run folder: a\n" in said
    assert "bundle: a/bundle\n" in said
    assert model.reconstruct("a dog") == seqae.load("a").reconstruct("a dog")
    config = yaml.safe_load(Path("a/config.yaml").read_text())
    assert config["data"]["train"].startswith("memory:")

    # The command finds what was prepared from these sentences, and trains the same.
    options = ["--samples", 0, "--checkpoint.every_n_steps", 1, "--max_steps", 2]
    options += ["--trainer.enable_progress_bar", "false", "--data.train", config["data"]["train"]]
    assert run_seqae("fit", "-c", recipe, "--run_dir", "b", *options) == 0
    assert yaml.safe_load(Path("b/config.yaml").read_text()) == config
    assert figures(Path("a")) == figures(Path("b"))

    fit(TEXTS, resume="b", max_steps=np.int64(3))
    assert seqae.load("b").details["training"]["optimizer_steps"] == 3

    message = contracts.refusal(fit, TEXTS[1:], resume="a", max_steps=4)
    assert message.startswith("`data.train` must be the sentences of the resumed run")
    message = contracts.refusal(fit, recipe=recipe, resume="a")
    assert message.startswith("`recipe` must not be given beside `resume`")


def test_parts_pairs_and_keys(tmp_path: Path) -> None:
    pairs = [(text, text[::-1]) for text in TEXTS]
    fit(
        pairs,
        write_recipe(tmp_path),
        val=pairs[:4],
        max_steps=1,
        run_dir=tmp_path / "run",
        data={"tokenizer": BPETokenizer(280), "test_percent": np.int8(0)},
        **{"model.autoencoder.encoder": GRUEncoder(8), "model.learning_rate": np.float32(0.5)},
    )
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["data"]["reading"]["target_column"] == "target"
    assert config["data"]["tokenizer"]["init_args"]["vocab_size"] == 280
    assert config["data"]["test_percent"] == 0
    assert config["model"]["autoencoder"]["encoder"]["init_args"]["hidden_dim"] == 8
    assert config["model"]["learning_rate"] == 0.5
    assert config["trainer"]["max_epochs"] == -1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nmae": 1}, "`nmae` is not known. Did you mean `name`?"),
        ({"lr": 20}, "`model.learning_rate` must be between 0.0 and 10.0, but it is 20.0"),
        ({"trainer": {"callbacks": object()}}, "`trainer.callbacks` must be plain data or a part"),
        ({"train": [1]}, "`train` must be texts, but the item at index 0 is an int"),
        ({"train": None}, "`train` must be a sentence or a list of sentences, but it is None"),
        (
            {"train": ["a", None]},
            "`train` must be texts, but the item at index 1 is missing (None)",
        ),
        ({"recipe": "gruu"}, "`recipe` must be a file or the name of a recipe, but it is gruu"),
        ({"resume": "no/run"}, "`resume` must be the folder of a run with a checkpoint"),
    ],
)
def test_a_mistake_is_a_value_error_of_one_line(
    options: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contracts.refusal(fit, **{"train": TEXTS, **options}).startswith(words)
    assert capsys.readouterr() == ("", "")
    assert not Path("runs").exists()


def test_a_trained_tokenizer_is_refused() -> None:
    tokenizer = BPETokenizer(300)
    tokenizer.train(TEXTS)
    message = contracts.refusal(fit, TEXTS, data={"tokenizer": tokenizer})
    assert message.startswith("`data.tokenizer` must be an untrained tokenizer")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`data.train` must be a file"):
        fit("missing.txt", write_recipe(tmp_path))


@pytest.mark.parametrize("reason", ["SIGINT", TIME_IS_UP])
def test_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """Ctrl-C stays one, when all is saved; when the time is up, the best model is there."""
    is_asked = Preemption._is_asked

    def ask(self: Preemption, trainer: Any, always_vote: bool) -> bool:
        self._reason = reason if trainer.global_step == 2 else None
        return is_asked(self, trainer, always_vote)

    monkeypatch.setattr(Preemption, "_is_asked", ask)
    options = {"max_steps": 4, "trainer": {**QUIET["trainer"], "val_check_interval": 1}}

    def train() -> Any:
        return fit(TEXTS, write_recipe(tmp_path), run_dir="run", **options)

    if reason == TIME_IS_UP:
        assert train().details["training"]["optimizer_steps"] in (1, 2)
        return
    with pytest.raises(KeyboardInterrupt):
        train()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_in_a_thread_of_an_application(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        model = pool.submit(fit, TEXTS, write_recipe(tmp_path), max_steps=1, run_dir="run").result()
    assert model.details["training"]["optimizer_steps"] == 1
