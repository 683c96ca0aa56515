"""Processes that are killed, at random and at the worst moments: nothing lost, nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from small import (
    figures,
    numbered,
    own_process,
    read_rows,
    run_seqae,
    with_callback,
    write_recipe,
    write_text,
)

from seqae.bundle.io import load
from seqae.training.callbacks import best_bundle as callbacks
from seqae.training.checkpoints import callback as checkpointing
from seqae.training.checkpoints.callback import newest_checkpoint
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.command import lightning_cli
from seqae.training.run.run_folder import LOCK

# The tests fork; Python 3.12 tells of threads that may exist then.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
KILLED = 9
SAVES = ["at once", "asynchronous"]


def kill_at_random(folder: Path, rounds: int, way: str, *options: object) -> str:
    """See crashes.py; what it says at the end."""
    program = Path(__file__).with_name("crashes.py")
    command = [sys.executable, program, "--folder", folder, "--rounds", rounds, *options]
    command += ["--asynchronous"] if way == "asynchronous" else []
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=3000,
        env=own_process(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("way", ["at once", pytest.param("asynchronous", marks=pytest.mark.slow)])
def test_killed_at_random_within_saves(tmp_path: Path, way: str) -> None:
    """With one checkpoint kept, the older one must be there until the newer one is."""
    assert kill_at_random(tmp_path, 12, way).endswith("none was lost")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("way", SAVES)
def test_killed_200_times_within_saves(
    tmp_path: Path, record_property: Callable[[str, object], None], way: str, keep: int
) -> None:
    said = kill_at_random(tmp_path, 200, way, "--keep", keep, "--seed", keep)
    assert said.endswith("none was lost")
    record_property("rounds", 200)
    record_property("said", said)


# A training, killed at a moment


class Killer(Callback):
    """Ends the process, as a kill does, at a hook of a step.

    Args:
        hook: its name.
        step: optimizer steps taken by then.
    """

    def __init__(self, hook: str, step: int) -> None:
        self.hook, self.step = hook, step

    def _at(self, hook: str, trainer: Trainer) -> None:
        if hook == self.hook and trainer.global_step == self.step:
            os._exit(KILLED)

    def on_train_batch_start(self, trainer: Trainer, *rest: Any) -> None:
        self._at("on_train_batch_start", trainer)

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        self._at("on_train_batch_end", trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at("on_validation_start", trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at("on_validation_end", trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at("on_train_epoch_end", trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at("on_train_end", trainer)


def killer(hook: str, step: int) -> list[object]:
    """The options of a training that is killed there."""
    return with_callback(f"{Killer.__module__}.Killer", hook=hook, step=step)


def killed_by(function: Any) -> Callable[..., Any]:
    """What does what the function does, and then ends the process."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        os._exit(KILLED)

    return wrapped


def in_a_fork(work: Callable[[], int]) -> int:
    """Do it in a process of its own, which may die of it; its exit status."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Two epochs of 5 steps with validations behind the second and the fourth."""
    folder = tmp_path_factory.mktemp("recipe")
    text = write_text(folder / "numbered.txt", numbered(70))
    options = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 10]
    options += ["--data.batch_tokens", 128, "--trainer.val_check_interval", 2]
    options += ["--model.autoencoder.encoder.dropout", 0.2, "--trainer.max_epochs", 2]
    return [*options, "--checkpoint.every_n_steps", 1, "--trainer.log_every_n_steps", 1]


@pytest.fixture(scope="module")
def whole(recipe: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert run_seqae("fit", *recipe, "--run_dir", run) == 0
    assert [row["step"] for row in figures(run) if "val/loss" in row] == [2, 4, 7, 9, 10]
    return run


def check_it_goes_on(recipe: list[object], run: Path, whole: Path) -> None:
    """The run ends as the whole one does."""
    options = ["--run_dir", run, "--resume", "auto", "--trainer.callbacks", "null"]
    assert run_seqae("fit", *recipe, *options) == 0
    assert figures(run) == figures(whole)
    assert [path.name for path in run.rglob(".*")] == [LOCK]
    wanted = load(whole / "bundle").autoencoder.state_dict()
    for name, weight in load(run / "bundle").autoencoder.state_dict().items():
        assert weight.equal(wanted[name]), name


MOMENTS = {
    "behind a batch, before its row": ("on_train_batch_end", 3),
    "before a save": ("on_train_batch_start", 3),
    "behind a batch, before its validation": ("on_train_batch_end", 4),
    "in the validation behind a row": ("on_validation_start", 4),
    "behind the validation's bundle": ("on_validation_end", 4),
    "at the end of an epoch": ("on_train_epoch_end", 5),
    "before the first batch": ("on_train_batch_start", 0),
    "behind the first batch": ("on_train_batch_end", 1),
    "at the end": ("on_train_end", 10),
}


# The others are slow tests.
OFTEN = ("before a save", "in the validation behind a row", "at the end of an epoch", "at the end")


@FORKS
@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in MOMENTS],
)
def test_killed_at_a_moment(recipe: list[object], whole: Path, tmp_path: Path, moment: str) -> None:
    run = tmp_path / "run"
    options = [*recipe, "--run_dir", run, *killer(*MOMENTS[moment])]
    assert in_a_fork(lambda: run_seqae("fit", *options)) == KILLED
    check_it_goes_on(recipe, run, whole)


@FORKS
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (SafeCheckpointIO, "_write"),
        pytest.param(checkpointing.CheckpointWriter, "_publish", marks=pytest.mark.slow),
        pytest.param(checkpointing.CheckpointWriter, "save", marks=pytest.mark.slow),
        (callbacks, "write_bundle"),
        pytest.param(callbacks.BundleWriter, "attach_priors", marks=pytest.mark.slow),
        (lightning_cli.Trainer, "validate"),
        (lightning_cli.RunFolder, "make"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_killed_behind_a_write(
    recipe: list[object],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(place, name, killed_by(getattr(place, name)))
    assert in_a_fork(lambda: run_seqae("fit", *recipe, "--run_dir", run)) == KILLED
    monkeypatch.undo()
    check_it_goes_on(recipe, run, whole)


@FORKS
@pytest.mark.parametrize("renames", [1, 2])
def test_killed_while_a_bundle_is_replaced(
    recipe: list[object],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renames: int,
) -> None:
    """The best model may be the one that was moved away; it does not come again."""
    run, rename, seen = tmp_path / "run", os.rename, []

    def killed(source: Any, target: Any, **options: Any) -> None:
        rename(source, target, **options)
        if Path(source).name in ("bundle", ".bundle.new"):
            seen.append(source)
        if len(seen) == renames + 1:  # the first bundle moves none away
            os._exit(KILLED)

    monkeypatch.setattr(os, "rename", killed)
    assert in_a_fork(lambda: run_seqae("fit", *recipe, "--run_dir", run)) == KILLED
    monkeypatch.undo()
    check_it_goes_on(recipe, run, whole)


@FORKS
def test_a_finished_run_that_goes_on_adds_no_row(recipe: list[object], tmp_path: Path) -> None:
    """Neither of its training nor of its last validation, which is done again."""
    run = tmp_path / "run"
    assert run_seqae("fit", *recipe, "--trainer.val_check_interval", 3, "--run_dir", run) == 0
    before = figures(run)
    assert sum("val/loss" in row for row in before) == 3
    assert run_seqae("fit", "--resume", run) == 0
    assert figures(run) == before


# Damage


def damage(path: Path, how: str) -> None:
    """Spoil a file."""
    data = path.read_bytes()
    spoilt = {"cut": data[: len(data) // 2], "flipped": data[:-200], "empty": b""}
    if how == "flipped":
        middle = len(data) // 2
        spoilt["flipped"] = data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]
    path.write_bytes(spoilt[how])


@pytest.fixture(scope="module")
def stopped(recipe: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints of steps 5 and 6 of 10."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    options = [*recipe, "--run_dir", run, *killer("on_train_batch_end", 7)]
    assert in_a_fork(lambda: run_seqae("fit", *options)) == KILLED
    names = sorted(path.name for path in (run / "checkpoints").glob("step=*"))
    assert names == ["step=5.ckpt", "step=6.ckpt"]
    return run


@FORKS
@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("--resume RUN", "flipped"),
        ("--resume auto", "cut"),
        ("--resume auto", "empty"),
        ("test RUN", "flipped"),
    ],
)
def test_a_damaged_checkpoint(
    recipe: list[object],
    stopped: Path,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
    how: str,
) -> None:
    """The one before is taken, which is said."""
    run = tmp_path / "run"
    shutil.copytree(stopped, run, symlinks=True)
    damage(run / "checkpoints" / "step=6.ckpt", how)
    none = ["--trainer.callbacks", "null"]
    arguments: dict[str, list[object]] = {
        "--resume RUN": ["fit", "--resume", run, *none],
        "--resume auto": ["fit", *recipe, "--run_dir", run, "--resume", "auto"],
        "test RUN": ["test", run, *none],
    }
    capsys.readouterr()
    assert run_seqae(*arguments[way]) == 0
    said = capsys.readouterr().out
    assert f"{run / 'checkpoints' / 'step=6.ckpt'} is cut short, changed or gone" in said
    if way != "test RUN":
        assert figures(run) == figures(whole)
        assert newest_checkpoint(run / "checkpoints") == run / "checkpoints" / "step=10.ckpt"


@FORKS
@pytest.mark.parametrize("way", ["--resume RUN", "--resume auto", "test RUN"])
def test_nothing_but_damage(
    recipe: list[object],
    stopped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped, run, symlinks=True)
    for path in (run / "checkpoints").glob("step=*"):
        damage(path, "flipped")
    arguments: dict[str, list[object]] = {
        "--resume RUN": ["fit", "--resume", run],
        "--resume auto": ["fit", *recipe, "--run_dir", run, "--resume", "auto"],
        "test RUN": ["test", run],
    }
    before = read_rows(run / "metrics.jsonl")
    capsys.readouterr()
    assert run_seqae(*arguments[way]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "intact checkpoint" in said or "is cut short, changed or none" in said
    assert read_rows(run / "metrics.jsonl") == before
