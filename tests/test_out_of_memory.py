"""Out of memory: parts of a batch add up to its gradient, or the training ends in one line."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, final

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import ROOT, figures, numbered, run_seqae, write_recipe, write_text
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives import Reconstruction
from seqae.objectives.likelihood import LikelihoodObjective


class _Full(torch.autograd.Function):
    """Passes values on; its backward pass finds the memory full."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@final
class SmallMemory(LikelihoodObjective):
    """Reconstruction on a device that holds so many tokens, padding counted.

    Args:
        forward_tokens: that fit the forward pass.
        backward_tokens: that fit the backward pass.
        rank: only this process has so little memory; -1: all.
    """

    tries: ClassVar[list[int]] = []

    def __init__(
        self, forward_tokens: int = 10**9, backward_tokens: int = 10**9, rank: int = -1
    ) -> None:
        super().__init__(0.0, 0.0)
        self.forward_tokens, self.backward_tokens = forward_tokens, backward_tokens
        self.rank = rank

    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        values = Reconstruction.forward(self, model, batch, step, generator)  # type: ignore[arg-type]
        is_small = self.rank in (-1, int(os.environ.get("LOCAL_RANK", "0")))
        if model.training and is_small:
            self.tries.append(batch.token_ids.numel())
            if batch.token_ids.numel() > self.forward_tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            if batch.token_ids.numel() > self.backward_tokens:
                values["loss"] = _Full.apply(values["loss"])
        return values

    alignment_weight = 0.0


class Gradients(Callback):
    """Keep the gradients of each optimizer step."""

    kept: ClassVar[list[list[Tensor]]] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        weights = [w for w in pl_module.parameters() if w.grad is not None]
        self.kept.append([weight.grad.clone() for weight in weights])  # type: ignore[union-attr]


def train(folder: Path, name: str, objective: dict[str, int], *options: object) -> int:
    """Three steps of the small recipe."""
    text = folder / "text.txt"
    if not text.exists():
        write_text(text, numbered(60))
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / name]
    arguments += ["--model.objective", "test_out_of_memory.SmallMemory"]
    arguments += [f"--model.objective.{key}={value}" for key, value in objective.items()]
    arguments += ["--trainer.max_steps", 3, "--trainer.max_epochs", -1, "--data.val_percent", 0]
    arguments += ["--trainer.callbacks", "test_out_of_memory.Gradients", *options]
    SmallMemory.tries.clear()
    Gradients.kept.clear()
    return run_seqae("fit", *arguments)


def gradients() -> list[list[Tensor]]:
    return list(Gradients.kept)


@pytest.mark.parametrize("limit", ["forward_tokens", "backward_tokens"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_parts_have_the_gradient_of_the_whole(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    limit: str,
    accumulate: int,
    precision: str,
) -> None:
    options = ["--trainer.accumulate_grad_batches", accumulate, "--trainer.precision", precision]
    assert train(tmp_path, "whole", {}, *options) == 0
    expected, whole = gradients(), figures(tmp_path / "whole")
    with caplog.at_level(logging.WARNING, "seqae"):
        assert train(tmp_path, "parts", {limit: 40}, *options) == 0
    for ours, theirs in zip(gradients(), expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one - other).norm() <= tolerance(precision) * other.norm()
    for one, other in zip(figures(tmp_path / "parts"), whole, strict=True):
        assert one == pytest.approx(other, rel=tolerance(precision))
    told = [record.getMessage() for record in caplog.records if "out of memory" in record.message]
    assert len(told) == 1
    assert "`data.batch_tokens`" in told[0]


def tolerance(precision: str) -> float:
    return 1e-4 if precision == "32-true" else 0.03


def test_a_size_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    options = ["--data.round_length", 16, "--data.round_rows", 4]
    assert train(tmp_path, "run", {"forward_tokens": 40}, *options) == 0
    assert [tokens for tokens in SmallMemory.tries if tokens > 40].count(
        max(SmallMemory.tries)
    ) == 1


def test_gradients_of_earlier_batches_survive_a_failed_pass(tmp_path: Path) -> None:
    """The second batch of an accumulation fails in its backward pass, after the first passed."""
    options = ["--trainer.accumulate_grad_batches", 4, "--trainer.max_steps", 1]
    assert train(tmp_path, "whole", {}, *options) == 0
    (expected,) = gradients()
    sizes = list(SmallMemory.tries)
    assert sizes[0] < max(sizes), "the first batch must fit"
    assert train(tmp_path, "parts", {"backward_tokens": sizes[0]}, *options) == 0
    (found,) = gradients()
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_one_sentence_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "run", {"forward_tokens": 4}) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in ("`data.batch_tokens`", "`trainer.accumulate_grad_batches`", "single sentence"):
        assert part in error


@pytest.mark.parametrize(
    "options",
    [
        ["--model.objective", "WassersteinMMD"],
        ["--model.autoencoder.latent", "VectorQuantisedLatent"],
        ["--model.objective", "Variational", "--model.objective.free_bits", 0.1],
    ],
)
def test_what_looks_at_the_whole_batch_is_not_cut(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[object],
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("seqae.objectives.likelihood.linear_cross_entropy", full)
    if "Variational" in options:
        options = [*options, "--model.autoencoder.latent", "GaussianLatent"]
    text = write_text(tmp_path / "text.txt", numbered(60))
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, *options]
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "looks at all its sentences together" in error
    assert error.count("\n") == 1


TWO = ("--trainer.devices", 2, "--trainer.strategy", "ddp")


def in_processes(
    folder: Path, name: str, limits: dict[str, int]
) -> subprocess.CompletedProcess[str]:
    """The same training in two processes."""
    text = write_text(folder / "text.txt", numbered(60))
    arguments = [
        "fit",
        "-c",
        write_recipe(folder),
        "--data.train",
        text,
        "--run_dir",
        folder / name,
    ]
    arguments += ["--model.objective", "test_out_of_memory.SmallMemory"]
    arguments += [f"--model.objective.{key}={value}" for key, value in limits.items()]
    arguments += ["--trainer.max_steps", 3, "--trainer.max_epochs", -1, "--data.val_percent", 0]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=paths)
    command = [sys.executable, "-m", "seqae", *map(str, (*arguments, *TWO))]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200
    )


@pytest.mark.slow
def test_parts_on_one_of_two_processes(tmp_path: Path) -> None:
    assert in_processes(tmp_path, "whole", {}).returncode == 0
    done = in_processes(tmp_path, "parts", {"forward_tokens": 40, "rank": 1})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("out of memory") == 1
    whole, parts = figures(tmp_path / "whole"), figures(tmp_path / "parts")
    for one, other in zip(parts, whole, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_a_failed_exchange_ends_all_processes(tmp_path: Path) -> None:
    done = in_processes(tmp_path, "run", {"backward_tokens": 40, "rank": 1})
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "`data.batch_tokens`" in line]
    assert len(told) == 1
    assert "on their way to the other processes" in told[0]
