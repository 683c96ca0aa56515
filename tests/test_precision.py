"""Precisions: each trains on a CPU, writes a float32 bundle, and does what its name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import CONFIGS, figures, numbered, read_rows, run_seqae, write_recipe, write_text

from seqae.model.half_precision import trains_in_half_precision
from seqae.model.recurrent import LSTMStack
from seqae.training.optimization.precision import has_half_precision, set_tf32


def train(folder: Path, name: str, *options: object) -> int:
    text = folder / "text.txt"
    if not text.exists():
        write_text(text, numbered(60))
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / name]
    arguments += ["--trainer.max_epochs", 4, "--trainer.check_val_every_n_epoch", 4]
    return run_seqae("fit", *arguments, *options)


class Types(Callback):
    """Write down the types of weights, and of torch by default, within a step."""

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert torch.get_default_dtype() == torch.float32
        found = {weight.dtype for weight in pl_module.parameters()}
        half = torch.bfloat16 if str(trainer.precision) == "bf16-true" else torch.float32
        assert found == {half}
        assert optimizer.defaults["fused"]
        has_scaler = getattr(trainer.precision_plugin, "scaler", None) is not None
        assert has_scaler == (str(trainer.precision) == "16-mixed")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
def test_each_precision_trains_and_writes_a_bundle(tmp_path: Path, precision: str) -> None:
    options = ["--trainer.precision", precision, "--trainer.callbacks", "test_precision.Types"]
    assert train(tmp_path, "run", *options) == 0
    losses = [row["train/loss"] for row in figures(tmp_path / "run") if "train/loss" in row]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert run_seqae("check", tmp_path / "run") == 0
    weights = safetensors.torch.load_file(tmp_path / "run" / "bundle" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


PARTS: list[list[str]] = [
    [
        "--model.autoencoder.latent=GaussianLatent",
        "--model.autoencoder.latent.batch_norm=0.4",
        "--model.objective=Variational",
    ],
    ["--model.autoencoder.latent=VonMisesFisherLatent", "--model.objective=Variational"],
    ["--model.autoencoder.latent=VectorQuantisedLatent"],
    ["--model.objective=WassersteinMMD", "--model.autoencoder.latent=DeterministicLatent"],
    ["--model.objective=Adversarial", "--model.objective.delete=0.2"],
    [
        "--model.autoencoder.encoder=TransformerEncoder",
        "--model.autoencoder.encoder.norm_type=rms",
        "--model.autoencoder.decoder=TransformerDecoder",
    ],
    [
        "--model.autoencoder.encoder=DenseEncoder",
        "--model.autoencoder.decoder=DenseDecoder",
        "--model.objective=MeanSquaredError",
        "--model.autoencoder.head=nearest",
        "--model.autoencoder.train_embedding=false",
    ],
    ["--model.autoencoder.encoder=LSTMEncoder", "--model.autoencoder.decoder=LSTMDecoder"],
]


@pytest.mark.parametrize(
    ("parts", "precision"),
    [
        pytest.param(
            parts,
            precision,
            # By default each part has one of the two, in turn.
            marks=() if (number + index) % 2 == 0 else pytest.mark.slow,
        )
        for number, parts in enumerate(PARTS)
        for index, precision in enumerate(("16-mixed", "bf16-true"))
    ],
)
def test_all_parts_train_in_half_precision(
    tmp_path: Path, parts: list[str], precision: str
) -> None:
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    if "LSTM" in parts[0] and not trains_in_half_precision(
        LSTMStack, dtype, autocast=precision.endswith("mixed")
    ):
        pytest.skip("torch has no kernel; the next test")
    options = [*parts, "--trainer.precision", precision, "--trainer.max_epochs", 2]
    options += ["--trainer.check_val_every_n_epoch", 2]
    assert train(tmp_path, "run", *options) == 0
    assert run_seqae("check", tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("precision", "sides"),
    [("16-mixed", ["encoder"]), ("bf16-mixed", ["decoder"]), ("bf16-true", ["encoder", "decoder"])],
)
def test_an_lstm_without_kernels_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    sides: list[str],
) -> None:
    monkeypatch.setattr(
        "seqae.training.optimization.precision.trains_in_half_precision",
        lambda stack_type, dtype, autocast: stack_type is not LSTMStack,
    )
    options = [f"--model.autoencoder.{side}=LSTM{side.capitalize()}" for side in sides]
    options += [f"--trainer.precision={precision}", "--trainer.max_steps=1"]
    assert train(tmp_path, "run", *options) == 1
    (said,) = capsys.readouterr().err.splitlines()
    name = f"LSTM{sides[0].capitalize()}"
    assert f"`trainer.precision` must not be {precision} for {name} on this CPU" in said
    assert said.endswith("Set 32-true.")
    assert not (tmp_path / "run").exists()


def test_the_scaler_goes_on_where_it_was(tmp_path: Path) -> None:
    """A scale that has been changed since the start is in the checkpoint; losses are bit-equal."""
    options = ["--trainer.precision", "16-mixed", "--checkpoint.every_n_steps", 5]
    options += ["--trainer.callbacks", "test_precision.Falling"]
    assert train(tmp_path, "run", *options) == 0
    expected = figures(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    saved = torch.load(checkpoints / "last.ckpt", weights_only=True)
    assert saved["MixedPrecision"]["scale"] < 2.0**16
    assert train(tmp_path, "stopped", *options, "--checkpoint.keep", 100) == 0
    last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    last.unlink()
    last.symlink_to("step=5.ckpt")
    assert run_seqae("fit", "--resume", tmp_path / "stopped") == 0
    assert figures(tmp_path / "stopped") == expected


class Falling(Callback):
    """An overflow at the second step, so that the scale falls and the step is left out."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 1:
            next(pl_module.parameters()).grad.fill_(torch.inf)  # type: ignore[union-attr]


def test_a_cpu_without_the_instructions_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("avx512_bf16", "amx_tile", "amx_fp16"):
        monkeypatch.setattr(f"torch.cpu._is_{name}_supported", lambda: False)
    assert not has_half_precision("bf16-mixed")
    assert train(tmp_path, "run", "--trainer.precision", "bf16-mixed") == 0
    told = [record.getMessage() for record in caplog.records]
    assert sum("no instructions for `trainer.precision: bf16-mixed`" in line for line in told) == 1


@pytest.mark.parametrize("precision", ["16-true", "64-true", "transformer-engine"])
def test_other_precisions_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    assert train(tmp_path, "run", "--trainer.precision", precision) == 1
    assert "`trainer.precision` must be one of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_overlay_for_gpus_runs_on_a_cpu(tmp_path: Path) -> None:
    """Less what only a GPU has."""
    options = ["-c", CONFIGS / "overlays" / "gpu.yaml", "--trainer.accelerator", "cpu"]
    options += ["--trainer.devices", 1, "--tf32", "false", "--data.num_workers", 0]
    assert train(tmp_path, "run", *options, "--trainer.max_epochs", 1) == 0


def test_tf32_is_refused_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "run", "--tf32", "true") == 1
    assert "`tf32` must be false" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    set_tf32(False, torch.device("cpu"))


def test_clipping_and_a_fused_optimizer_go_together(tmp_path: Path) -> None:
    """As without mixed precision: the gradient's norm is held."""
    options: list[Any] = ["--trainer.gradient_clip_val", 0.001, "--trainer.max_steps", 2]
    options += ["--trainer.callbacks", "test_precision.Clipped", "--data.val_percent", 0]
    for precision in ("32-true", "bf16-mixed", "16-mixed"):
        assert train(tmp_path, precision, *options, "--trainer.precision", precision) == 0
        rows = read_rows(tmp_path / precision / "metrics.jsonl")
        assert any("train/loss" in row for row in rows)


class Clipped(Callback):
    """The gradients with which the optimizer has stepped."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        gradients = [w.grad for w in pl_module.parameters() if w.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))
        assert 0 < float(norm) <= 0.00101
