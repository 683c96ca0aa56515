"""The callbacks that every training has."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from small import SENTENCES, figures, numbered, read_rows, run_seqae, write_recipe, write_text

from seqae.batch import Batch
from seqae.objectives import Reconstruction
from seqae.training.callbacks import throughput
from seqae.training.callbacks.best_bundle import BundleWriter
from seqae.training.callbacks.random_state import RandomState
from seqae.training.callbacks.sample_reconstructions import SampleReconstructions
from seqae.training.callbacks.throughput import Throughput
from seqae.training.module import AutoencoderModule

MODULE = AutoencoderModule(contracts.make_model(), Reconstruction())


# Throughput


def test_throughput_leaves_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: now))
    logged: dict[str, float] = {}
    module: Any = SimpleNamespace(
        device=torch.device("cpu"), log=lambda name, value: logged.update({name: float(value)})
    )
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value * 3)  # three such ranks
    trainer: Any = SimpleNamespace(strategy=strategy, log_every_n_steps=2, global_step=0)
    batch = Batch(torch.zeros(2, 6, dtype=torch.int64), torch.tensor([6, 4]))  # 5 + 3 targets
    meter = Throughput()
    meter.on_train_start(trainer, module)
    for step in (1, 2):
        trainer.global_step = step
        now += 2.0
        if step == 2:
            meter.on_validation_start(trainer, module)
            now += 100.0
            meter.on_validation_end(trainer, module)
        meter.on_train_batch_end(trainer, module, None, batch, step)
    assert logged == {"train/tokens_per_second": pytest.approx(3 * 16 / 4.0)}
    assert meter.state_dict() == {"tokens": 16}


def test_throughput_is_logged(overfit_run: Path) -> None:
    rows = read_rows(overfit_run / "metrics.jsonl")
    speeds = [r["train/tokens_per_second"] for r in rows if "train/tokens_per_second" in r]
    assert speeds
    assert min(speeds) > 0


# Sample reconstructions


def test_samples_are_shown_after_each_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ["--data.train", text, "--data.val", text, "--run_dir", tmp_path / "run"]
    recipe = write_recipe(tmp_path)
    assert run_seqae("fit", "-c", recipe, *options, "--samples", 5) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    shown = [line for line in lines if " = " in line or " ≠ " in line]
    assert len(shown) == 3 * 5
    first = [line.split(" ≠ ")[0].split(" = ")[0].strip() for line in shown]
    assert first[:5] == first[5:10] == first[10:]  # the same sentences, to be watched
    assert "null" in first  # the first of the corpus
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("count", [-1, 1001])
def test_refuses_a_number_of_samples(count: int) -> None:
    with pytest.raises(ValueError, match="`count` must be between"):
        SampleReconstructions(count)


# The bundle of the best


def best_of(values: list[float], mode: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Which of the models, measured in this order, were written."""
    written: list[float] = []
    writer = BundleWriter("bundle", mode=mode)
    monkeypatch.setattr(writer, "_write", lambda trainer, module: written.append(value))
    for value in values:
        trainer: Any = SimpleNamespace(
            sanity_checking=False,
            global_step=1,
            callback_metrics={"val/token_accuracy": torch.tensor(value)},
        )
        writer.on_validation_end(trainer, MODULE)
    return written


@pytest.mark.parametrize(("mode", "expected"), [("max", [0.25, 0.5, 0.75]), ("min", [0.25, 0.125])])
def test_the_best_is_kept(
    mode: str, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [float("nan"), 0.25, 0.5, 0.5, float("nan"), 0.125, 0.75]
    assert best_of(values, mode, monkeypatch) == expected


def test_the_best_so_far_survives_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, again = BundleWriter("bundle"), BundleWriter("bundle")
    writer.best, writer.validated_step = 0.5, 7
    again.load_state_dict(writer.state_dict())
    assert (again.best, again.validated_step) == (0.5, 7)


def test_a_figure_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["--data.train", text, "--data.val_percent", 20, "--monitor", "val/acuracy"]
    recipe = write_recipe(tmp_path)
    assert run_seqae("fit", "-c", recipe, *options, "--run_dir", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert said.startswith("seqae: error: `monitor` must be one of val/token_accuracy")
    assert said.count("\n") == 1


def test_the_last_model_is_kept_without_validation(tmp_path: Path) -> None:
    import json

    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["--data.train", text, "--data.val_percent", 0, "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), *options) == 0
    training = json.loads((tmp_path / "run" / "bundle" / "training.json").read_text())
    assert training["optimizer_steps"] == figures(tmp_path / "run")[-1]["step"]
    assert run_seqae("check", tmp_path / "run") == 0


def test_the_last_model_is_measured(tmp_path: Path) -> None:
    """A run that stops between two validations measures what it ends with."""
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["--data.train", text, "--data.val_percent", 20, "--run_dir", tmp_path / "run"]
    limit = ["--trainer.max_epochs", -1, "--trainer.max_steps", 3]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), *options, *limit) == 0
    last = figures(tmp_path / "run")[-1]
    assert last["step"] == 3
    assert "val/exact_match" in last


def test_the_bundle_says_how_it_was_trained(overfit_run: Path) -> None:
    import json

    training = json.loads((overfit_run / "bundle" / "training.json").read_text())
    assert training["processes"] == 1
    assert training["tokens"] > 0
    assert training["config"]["model"]["autoencoder"]["latent"]["class_path"] == (
        "DeterministicLatent"
    )
    metrics = json.loads((overfit_run / "bundle" / "metrics.json").read_text())
    assert metrics["val/exact_match"] == 1.0
    assert not [name for name in metrics if name.startswith("train/")]


# Random state


def draw() -> tuple[float, float, float]:
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_random_state_is_restored_at_the_first_step() -> None:
    keeper, again = RandomState(), RandomState()
    state = keeper.state_dict()
    expected = draw()
    again.load_state_dict(state)
    draw()  # what comes between loading and the first step
    trainer: Any = SimpleNamespace(world_size=1, global_rank=0)
    again.on_train_batch_start(trainer, MODULE, None, 0)
    assert draw() == expected
    after = draw()
    again.on_train_batch_start(trainer, MODULE, None, 1)  # only once
    assert draw() != after


def test_random_state_of_another_number_of_ranks_is_left_alone() -> None:
    again = RandomState()
    again.load_state_dict(RandomState().state_dict())
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    trainer: Any = SimpleNamespace(world_size=2, global_rank=1)
    again.on_train_batch_start(trainer, MODULE, None, 0)
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_bundle_says_how_many_epochs_were_trained(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 2]
    options += ["--trainer.check_val_every_n_epoch", 5, "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *options) == 0
    training = json.loads((tmp_path / "run" / "bundle" / "training.json").read_text())
    assert training["epochs"] == 2
