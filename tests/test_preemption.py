"""Signals and the clock: saved, an exit status of its own, and the same run in the end."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks import FORKS, run_on_ranks
from small import figures, numbered, read_rows, run_seqae, with_callback, write_recipe, write_text

from seqae.training.callbacks.preemption import INTERRUPTED, REQUEUE
from seqae.training.checkpoints import checkpoint_io
from seqae.training.checkpoints.callback import checkpoints

EPOCHS = 3  # of 5 batches each, with validations behind the second and the fourth
MOMENTS = {
    "the first batch": "batch 0",
    "mid-epoch": "batch 7",
    "the last batch of an epoch": "batch 4",
    "before a validation": "batch 6",
    "a validation": "validation 1",
    "the last batch": "batch 14",
}
OFTEN = ("the first batch", "mid-epoch", "a validation")  # the others are slow tests


class Sender(Callback):
    """Sends this process signals at a moment.

    Args:
        moment: within `batch N`, counted over epochs, or `validation N`, both from 0.
        numbers: of the signals.
        rank: the one that gets them.
    """

    def __init__(self, moment: str, numbers: list[int], rank: int = 0) -> None:
        self.moment, self.numbers, self.rank = moment, numbers, rank
        self.batches = self.validations = 0

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        self._send(f"batch {self.batches}", trainer)
        self.batches += 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._send(f"validation {self.validations}", trainer)
        self.validations += 1

    def _send(self, now: str, trainer: Trainer) -> None:
        if now == self.moment and trainer.global_rank == self.rank:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("text")
    text = write_text(folder / "numbered.txt", numbered(70))
    options = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 10]
    options += ["--trainer.max_epochs", EPOCHS, "--trainer.val_check_interval", 0.5]
    return [*options, "--data.batch_tokens", 128]


@pytest.fixture(scope="module")
def whole(arguments: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert run_seqae("fit", *arguments, "--run_dir", run) == 0
    return run


def sender(moment: str, *numbers: int, rank: int = 0) -> list[object]:
    told = [int(number) for number in numbers]
    return with_callback(f"{Sender.__module__}.Sender", moment=moment, numbers=told, rank=rank)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in MOMENTS],
)
def test_a_signal_at_any_moment(
    arguments: list[object], whole: Path, tmp_path: Path, moment: str
) -> None:
    run = tmp_path / "run"
    told = sender(MOMENTS[moment], signal.SIGUSR1)
    status = run_seqae("fit", *arguments, *told, "--run_dir", run)
    assert status == REQUEUE
    assert len(checkpoints(run / "checkpoints")) == 1
    assert run_seqae("fit", "--resume", run, "--trainer.callbacks", "null") == 0
    assert figures(run) == figures(whole)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([signal.SIGTERM], REQUEUE),
        ([signal.SIGUSR1, signal.SIGTERM], REQUEUE),
        pytest.param([signal.SIGTERM, signal.SIGTERM], REQUEUE, marks=pytest.mark.slow),
        ([signal.SIGINT], INTERRUPTED),
    ],
)
def test_which_signal(
    arguments: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numbers: list[int],
    expected: int,
) -> None:
    run = tmp_path / "run"
    status = run_seqae("fit", *arguments, *sender("batch 5", *numbers), "--run_dir", run)
    assert status == expected
    said = capsys.readouterr().out
    name = signal.Signals(numbers[-1]).name
    assert f"which is saved: {name}. Go on with: seqae fit --resume {run}" in said
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 6


def test_a_signal_at_the_end_of_an_epoch_waits_for_its_validation(
    arguments: list[object], tmp_path: Path
) -> None:
    once = [*arguments, "--trainer.val_check_interval", 1.0]
    assert run_seqae("fit", *once, "--run_dir", tmp_path / "whole") == 0
    for moment in ("batch 4", "validation 0"):
        run = tmp_path / moment.replace(" ", "_")
        told = sender(moment, signal.SIGTERM)
        assert run_seqae("fit", *once, *told, "--run_dir", run) == REQUEUE
        assert "val/loss" in read_rows(run / "metrics.jsonl")[-1]
        assert run_seqae("fit", "--resume", run, "--trainer.callbacks", "null") == 0
        assert figures(run) == figures(tmp_path / "whole")


def test_twice_in_a_row(arguments: list[object], whole: Path, tmp_path: Path) -> None:
    """Stopped, requeued, and stopped again, at once and later; in the same folder."""
    run = tmp_path / "run"
    first = sender("batch 3", signal.SIGUSR1)
    assert run_seqae("fit", *arguments, *first, "--run_dir", run) == REQUEUE
    for moment in ("batch 0", "batch 4"):  # of those that are left
        again = ["--run_dir", run, "--resume", "auto", *sender(moment, signal.SIGTERM)]
        assert run_seqae("fit", *arguments, *again) == REQUEUE
    names = [path.name for path in checkpoints(run / "checkpoints")]
    assert names == ["step=10.ckpt", "step=5.ckpt"]
    assert run_seqae("fit", "--resume", run, "--trainer.callbacks", "null") == 0
    assert figures(run) == figures(whole)


def test_within_an_accumulation_window(arguments: list[object], tmp_path: Path) -> None:
    """It is trained to its end: the gradients of half of it are nowhere."""
    windows = [*arguments, "--trainer.accumulate_grad_batches", 3]
    assert run_seqae("fit", *windows, "--run_dir", tmp_path / "whole") == 0
    for batch, step in ((0, 1), (6, 3)):  # of windows of 3 and 2 batches
        run = tmp_path / f"{batch}"
        told = sender(f"batch {batch}", signal.SIGTERM)
        assert run_seqae("fit", *windows, *told, "--run_dir", run) == REQUEUE
        assert [path.name for path in checkpoints(run / "checkpoints")] == [f"step={step}.ckpt"]
        assert run_seqae("fit", "--resume", run, "--trainer.callbacks", "null") == 0
        assert figures(run) == figures(tmp_path / "whole")


@FORKS
def test_a_signal_to_one_of_two_processes(arguments: list[object], tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert run_on_ranks(tmp_path / "a", "fit", *arguments, "--run_dir", whole) == [0, 0]
    told = sender("batch 1", signal.SIGTERM, rank=1)
    options = [*arguments, "--run_dir", run, "--resume", "auto"]
    # Another status than 0 of the second would be a failure to Lightning, and to srun.
    assert run_on_ranks(tmp_path / "b", "fit", *options, *told) == [REQUEUE, 0]
    assert "another process was told to stop" in (tmp_path / "b" / "rank0.txt").read_text()
    assert run_on_ranks(tmp_path / "c", "fit", *options) == [0, 0]
    assert figures(run) == figures(whole)


def test_it_says_saved_when_it_is(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An asynchronous save that fails is no requeue."""
    write = checkpoint_io.write_hashed

    def refuse(path: Path, content: Any) -> None:
        time.sleep(0.3)  # in its thread
        if path.name == "step=6.ckpt":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoint_io, "write_hashed", refuse)
    options = ["--checkpoint.asynchronous", "true", "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *arguments, *options, *sender("batch 5", signal.SIGTERM)) == 1
    said = capsys.readouterr()
    assert "No space left" in said.err
    assert "which is saved" not in said.out


def test_a_signal_during_the_last_save(
    arguments: list[object], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left to do after it may take longer than the time that there is."""
    steps = max(row["step"] for row in figures(whole))
    run, write = tmp_path / "run", checkpoint_io.write_hashed

    def write_and_send(path: Path, content: Any) -> None:
        write(path, content)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(checkpoint_io, "write_hashed", write_and_send)
    options = ["--checkpoint.every_n_steps", steps, "--run_dir", run]
    assert run_seqae("fit", *arguments, *options) == REQUEUE
    monkeypatch.undo()
    assert run_seqae("fit", "--resume", run) == 0
    assert [path.name for path in checkpoints(run / "checkpoints")] == [f"step={steps}.ckpt"]


@pytest.mark.parametrize("is_asynchronous", ["false", "true"])
def test_a_signal_during_a_save(
    arguments: list[object],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_asynchronous: str,
) -> None:
    run = tmp_path / "run"
    write, sent = checkpoint_io.write_hashed, []

    def write_and_send(path: Path, content: Any) -> None:
        if not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        write(path, content)

    monkeypatch.setattr(checkpoint_io, "write_hashed", write_and_send)
    options = ["--checkpoint.every_n_steps", 3, "--run_dir", run]
    options += ["--checkpoint.asynchronous", is_asynchronous]
    assert run_seqae("fit", *arguments, *options) == REQUEUE
    names = [path.name for path in checkpoints(run / "checkpoints")]
    # Behind the validation of step 4. A thread may send it a batch later.
    assert names in (["step=4.ckpt", "step=3.ckpt"], ["step=5.ckpt", "step=3.ckpt"])
    assert "val/loss" in read_rows(run / "metrics.jsonl")[-1] or is_asynchronous == "true"
    assert run_seqae("fit", "--resume", run) == 0
    assert figures(run) == figures(whole)


def test_the_time_is_up(arguments: list[object], whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--run_dir", run, "--trainer.max_time", "00:00:00:00"]
    assert run_seqae("fit", *arguments, *options) == REQUEUE
    goes_on = ["--resume", run, "--trainer.max_time", "00:01:00:00"]
    assert run_seqae("fit", *goes_on) == 0
    assert figures(run) == figures(whole)


def test_stopped_at_once_from_the_checkpoint_of_another_run(
    arguments: list[object], tmp_path: Path
) -> None:
    """What it was loaded from lies elsewhere: it is saved again."""
    first, second = tmp_path / "first", tmp_path / "second"
    told = sender("batch 3", signal.SIGTERM)
    assert run_seqae("fit", *arguments, *told, "--run_dir", first) == REQUEUE
    (loaded,) = checkpoints(first / "checkpoints")
    options = ["--ckpt_path", loaded, "--run_dir", second, "--trainer.max_time", "00:00:00:00"]
    assert run_seqae("fit", *arguments, *options) == REQUEUE
    assert [path.name for path in checkpoints(second / "checkpoints")] == [loaded.name]


def test_what_signals_did_before_is_put_back(arguments: list[object], tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    told = sender("batch 2", signal.SIGTERM)
    assert run_seqae("fit", *arguments, *told, "--run_dir", tmp_path / "run") == REQUEUE
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
