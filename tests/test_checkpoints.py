"""Saving as a whole: faults at every call, what is removed, strange files, counts."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashes import Saver, loaded_step
from faults import Faults
from small import figures, numbered, run_seqae, write_recipe, write_text

from seqae.bundle.io import load
from seqae.files import StorageError
from seqae.training.checkpoints.callback import (
    LAST,
    checkpoints,
    newest_checkpoint,
    rewind_batch_progress,
)
from seqae.training.checkpoints.integrity import SEAL, is_intact, write_hashed
from seqae.training.run.run_folder import LOCK

NUMBERS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT}
ADVICE = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


# A save as a whole: the file, `last.ckpt`, what is removed


@ADVICE
@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["at once", "asynchronous"])
@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        pytest.param(errno.EIO, marks=pytest.mark.slow),
        pytest.param(errno.EDQUOT, marks=pytest.mark.slow),
    ],
    ids=NUMBERS,
)
def test_a_fault_at_any_call_of_a_save(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    number: int,
    is_asynchronous: bool,
) -> None:
    """Of the checkpoint, of `last.ckpt`, of removing the oldest."""
    saver = Saver(tmp_path, is_asynchronous)
    saver.save(1)
    with Faults(within=tmp_path).active() as counted:
        saver.save(2)
        saver.save(3)
    assert counted.count >= 30
    record_property("rounds", counted.count)
    harmless = set()
    for at in range(counted.count):
        for path in tmp_path.iterdir():
            path.unlink()
        saver.save(1)
        done = 1
        said = None
        with Faults(number, at, within=tmp_path).active() as faults:
            try:
                for step in (2, 3):
                    saver.save(step)
                    done = step
            except StorageError as error:
                said, found = str(error), error.errno
        if said is None:
            harmless.add(faults.failed)
        else:
            assert str(tmp_path) in said, faults.failed
            assert "MiB are free there. Make room." in said, faults.failed
            assert found == number
        newest = newest_checkpoint(tmp_path)
        assert newest is not None, faults.failed
        assert done <= loaded_step(newest) <= done + 1, faults.failed
        assert not list(tmp_path.glob(".*")), faults.failed
        assert is_intact(tmp_path / LAST), faults.failed
        saver.save(4)  # once there is room
        assert newest_checkpoint(tmp_path) == tmp_path / "step=4.ckpt"
        assert len(checkpoints(tmp_path)) == 2
    # The folder is there already; and removing the oldest is not worth a training, but tried again.
    assert harmless == {f"mkdir {tmp_path}", f"unlink {tmp_path / 'step=1.ckpt'}"}


@ADVICE
def test_what_asynchronous_writing_met_is_told_at_the_next_save(tmp_path: Path) -> None:
    saver = Saver(tmp_path, is_asynchronous=True)
    saver.save(1)
    with Faults(at=5, within=tmp_path).active():
        saver.begin(2)  # returns at once
        with pytest.raises(StorageError, match="free there"):
            saver.begin(3)
    saver.save(2)
    assert newest_checkpoint(tmp_path) == tmp_path / "step=2.ckpt"


@ADVICE
@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_step_back_keeps_what_was_just_saved(tmp_path: Path, keep: int) -> None:
    """After a resume from an earlier checkpoint, those of later steps are of another future."""
    saver = Saver(tmp_path, keep=keep)
    for step in (10, 20, 30):
        saver.save(step)
    saver.save(15)
    kept = [15, 10][:keep] if keep == 3 else [15]
    assert [loaded_step(path) for path in checkpoints(tmp_path)] == kept
    assert newest_checkpoint(tmp_path) == tmp_path / "step=15.ckpt"


@ADVICE
def test_what_another_callback_saves_is_its_own(tmp_path: Path) -> None:
    saver = Saver(tmp_path / "run")
    saver.save(1)
    for place in (tmp_path / "best" / "epoch=0.ckpt", tmp_path / "run" / "best.ckpt"):
        saver.trainer.save_checkpoint(place)
        assert is_intact(place)
    assert newest_checkpoint(tmp_path / "run") == tmp_path / "run" / "step=1.ckpt"
    assert is_intact(tmp_path / "run" / LAST)


@ADVICE
def test_a_start_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / ".step=7.ckpt.unfinished").write_bytes(b"half")
    (tmp_path / f".{LAST}.unfinished").symlink_to("step=7.ckpt")
    Saver(tmp_path)
    assert not list(tmp_path.iterdir())


@ADVICE
@pytest.mark.parametrize("kind", ["folder", "pipe", "file"])
def test_only_a_link_is_replaced_by_last(tmp_path: Path, kind: str) -> None:
    saver, last = Saver(tmp_path), tmp_path / LAST
    make = {"folder": Path.mkdir, "pipe": os.mkfifo, "file": Path.touch}
    make[kind](last)
    before = last.lstat()
    with pytest.raises(StorageError, match=r"last\.ckpt cannot be written.*Move that away"):
        saver.save(1)
    assert last.lstat().st_ino == before.st_ino
    assert newest_checkpoint(tmp_path) == tmp_path / "step=1.ckpt"


@ADVICE
@pytest.mark.parametrize("kind", ["file", "shards"])
def test_a_copy_that_has_followed_the_link_goes_on(tmp_path: Path, kind: str) -> None:
    saver, last = Saver(tmp_path), tmp_path / LAST
    saver.save(1)
    last.unlink()
    if kind == "file":
        shutil.copy(tmp_path / "step=1.ckpt", last)
    else:
        last.mkdir()
        write_hashed(last / SEAL, lambda file: file.write(b"{}"))
    assert newest_checkpoint(tmp_path) == tmp_path / "step=1.ckpt"
    saver.save(2)
    assert last.is_symlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "step=2.ckpt"


def test_a_link_does_not_lead_out_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_hashed(tmp_path / "step=1.ckpt", lambda file: file.write(b"of another run"))
    (tmp_path / "run" / LAST).symlink_to(tmp_path / "step=1.ckpt")
    assert newest_checkpoint(tmp_path / "run") is None


@ADVICE
@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_modes_follow_the_umask(tmp_path: Path, is_asynchronous: bool) -> None:
    before = os.umask(0o027)
    try:
        Saver(tmp_path / "run", is_asynchronous).save(1)
    finally:
        os.umask(before)
    assert (tmp_path / "run" / "step=1.ckpt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o750


def test_counts_between_two_batches() -> None:
    def loop(total: int, current: int) -> dict[str, Any]:
        counts = {
            name: {"ready": n + 1, "started": n, "processed": n, "completed": n}
            for name, n in (("total", total), ("current", current))
        }
        progress = {**counts, "is_last_batch": True}
        return {"epoch_loop.batch_progress": progress, "epoch_loop.state_dict": {STEPPED: total}}

    STEPPED = "_batches_that_stepped"
    within = loop(7, 2)
    rewind_batch_progress(within)
    progress = within["epoch_loop.batch_progress"]
    behind = {"ready": 7, "started": 7, "processed": 7, "completed": 6}
    assert progress["total"] == behind  # as in Lightning's own on_train_batch_end
    assert progress["current"] == {"ready": 2, "started": 2, "processed": 2, "completed": 1}
    assert not progress["is_last_batch"]
    assert within["epoch_loop.state_dict"] == {STEPPED: 6}
    begun = loop(7, 0)
    rewind_batch_progress(begun)
    assert begun["epoch_loop.batch_progress"]["total"] == dict.fromkeys(behind, 7)
    assert begun["epoch_loop.batch_progress"]["current"] == dict.fromkeys(behind, 0)
    assert begun["epoch_loop.state_dict"] == {STEPPED: 7}


# A training as a whole


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The options of a training of nine steps, with validations and all that is written."""
    folder = tmp_path_factory.mktemp("recipe")
    text = write_text(folder / "numbered.txt", numbered(70))
    options = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 10]
    options += ["--data.batch_tokens", 256, "--trainer.val_check_interval", 2]
    return [*options, "--checkpoint.every_n_steps", 2]


@pytest.fixture(scope="module")
def whole(recipe: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert run_seqae("fit", *recipe, "--run_dir", run) == 0
    return run


def check_faults(
    recipe: list[object], whole: Path, folder: Path, number: int, every: int, capsys: Any
) -> tuple[int, int]:
    """Let every so many-th file system call within a run fail; how many did, and ended the run.

    torch.save writes a checkpoint in 640 parts, of which each fortieth stands for its neighbours.
    """
    run = folder / "run"
    with Faults(within=run).active() as counted:
        assert run_seqae("fit", *recipe, "--run_dir", run) == 0
    ended = 0
    calls = [
        at
        for at, call in enumerate(counted.calls)
        if at % 40 == 0 or not (call.startswith("write") and "ckpt" in call)
    ][number % every :: every]
    for at in calls:
        shutil.rmtree(run, ignore_errors=True)
        capsys.readouterr()
        with Faults(number, at, within=run).active() as faults:
            status = run_seqae("fit", *recipe, "--run_dir", run)
        assert faults.failed is not None
        if status == 0:  # the folder was there; or what was left over, the next start removes
            assert faults.failed.startswith(("mkdir", "unlink")), faults.failed
            continue
        ended += 1
        said = capsys.readouterr().err.strip()
        assert status == 1, faults.failed
        assert said.count("\n") == 0, said
        assert str(run) in said, (said, faults.failed)
        assert "MiB are free there" in said or "`run_dir` must be" in said, faults.failed
        if (run / "bundle").exists():
            load(run / "bundle")
        newest = newest_checkpoint(run / "checkpoints")
        if (run / "checkpoints" / LAST).is_symlink():
            assert is_intact(run / "checkpoints" / LAST), faults.failed
            assert newest is not None
        again = ["--run_dir", run, "--resume", "auto"]
        assert run_seqae("fit", *recipe, *again) == 0, faults.failed
        assert figures(run) == figures(whole), faults.failed
        left = [path.name for path in run.rglob(".*") if path.name != LOCK]
        assert not left, faults.failed
    return len(calls), ended


def test_a_fault_in_a_training(
    recipe: list[object], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, what was saved before is there, and the run can go on to the same end."""
    tried, ended = check_faults(recipe, whole, tmp_path, errno.ENOSPC, 61, capsys)
    assert tried >= 5
    assert ended >= tried - 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_fault_at_any_call_of_a_training(
    recipe: list[object],
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
    number: int,
) -> None:
    every = 1 if number == errno.ENOSPC else 7
    tried, ended = check_faults(recipe, whole, tmp_path, number, every, capsys)
    record_property("rounds", tried)
    record_property("said", f"{errno.errorcode[number]}: {tried} faults, {ended} ended the run")
