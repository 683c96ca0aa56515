"""torchrun: processes that die begin again, those that were told to stop do not."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks import FORKS, run_on_ranks
from small import COMMAND, ROOT, figures, numbered, own_process, write_recipe, write_text

from seqae.training.distributed.exit_status import (
    REQUEUE,
    STATUS_FILE,
    reported_status,
    status_of_rank,
)
from seqae.training.distributed.launchers import Launcher, find_launcher, follow_launcher

OPTIONS: dict[str, Any] = {"devices": "auto", "num_nodes": 1, "plugins": None}


class KilledOnce(Callback):
    """Sends a process a signal before a step, once.

    Args:
        rank: which process; -1 is torchrun itself.
        step: before which.
        number: of the signal.
        mark: a file that says that it has been done.
    """

    def __init__(self, rank: int, step: int, number: int, mark: str) -> None:
        self.rank, self.step, self.number, self.mark = rank, step, number, Path(mark)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        is_here = trainer.global_step == self.step and trainer.global_rank == max(self.rank, 0)
        if is_here and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getppid() if self.rank < 0 else os.getpid(), self.number)


def torchrun(folder: Path, *arguments: object, **variables: str) -> tuple[int, str]:
    """The script on two processes: its exit status and what it says."""
    environment = own_process(PROCESSES="2", **variables)
    environment["PATH"] = os.pathsep.join([str(COMMAND.parent), environment["PATH"]])
    done = subprocess.run(
        [str(part) for part in (ROOT / "scripts" / "torchrun.sh", *arguments)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("text")
    text = write_text(folder / "numbered.txt", numbered(140))
    options: list[object] = ["-c", write_recipe(folder), "--data.train", text]
    options += ["--trainer.devices", "auto", "--trainer.max_epochs", 3]
    options += ["--checkpoint.every_n_steps", 4, "--prior_sentences", 0]
    return options


@pytest.fixture(scope="module")
def whole(arguments: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes to which nothing happens, and which torchrun did not start."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_on_ranks(folder, "fit", *arguments, "--run_dir", folder / "run") == [0, 0]
    return folder / "run"


def killed(folder: Path, rank: int, step: int, number: int) -> list[object]:
    path = f"{KilledOnce.__module__}.KilledOnce"
    options = ["--trainer.callbacks", path, "--trainer.callbacks.rank", rank]
    options += ["--trainer.callbacks.step", step, "--trainer.callbacks.number", int(number)]
    return [*options, "--trainer.callbacks.mark", folder / "mark"]


def check_equal(run: Path, whole: Path) -> None:
    assert figures(run) == figures(whole)
    weights = "bundle/model.safetensors"
    assert (run / weights).read_bytes() == (whole / weights).read_bytes()


@FORKS
def test_a_killed_process_and_then_the_same_end(
    arguments: list[object], whole: Path, tmp_path: Path
) -> None:
    fault = killed(tmp_path, 1, 10, signal.SIGKILL)
    status, said = torchrun(tmp_path, *arguments, *fault, RUN_DIR=str(tmp_path / "run"))
    assert status == 0, said
    assert "exitcode: -9" in said
    assert "Traceback" not in said
    assert "from step=8.ckpt" in said
    check_equal(tmp_path / "run", whole)


@pytest.mark.slow
@FORKS
@pytest.mark.parametrize(
    ("rank", "number"), [(-1, signal.SIGTERM), (-1, signal.SIGUSR1), (1, signal.SIGTERM)]
)
def test_told_to_stop_it_does_not_begin_again(
    arguments: list[object], whole: Path, tmp_path: Path, rank: int, number: int
) -> None:
    command = [*arguments, *killed(tmp_path, rank, 10, number)]
    status, said = torchrun(tmp_path, *command, RUN_DIR=str(tmp_path / "run"))
    assert status == REQUEUE, said
    assert said.count("stopped at step") == 1
    assert "Traceback" not in said
    status, said = torchrun(tmp_path, *command, RUN_DIR=str(tmp_path / "run"))
    assert status == 0, said
    check_equal(tmp_path / "run", whole)


@pytest.mark.slow
def test_the_clock_stops_it_once(arguments: list[object], tmp_path: Path) -> None:
    options = [*arguments, "--trainer.max_time", "00:00:00:00"]
    status, said = torchrun(tmp_path, *options, RUN_DIR=str(tmp_path / "run"))
    assert status == REQUEUE, said
    assert said.count("stopped at step") == 1


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again(arguments: list[object], tmp_path: Path) -> None:
    fault = killed(tmp_path, 1, 10, signal.SIGKILL)
    status, said = torchrun(tmp_path, *arguments, *fault, RUN_DIR=str(tmp_path / "x"), RESTARTS="0")
    assert status == 1
    assert said.count("seqae: error:") == 1
    assert "process 1 was ended by SIGKILL" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_mistake_is_told_once_and_is_the_end(arguments: list[object], tmp_path: Path) -> None:
    """The overlay that starts two processes by itself, on another number of them."""
    options = [*arguments, "--trainer.devices", 3]
    status, said = torchrun(tmp_path, *options, RUN_DIR=str(tmp_path / "run"))
    assert status == 1
    assert said.count("seqae: error:") == 1, said
    assert "`trainer.devices` must be 2, the number of processes on each host" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_several_hosts_need_a_head_and_a_folder(tmp_path: Path) -> None:
    status, said = torchrun(tmp_path, NODES="2")
    assert status == 2
    assert "HEAD and RUN_DIR must be given" in said


# Who started the processes


def test_torchrun_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_launcher() is None
    for name, value in (("RUN_ID", "x"), ("RESTART_COUNT", "0")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert find_launcher() == Launcher("torchrun", 2, 4)


def test_slurm_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_NNODES", "2")
    with pytest.raises(ValueError, match="^`--ntasks-per-node` must be given to SLURM"):
        find_launcher()
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert find_launcher() == Launcher("SLURM", 2, 4)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert find_launcher() is None


@pytest.mark.parametrize("devices", ["auto", -1, "-1", 4, "4", [0, 1, 2, 3], "0,1,2,3"])
def test_devices_that_fit(devices: object) -> None:
    trainer = follow_launcher(OPTIONS | {"devices": devices}, Launcher("torchrun", 2, 4))
    assert (trainer["devices"], trainer["num_nodes"]) == (4, 2)
    assert trainer["plugins"] is None


@pytest.mark.parametrize(
    ("key", "value"), [("devices", 2), ("devices", [0, 1]), ("devices", "0,1"), ("num_nodes", 3)]
)
def test_devices_that_do_not_fit(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^`trainer.{key}` must be .* torchrun has started"):
        follow_launcher(OPTIONS | {key: value}, Launcher("torchrun", 2, 4))


def test_slurm_does_not_requeue_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = follow_launcher(OPTIONS, Launcher("SLURM", 1, 1))
    assert [plugin.auto_requeue for plugin in trainer["plugins"]] == [False]


def test_who_has_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STATUS_FILE, raising=False)
    assert reported_status() is None
    assert [status_of_rank(rank, REQUEUE) for rank in (0, 1)] == [REQUEUE, 0]
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "status"))
    assert [status_of_rank(rank, REQUEUE) for rank in (0, 1)] == [0, 0]
    assert reported_status() == REQUEUE
