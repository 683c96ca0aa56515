"""Numbers that are not finite: no update with them, none saved, none loaded."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks import FORKS, run_on_ranks
from small import figures, numbered, read_rows, run_seqae, write_recipe, write_text

from seqae.objectives.reconstruction import Reconstruction
from seqae.training.checkpoints.callback import newest_checkpoint
from seqae.training.checkpoints.integrity import write_hashed


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("recipe")
    text = write_text(folder / "numbered.txt", numbered(70))
    options = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 10]
    return [*options, "--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]


def spoil_the_loss(
    monkeypatch: pytest.MonkeyPatch, value: float, step: int, rank: str | None = None
) -> None:
    """Let the loss of a step be this, on one rank or on all."""
    forward = Reconstruction.forward

    def spoilt(self: Any, model: Any, batch: Any, now: int, generator: Any) -> dict[str, Any]:
        values = forward(self, model, batch, now, generator)
        if now == step and model.training and rank in (None, os.environ.get("RANK")):
            values["loss"] = values["loss"] * value
        return values

    monkeypatch.setattr(Reconstruction, "forward", spoilt)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_update(
    recipe: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        spoil_the_loss(patch, value, 8)
        assert run_seqae("fit", *recipe, "--run_dir", run) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"`loss` must be finite, but it is {value:g} at step 8, batch 1 of epoch 1" in said
    assert "on process 0. Go on from the last checkpoint" in said
    newest = newest_checkpoint(run / "checkpoints")
    assert newest == run / "checkpoints" / "step=8.ckpt"
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 8
    if math.isnan(value):  # nothing is wrong with what was saved; once is enough
        assert run_seqae("fit", "--resume", run) == 0
        assert run_seqae("fit", *recipe, "--run_dir", tmp_path / "whole") == 0
        assert figures(run) == figures(tmp_path / "whole")


@FORKS
def test_a_loss_of_one_process_stops_both(
    recipe: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names the process whose loss it was."""
    run = tmp_path / "run"
    spoil_the_loss(monkeypatch, float("nan"), 3, "1")
    assert run_on_ranks(tmp_path, "fit", *recipe, "--run_dir", run) == [1, 1]
    for rank in (0, 1):
        said = (tmp_path / f"rank{rank}.txt").read_text()
        assert "it is nan at step 3, batch 3 of epoch 0, on process 1. Go on" in said
        assert said.count("seqae: error:") == 1
        assert "Traceback" not in said
    assert newest_checkpoint(run / "checkpoints") == run / "checkpoints" / "step=3.ckpt"


class Spoiler(Callback):
    """Put a NaN into a weight, or into a moving average, behind a step.

    Args:
        name: ends the name of the tensor.
        step: optimizer steps taken by then.
        rank: on which it happens.
    """

    def __init__(self, name: str, step: int, rank: int = 0) -> None:
        self.name, self.step, self.rank = name, step, rank

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *rest: object
    ) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            for name, tensor in [*pl_module.named_parameters(), *pl_module.named_buffers()]:
                if name.endswith(self.name):
                    tensor.detach().view(-1)[0] = float("nan")


VQ = ["--model.autoencoder.latent", "VectorQuantisedLatent"]
VQ += ["--model.autoencoder.latent.latent_dim", "16"]


@pytest.mark.parametrize("name", ["decoder.bound.weight", "codebook"])
def test_what_is_not_finite_is_not_saved(
    recipe: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = tmp_path / "run"
    options = [*(VQ if name == "codebook" else []), "--trainer.callbacks", "test_finite.Spoiler"]
    options += ["--trainer.callbacks.name", name, "--trainer.callbacks.step", 4]
    assert run_seqae("fit", *recipe, *options, "--run_dir", run) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{name}` must be finite to be saved, but it has NaN or infinity at step 4" in said
    assert newest_checkpoint(run / "checkpoints") == run / "checkpoints" / "step=3.ckpt"


@FORKS
def test_what_is_not_finite_on_one_process_is_refused_by_both(
    recipe: list[object], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = [*VQ, "--trainer.callbacks", "test_finite.Spoiler"]
    options += ["--trainer.callbacks.name", "codebook", "--trainer.callbacks.step", 2]
    options += ["--trainer.callbacks.rank", 1, "--run_dir", run]
    assert run_on_ranks(tmp_path, "fit", *recipe, *options) == [1, 1]
    for rank in (0, 1):
        said = (tmp_path / f"rank{rank}.txt").read_text()
        assert "must be finite to be saved, but it has NaN or infinity at step 2" in said
        assert "Traceback" not in said
    assert newest_checkpoint(run / "checkpoints") == run / "checkpoints" / "step=1.ckpt"


def test_what_is_not_finite_is_not_loaded(
    recipe: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint with a right hash, from a version that did not look."""
    run = tmp_path / "run"
    assert run_seqae("fit", *recipe, "--trainer.max_epochs", 1, "--run_dir", run) == 0
    newest = newest_checkpoint(run / "checkpoints")
    assert newest is not None
    checkpoint = torch.load(newest, weights_only=True)
    name = "autoencoder.encoder.bound.weight"
    checkpoint["state_dict"][name][0, 0] = float("inf")
    write_hashed(newest, lambda file: torch.save(checkpoint, file))  # type: ignore[arg-type]
    before = (run / "metrics.jsonl").read_text()
    capsys.readouterr()
    for arguments in (["fit", "--resume", run, "--trainer.max_epochs", 2], ["test", run]):
        assert run_seqae(*arguments) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"`{name}` must be finite to be loaded" in said
    assert (run / "metrics.jsonl").read_text() == before
    assert run_seqae("fit", "--resume", run, "--ckpt_path", newest.with_name("step=3.ckpt")) == 0
