"""Training as a person starts it: the ladder, overfitting, two processes."""

from __future__ import annotations

import math
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import (
    COMMAND,
    CONFIGS,
    SENTENCES,
    figures,
    numbered,
    own_process,
    read_rows,
    run_seqae,
    write_recipe,
    write_text,
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "numbered.txt", numbered(70))


def fit(folder: Path, text: Path, *options: object) -> list[dict[str, Any]]:
    """Train in `folder/run`; the figures that were logged."""
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / "run"]
    assert run_seqae("fit", *arguments, *options) == 0
    return figures(folder / "run")


def losses(rows: list[dict[str, Any]]) -> list[float]:
    return [row["train/loss"] for row in rows if "train/loss" in row]


# The ladder


def test_one_fast_batch(tmp_path: Path, text: Path) -> None:
    options = ["--trainer.fast_dev_run", "true", "--run_dir", tmp_path / "run"]
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text]
    assert run_seqae("fit", *arguments, *options) == 0


def test_bf16_mixed_trains_like_float32(tmp_path: Path, text: Path) -> None:
    (tmp_path / "half").mkdir()
    full = losses(fit(tmp_path, text))
    half = losses(fit(tmp_path / "half", text, "--trainer.precision", "bf16-mixed"))
    assert all(math.isfinite(loss) for loss in half)
    assert half != full  # it is another precision
    assert half == pytest.approx(full, abs=0.1)
    assert half[-1] < half[0] - 0.5


def test_accumulation_takes_one_step_for_two_batches(tmp_path: Path, text: Path) -> None:
    recorder = ["--trainer.callbacks", "small.Recorder"]
    recorder += ["--trainer.callbacks.folder", tmp_path, "--trainer.max_epochs", 1]
    fit(tmp_path, text, *recorder, "--trainer.accumulate_grad_batches", 2)
    batches = read_rows(tmp_path / "rank0.jsonl")
    steps = [batch["step"] for batch in batches]
    # The last batch of an epoch that is left alone takes a step of its own.
    assert steps == [index // 2 for index in range(len(batches))]
    assert figures(tmp_path / "run")[-1]["step"] == math.ceil(len(batches) / 2)


def test_the_rate_is_scheduled_over_all_steps(tmp_path: Path, text: Path) -> None:
    rates = ["--trainer.callbacks", "lightning.pytorch.callbacks.LearningRateMonitor"]
    rows = fit(tmp_path, text, *rates)
    found = [row["lr-AdamW/pg1"] for row in rows if "lr-AdamW/pg1" in row]
    assert max(found) == pytest.approx(1e-2)
    assert found.index(max(found)) == 10  # warm-up steps
    # The last of 21 steps is 10 steps into the 11 over which the rate falls as a cosine.
    assert found[-1] == pytest.approx(1e-2 * (0.5 + 0.5 * math.cos(math.pi * 10 / 11)))


# Overfitting


def test_gru_overfits_32_sentences(overfit_run: Path) -> None:
    last = figures(overfit_run)[-1]
    assert last["val/exact_match"] == 1.0
    assert last["val/token_accuracy"] == 1.0
    assert last["val/bleu"] == pytest.approx(100.0)


def test_dense_overfits_32_sentences(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ["--data.val", text, "--trainer.max_epochs", 60]
    options += ["--trainer.check_val_every_n_epoch", 60, "--model.learning_rate", 0.003]
    for part in ("encoder", "decoder"):
        options += [f"--model.autoencoder.{part}", f"Dense{part.capitalize()}"]
        options += [f"--model.autoencoder.{part}.hidden_dim", 128]
    last = fit(tmp_path, text, *options)[-1]
    assert last["val/exact_match"] == 1.0
    assert last["val/token_accuracy"] == 1.0


# Two processes


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of two real processes, and what each of them saw."""
    folder = tmp_path_factory.mktemp("two")
    text = write_text(folder / "text.txt", numbered(97))
    arguments = ["-c", write_recipe(folder), "-c", CONFIGS / "overlays" / "ddp.yaml"]
    arguments += ["--data.train", text, "--run_dir", folder / "run", "--trainer.max_epochs", 8]
    arguments += ["--data.val_percent", 20, "--data.test_percent", 0]
    arguments += ["--trainer.callbacks", "small.Recorder"]
    arguments += ["--trainer.callbacks.folder", folder, "--checkpoint.every_n_steps", 1]
    command = [str(part) for part in (COMMAND, "fit", *arguments)]
    done = subprocess.run(
        command, env=own_process(), cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_take_the_same_steps(two_processes: Path) -> None:
    seen = [read_rows(two_processes / f"rank{rank}.jsonl") for rank in (0, 1)]
    assert [row["step"] for row in seen[0]] == [row["step"] for row in seen[1]]
    assert [row["epoch"] for row in seen[0]] == [row["epoch"] for row in seen[1]]


def test_two_processes_share_the_sentences_of_one(two_processes: Path, tmp_path: Path) -> None:
    recorder = ["--trainer.callbacks", "small.Recorder", "--trainer.callbacks.folder", tmp_path]
    options = ["--data.val_percent", 20, "--data.test_percent", 0, "--trainer.max_epochs", 2]
    fit(tmp_path, two_processes / "text.txt", *recorder, *options)
    together = [row for rank in (0, 1) for row in read_rows(two_processes / f"rank{rank}.jsonl")]
    alone = read_rows(tmp_path / "rank0.jsonl")
    for epoch in (0, 1):
        shared = Counter(s for row in together if row["epoch"] == epoch for s in row["sentences"])
        single = Counter(s for row in alone if row["epoch"] == epoch for s in row["sentences"])
        assert shared == single
        assert set(single.values()) == {1}


# The command turns off such advice of Lightning's; here its class is used without the command.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_two_processes_measure_what_one_measures(two_processes: Path) -> None:
    from seqae.training.command.lightning_cli import TrainingCLI

    run = two_processes / "run"
    shared = next(row for row in reversed(figures(run)) if "val/loss" in row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["seqae"])
        arguments = ["-c", str(run / "config.yaml"), "--trainer.strategy", "auto"]
        arguments += ["--trainer.devices", "1", "--trainer.callbacks", "null"]
        arguments += ["--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
        alone = TrainingCLI("validate", arguments).trainer.callback_metrics
    assert 0 < shared["val/token_accuracy"] < 1  # or the figures would say nothing
    for name in ("val/token_accuracy", "val/exact_match", "val/bleu"):
        assert float(alone[name]) == shared[name], name
    for name in ("val/loss", "val/reconstruction", "val/teacher_forced_accuracy"):
        assert float(alone[name]) == pytest.approx(shared[name], rel=1e-6), name


def test_two_processes_leave_one_run_folder(two_processes: Path) -> None:
    rows = read_rows(two_processes / "run" / "metrics.jsonl")
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == sorted(set(steps))
    assert run_seqae("check", two_processes / "run") == 0


# What is measured and predicted


def test_an_unknown_word_is_never_an_exact_match(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", ["one two", "one three"] * 8)
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--data.val", text]
    options += ["--data.tokenizer", "CharacterTokenizer", "--data.tokenizer.min_frequency", 17]
    options += ["--trainer.max_epochs", 60, "--trainer.check_val_every_n_epoch", 60]
    assert run_seqae("fit", *options, "--run_dir", tmp_path / "run") == 0
    last = figures(tmp_path / "run")[-1]
    assert last["val/teacher_forced_accuracy"] > 0.9
    assert last["val/exact_match"] == 0


def test_a_prediction_says_which_is_which(tmp_path: Path, text: Path) -> None:
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--data.test", text]
    assert run_seqae("fit", *options, "--trainer.max_epochs", 1, "--run_dir", run) == 0
    assert run_seqae("predict", run, "--output", tmp_path / "predictions.jsonl") == 0
    rows = read_rows(tmp_path / "predictions.jsonl")
    assert [row["text"] for row in rows] == text.read_text(encoding="utf-8").splitlines()
    assert any(row["text"] != row["reconstruction"] for row in rows)
