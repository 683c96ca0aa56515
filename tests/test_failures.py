"""A process that dies ends all, within a minute and with one line; group signals end none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import COMMAND, figures, numbered, own_process, run_seqae, write_recipe, write_text
from torch.multiprocessing import active_children

from seqae.training.callbacks.preemption import REQUEUE

# A loader worker is forked while gloo or OpenMP threads may exist; Python 3.12 tells of it.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Fault(Callback):
    """Ends something of a process before its seventh batch.

    Args:
        rank: which process.
        what: `kill` it, `kill worker`, or `raise` an error of the user's.
    """

    def __init__(self, rank: int, what: str) -> None:
        self.rank, self.what = rank, what

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_step != 6 or trainer.global_rank != self.rank:
            return
        if self.what == "raise":
            raise ValueError("`data` must be readable, but it is not. Mend it.")
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        worker = active_children()[0]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)


class KillInTest(Callback):
    """Ends process 0 of `seqae test`; the other one waits for it."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


class GroupSignal(Callback):
    """Sends a signal to this process and its loader workers, as SLURM and a terminal do.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_step == 6:
            group = [str(os.getpid()), *(str(worker.pid) for worker in active_children())]
            assert len(group) == 3
            # By another process: a worker heeds its parent.
            subprocess.run(["kill", f"-{self.number}", *group], check=True)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("text")
    text = write_text(folder / "numbered.txt", numbered(140))
    options: list[object] = ["-c", write_recipe(folder), "--data.train", text]
    return [*options, "--trainer.max_epochs", 3, "--prior_sentences", 0]


def two_processes(
    folder: Path, arguments: list[object], rank: int, what: str
) -> tuple[int, str, float]:
    """Lightning's own launcher: the exit status, what stands on standard error, the seconds."""
    path = f"{Fault.__module__}.Fault"
    options = ["--trainer.strategy", "ddp", "--trainer.devices", 2, "--run_dir", folder / "run"]
    options += ["--checkpoint.every_n_steps", 4, "--trainer.callbacks", path]
    options += ["--trainer.callbacks.rank", rank, "--trainer.callbacks.what", what]
    started = time.monotonic()
    # Until the last of them has closed it: a process that is left behind lets this time out.
    done = subprocess.run(
        [str(part) for part in (COMMAND, "fit", *arguments, *options)],
        env=own_process(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stderr, time.monotonic() - started


@pytest.mark.parametrize(
    ("rank", "what", "expected"),
    [
        (1, "kill", "process 1 was ended by SIGKILL"),
        pytest.param(0, "kill", "process 0 was killed from outside", marks=pytest.mark.slow),
        pytest.param(0, "raise", "`data` must be readable", marks=pytest.mark.slow),
        pytest.param(1, "raise", "`data` must be readable", marks=pytest.mark.slow),
        pytest.param(0, "kill worker", "a loader worker of process 0", marks=pytest.mark.slow),
        pytest.param(1, "kill worker", "a loader worker of process 1", marks=pytest.mark.slow),
    ],
)
def test_one_dies_and_all_end_with_one_line(
    arguments: list[object], tmp_path: Path, rank: int, what: str, expected: str
) -> None:
    workers = ["--data.num_workers", 1] if what == "kill worker" else []
    status, said, seconds = two_processes(tmp_path, [*arguments, *workers], rank, what)
    assert status != 0
    assert seconds < 60
    assert said.count("seqae: error: ") == 1, said
    assert f"seqae: error: {expected}" in said
    # torch tells of a dead worker by a signal, which may come where Python cannot raise.
    assert what == "kill worker" or "Traceback" not in said


@pytest.mark.slow
def test_the_other_processes_of_a_test_end_with_the_first(
    overfit_run: Path, tmp_path: Path
) -> None:
    options = ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
    options += ["--trainer.callbacks", f"{KillInTest.__module__}.KillInTest"]
    # Until the last of them has closed it: a process that is left behind lets this time out.
    done = subprocess.run(
        [str(part) for part in (COMMAND, "test", overfit_run, *options)],
        env=own_process(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stderr.count("seqae: error: process 0 was killed from outside") == 1


@FORKS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_loader_workers_outlive_a_signal_to_their_group(
    arguments: list[object], tmp_path: Path, number: int
) -> None:
    path = f"{GroupSignal.__module__}.GroupSignal"
    options = ["--data.num_workers", 2, "--run_dir", tmp_path / "run", "--trainer.callbacks", path]
    status = run_seqae("fit", *arguments, *options, "--trainer.callbacks.number", int(number))
    assert status == (130 if number == signal.SIGINT else REQUEUE)
    assert not active_children()


# A batch that the dead worker offered is refused before its signal comes. torch (2.13, in
# `_try_get_data`) then opens temporary files, to see whether that was for want of file descriptors,
# and its own handler of the signal raises while one of them is being opened.
@pytest.mark.filterwarnings("ignore:unclosed file <_io.BufferedRandom:ResourceWarning")
@FORKS
def test_a_loader_worker_that_is_killed(
    arguments: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{Fault.__module__}.Fault"
    options = ["--data.num_workers", 1, "--run_dir", tmp_path / "run", "--trainer.callbacks", path]
    options += ["--checkpoint.every_n_steps", 4, "--trainer.callbacks.rank", 0]
    status = run_seqae("fit", *arguments, *options, "--trainer.callbacks.what", "kill worker")
    assert status == 1
    said = capsys.readouterr().err
    assert "a loader worker of process 0 was ended from outside" in said
    assert f"Go on with: seqae fit --resume {tmp_path / 'run'}" in said
    assert run_seqae("fit", "--resume", tmp_path / "run", "--trainer.callbacks", "null") == 0
    assert figures(tmp_path / "run")[-1]["step"] > 6
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    "moment", ["the data is prepared", pytest.param("the end", marks=pytest.mark.slow)]
)
def test_told_to_stop_with_nothing_to_save(
    arguments: list[object], tmp_path: Path, moment: str
) -> None:
    """Before the first step and behind the last, a signal ends the process at once."""
    hook = "prepare_data" if moment == "the data is prepared" else "stream_summary"
    program = (
        "import os, signal, sys\n"
        "from seqae.cli import main\n"
        "from seqae.data.datamodule import TextDataModule\n"
        f"TextDataModule.{hook} = lambda self: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, "fit", *arguments, "--run_dir", tmp_path / "run"]
    done = subprocess.run(
        [str(part) for part in command],
        env=own_process(),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == REQUEUE, done.stderr
    assert done.stdout.endswith("stopped by SIGTERM, with nothing to save\n")
