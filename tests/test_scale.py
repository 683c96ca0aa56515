"""The recipe for scale: what it names is reached, and its hundredth trains by the same code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from contracts import VOCABULARY, random_batch
from ranks import FORKS, run_on_ranks
from small import COMMAND, CONFIGS, ROOT, figures, numbered, own_process, run_seqae, write_text
from test_compile import counters  # noqa: F401 - a fixture
from test_fsdp import alone
from test_recipes import leaves
from torch import Generator, Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective

SMALL = ["-c", "scale/transformer", "-c", "scale/hundredth"]
BENCHMARKS = ("scaling_recipe", "recipe_counts", "scaling", "driver")


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program that predicts."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scaling_recipe

    yield scaling_recipe
    for name in BENCHMARKS:
        sys.modules.pop(name, None)


def test_hundredth_changes_only_sizes_data_and_rates() -> None:
    paths = (CONFIGS / "scale" / f"{name}.yaml" for name in ("transformer", "hundredth"))
    large, changes = (dict(leaves(yaml.safe_load(path.read_text()))) for path in paths)
    rates = {"learning_rate", "warmup_steps", "weight_decay", "beta2"}
    sizes = {"embedding_dim", "hidden_dim", "num_heads", "feedforward_dim", "latent_dim"}
    sizes |= {"position_dim"}
    trainer = {"max_steps", "val_check_interval", "precision"}
    for key in changes:
        name = key.rpartition(".")[2]
        assert key.startswith("data.") or name in rates | sizes | trainer, key
    assert not {"data.streaming", "data.too_long", "data.max_length"} & changes.keys()
    assert large["data.streaming"]
    assert large["model.compiled"]


# The arithmetic


def test_the_tables_are_those_of_the_recipe(arithmetic: ModuleType) -> None:
    device = arithmetic.Device()
    counts = arithmetic.count(arithmetic.read_recipe(arithmetic.RECIPE))
    found = arithmetic.cluster(counts, device, 0.5, arithmetic.LOADER_TOKENS)
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    tables = arithmetic.budget_rows(counts, device), arithmetic.step_rows(counts, device)
    for rows in (*tables, arithmetic.cluster_rows(found)):
        assert "\n".join(arithmetic.markdown(rows)) in page
    head = (CONFIGS / "scale" / "transformer.yaml").read_text(encoding="utf-8")
    for number in (*counts.weights.values(), counts.parameters):
        assert f" {number / 1e6:.1f}" in head
    assert f"{counts.targets:,} target tokens" in head
    assert f" {counts.flops / 1e6:.0f} MFLOP a token" in head
    assert f" {sum(arithmetic.memory(counts).values()) / 1e9:.1f} GB" in head
    for row in found[:3]:
        assert f"{row['tokens'] / 1e9:.1f} G on" in head
        assert f" {row['hours']:.1f} hours" in head
    assert f"at {found[0]['tokens_per_second'] / 1e6:.2f} M tokens/s" in head


def test_counts_of_a_model_by_hand(arithmetic: ModuleType) -> None:
    recipe = arithmetic.read_recipe(["scale/transformer", "scale/hundredth"])
    counts = arithmetic.count(recipe)
    layers, hidden, wide, width, latents = 3, 96, 384, 64, 8
    assert counts.weights["embedding"] == 512 * 96 + 512  # tied, and the output's bias
    assert counts.targets == 16 * 63
    # A row of 64 tokens passes 3 blocks; its 8 latents and 63 tokens pass 3 more.
    assert counts.block_tokens == layers * (width + latents + width - 1) / (width - 1)
    products = counts.block_tokens * 6 * (4 * hidden**2 + 2 * hidden * wide)
    products += 6 * 512 * hidden  # the output layer
    assert products < counts.flops < 1.5 * products  # attention, pooling, latent, unbinding


# What the recipe names is reached


def small_model() -> tuple[SequenceAutoencoder, Objective]:
    config: dict[str, Any] = {}
    for name in ("transformer", "hundredth"):
        part = yaml.safe_load((CONFIGS / "scale" / f"{name}.yaml").read_text())["model"]
        config = merged(config, part)
    torch.manual_seed(0)
    whole = {"class_path": "SequenceAutoencoder", "init_args": config["autoencoder"]}
    model = SequenceAutoencoder.from_config(whole)
    model.build(VOCABULARY, 64)
    return model.train(), Objective.from_config(config["objective"])


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict):
            both[key] = merged(one[key], other[key])
    return both


@pytest.mark.parametrize("lengths", [[7, 7, 7], [7, 5, 3]], ids=["one length", "several"])
def test_attention_takes_a_fused_kernel(
    lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask only where sentences are padded, since a GPU's flash kernels take none."""
    calls: list[tuple[Tensor | None, bool]] = []
    attend = nn.functional.scaled_dot_product_attention

    def noted(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> Tensor:
        assert dropout == 0.0
        calls.append((mask, causal))
        return attend(query, key, value, mask, dropout, causal)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", noted)
    model, objective = small_model()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # that of CPUs takes a mask, too; math is refused
        objective(model, random_batch(lengths), 0, Generator().manual_seed(0))["loss"].backward()
    reading, pooling, writing = calls[:3], calls[3], calls[4:]
    is_masked = len(set(lengths)) > 1
    assert [(mask is not None, causal) for mask, causal in reading] == [(is_masked, False)] * 3
    assert (pooling[0] is not None) == is_masked
    assert [(mask, causal) for mask, causal in writing] == [(None, True)] * 3


def run_options(folder: Path, name: str, steps: int) -> list[object]:
    text = folder / "text.txt"
    if not text.exists():
        write_text(text, numbered(300))
    return [
        *(*SMALL, "--data.train", text, "--run_dir", folder / name, "--threads", 1),
        *("--data.batch_tokens", 256, "--data.shuffle_buffer", 40, "--prior_sentences", 0),
        *("--trainer.max_steps", steps, "--trainer.val_check_interval", steps),
        *("--trainer.log_every_n_steps", 1, "--checkpoint.every_n_steps", 2),
        *("--checkpoint.keep", 100),
    ]


def test_hundredth_trains_and_resumes(tmp_path: Path) -> None:
    options = ["--model.compiled", "false"]  # which takes most of the time; see below
    assert run_seqae("fit", *run_options(tmp_path, "run", 5), *options) == 0
    whole = figures(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "last.ckpt").unlink()
    (checkpoints / "last.ckpt").symlink_to("step=2.ckpt")
    assert run_seqae("fit", "--resume", tmp_path / "run") == 0
    assert figures(tmp_path / "run") == whole


@pytest.mark.slow
def test_compiled_blocks_of_shards(
    tmp_path: Path,
    counters: dict[str, CompileCounterWithBackend],  # noqa: F811 - the fixture
) -> None:
    """FSDP gathers weights before a block is called, outside of the graphs."""
    options = ["-c", CONFIGS / "overlays" / "fsdp.yaml", "--trainer.accelerator", "cpu"]
    options += ["--trainer.devices", 1]
    assert alone("fit", *run_options(tmp_path, "shards", 3), *options) == 0
    assert counters["run_block"].frame_count <= 4
    assert alone("fit", *run_options(tmp_path, "plain", 3), "--model.compiled", "false") == 0
    found, expected = (
        [row["train/loss"] for row in figures(tmp_path / name) if "train/loss" in row]
        for name in ("shards", "plain")
    )
    assert found == pytest.approx(expected, rel=1e-4)


# Real kernels, on two processes


def killed(folder: Path, arguments: list[object], checkpoint: Path) -> None:
    """Start the command, and kill it once there is a checkpoint."""
    with (folder / "killed.txt").open("w") as log:
        process = subprocess.Popen(
            [str(COMMAND), "fit", *map(str, arguments)],
            env=own_process(),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        while not checkpoint.exists():
            assert process.poll() is None, (folder / "killed.txt").read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)  # six processes compile
@FORKS
@pytest.mark.parametrize("overlay", ["ddp", "fsdp"])
def test_two_processes_train_and_go_on_after_a_kill(tmp_path: Path, overlay: str) -> None:
    more = ["-c", CONFIGS / "overlays" / f"{overlay}.yaml", "--trainer.accelerator", "cpu"]
    more += ["--trainer.devices", 2]
    whole, cut = (run_options(tmp_path, name, 8) + more for name in ("whole", "cut"))
    if overlay == "ddp":
        assert run_on_ranks(tmp_path, "fit", *whole, seconds=250) == [0, 0]
    else:
        command = [str(COMMAND), "fit", *map(str, whole)]
        subprocess.run(command, env=own_process(), cwd=tmp_path, check=True)
    killed(tmp_path, cut, tmp_path / "cut" / "checkpoints" / "step=4.ckpt")
    command = [str(COMMAND), "fit", "--resume", str(tmp_path / "cut")]
    subprocess.run(command, env=own_process(), cwd=tmp_path, check=True)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole")
