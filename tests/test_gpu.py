"""What only a GPU can show. scripts/gpu_selftest runs these, on a CPU too to try the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts import make_model, random_batch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import CONFIGS, ROOT, figures, numbered, run_seqae, write_recipe, write_text
from torch import Generator

from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import ByteTokenizer
from seqae.model import cross_entropy
from seqae.model import transformer as attention
from seqae.model.decoders import TransformerDecoder
from seqae.model.encoders import TransformerEncoder
from seqae.objectives import Reconstruction

DEVICE = os.environ.get("SEQAE_TEST_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings(
        "ignore:.*torch.jit.script_method:DeprecationWarning",
        "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    ),
]

needs_gpu = pytest.mark.skipif(not ON_GPU, reason="on a GPU only")
MODELS = {
    "gru": (),
    "transformer": (
        "--model.autoencoder.encoder=TransformerEncoder",
        "--model.autoencoder.decoder=TransformerDecoder",
    ),
}
each_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products in float32 are what they say; cuBLAS adds up in one order."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    precision, allowed = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = allowed


def options(folder: Path, name: str, devices: int = 1) -> list[object]:
    text = folder / "text.txt"
    if not text.exists():
        write_text(text, numbered(200))
    return [
        *("-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / name),
        *("--trainer.accelerator", "gpu" if ON_GPU else "cpu", "--trainer.devices", devices),
        *("--trainer.max_epochs", 3, "--trainer.check_val_every_n_epoch", 3),
    ]


def losses(run: Path) -> list[float]:
    return [row["train/loss"] for row in figures(run) if "train/loss" in row]


# One device


@each_model
def test_same_loss_and_gradients_as_a_cpu(model: str) -> None:
    parts: dict[str, Any] = {}
    if model == "transformer":
        sizes: dict[str, Any] = {"hidden_dim": 32, "num_heads": 2, "feedforward_dim": 64}
        parts = {"encoder": TransformerEncoder(**sizes), "decoder": TransformerDecoder(**sizes)}
    found = make_model(**parts).train()
    batch, objective = random_batch(), Reconstruction(word_dropout=0.2, label_smoothing=0.1)
    gradients = []
    for device in ("cpu", DEVICE):
        found = found.to(device)
        found.zero_grad()
        there = batch.to(device, non_blocking=True)
        loss = objective(found, there, 0, Generator().manual_seed(0))["loss"]
        loss.backward()
        names = [name for name, weight in found.named_parameters() if weight.grad is not None]
        gradients.append([loss.detach().cpu(), *(found.get_parameter(n).grad.cpu() for n in names)])
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


@each_model
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
def test_each_precision_trains(tmp_path: Path, model: str, precision: str) -> None:
    chosen = [*MODELS[model], "--trainer.precision", precision]
    assert run_seqae("fit", *options(tmp_path, "run"), *chosen) == 0
    found = losses(tmp_path / "run")
    assert sum(found[-3:]) < 0.8 * sum(found[:3])
    assert run_seqae("check", tmp_path / "run") == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_resume_is_bit_equal(tmp_path: Path, precision: str) -> None:
    chosen = ["--trainer.precision", precision, "--checkpoint.every_n_steps", 5]
    chosen += ["--checkpoint.keep", 100, "--model.autoencoder.encoder.dropout", 0.2]
    assert run_seqae("fit", *options(tmp_path, "run"), *chosen) == 0
    expected = figures(tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    if precision == "16-mixed":
        assert torch.load(last, weights_only=True)["MixedPrecision"]["scale"] > 0
    last.unlink()
    last.symlink_to("step=5.ckpt")
    assert run_seqae("fit", "--resume", tmp_path / "run") == 0
    assert figures(tmp_path / "run") == expected


def test_compiled_kernels_are_few_and_give_the_same_losses(tmp_path: Path) -> None:
    torch._dynamo.reset()
    for flag in ("false", "true"):
        chosen = [*MODELS["transformer"], "--model.compiled", flag]
        assert run_seqae("fit", *options(tmp_path, flag), *chosen) == 0
    plain, compiled = losses(tmp_path / "false"), losses(tmp_path / "true")
    assert compiled == pytest.approx(plain, rel=1e-2)
    for function, most in ((attention.run_block, 4), (cross_entropy._read_chunk, 1)):
        entries = torch._dynamo.eval_frame._debug_get_cache_entry_list(function)
        assert 1 <= len(entries) <= most
    torch._dynamo.reset()


class Hurry(Callback):
    """An operation within a step that waits for the GPU is an error."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Lightning and the libraries make themselves ready in the first steps.
        if trainer.global_step > 2 and ON_GPU:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")


@each_model
def test_a_step_does_not_wait(tmp_path: Path, model: str) -> None:
    chosen = [*MODELS[model], "--trainer.log_every_n_steps", 1000, "--data.val_percent", 0]
    chosen += ["--checkpoint.every_n_steps", 0, "--model.objective.word_dropout", 0.2]
    chosen += ["--trainer.callbacks", "test_gpu.Hurry"]
    try:
        assert run_seqae("fit", *options(tmp_path, "run"), *chosen) == 0
    finally:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_batches_come_in_pinned_memory(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", numbered(50))
    data = TextDataModule(ByteTokenizer(), train=str(text), cache_dir=str(tmp_path / "cache"))
    trainer = Trainer(accelerator="gpu", devices=1, logger=False, enable_checkpointing=False)
    data.trainer = trainer
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.token_ids.is_pinned()
    moved = data.transfer_batch_to_device(batch, torch.device("cuda"), 0)
    assert torch.equal(moved.token_ids.cpu(), batch.token_ids)


@needs_gpu
def test_a_full_memory_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen: list[object] = ["--data.batch_tokens", 2**16, "--trainer.max_steps", 4]
    chosen += ["--trainer.max_epochs", -1, "--data.val_percent", 0, "--data.test_percent", 0]
    write_text(tmp_path / "text.txt", numbered(20_000))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert run_seqae("fit", *options(tmp_path, "enough"), *chosen) == 0
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_reserved() + 0.6 * needed) / total
    )
    try:
        assert run_seqae("fit", *options(tmp_path, "too-little"), *chosen) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "`data.batch_tokens` must be lower" in capsys.readouterr().err


# All devices


def in_processes(folder: Path, name: str, *chosen: object) -> list[float]:
    """The figures of a validation, of a training in a process for each device."""
    if not (folder / "text.txt").exists():
        write_text(folder / "text.txt", (f"number {i}" for i in range(400)))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=paths)
    fixed = [
        "--data.tokenizer",
        "ByteTokenizer",
        "--trainer.max_steps",
        6,
        "--trainer.max_epochs",
        -1,
        "--data.val_percent",
        10,
    ]
    arguments = [*options(folder, name), *fixed, "--trainer.val_check_interval", 6, *chosen]
    command = [sys.executable, "-m", "seqae", "fit", *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [row["val/loss"] for row in figures(folder / name) if "val/loss" in row]


def number_of_devices() -> int:
    found = torch.cuda.device_count() if ON_GPU else 2
    if found < 2:
        pytest.skip("there is one GPU")
    return found


@pytest.mark.parametrize("overlay", ["ddp", "fsdp"])
def test_all_devices_train_as_one(tmp_path: Path, overlay: str) -> None:
    """At equal global batch: as many batches in turn on one as at once on all."""
    path, count = CONFIGS / "overlays" / f"{overlay}.yaml", number_of_devices()
    if not path.exists():
        pytest.skip(f"there is no {path.name}")
    rounded = ["--trainer.accumulate_grad_batches", count]
    expected = in_processes(tmp_path, "one", *rounded)
    chosen = ["-c", path, "--trainer.accelerator", "gpu" if ON_GPU else "cpu"]
    found = in_processes(tmp_path, "all", *chosen, "--trainer.devices", count)
    assert found == pytest.approx(expected, rel=1e-3)
